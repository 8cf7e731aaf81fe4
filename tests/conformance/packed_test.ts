// Packed products on every build, dot variant, path and thread count give the very bits of the reference.
import { assertEquals } from "@std/assert";
import { Random } from "../../src/base/random.ts";
import {
  dequantize,
  packedProductReference,
  quantizeActivationsReference,
} from "../../src/formats/mod.ts";
import { type Engine, kernels, NULL } from "../../wasm/mod.ts";
import { Buffers, samples } from "./buffers.ts";
import { onEveryEngine } from "./engines.ts";
import { activationCase, kernelOrder, type Kind, packedCase, slabSums } from "./packed_cases.ts";

function assertBits(got: Float32Array, expected: Float32Array, what: string): void {
  const [a, b] = [got, expected].map((x) => new Uint32Array(x.slice().buffer));
  const at = a!.findIndex((word, i) => word !== b![i]);
  if (at >= 0) throw new Error(`${what}: value ${at} is ${got[at]}, expected ${expected[at]}.`);
  assertEquals(got.length, expected.length, what);
}

interface Shape {
  format: string;
  rows: number;
  columns: number;
  tokens: number;
  kind: Kind;
  seed: number;
}

function product(shape: Shape) {
  const { format, rows, columns, tokens, kind, seed } = shape;
  const weight = packedCase(format, rows, columns, seed, kind);
  const x = activationCase(weight.layout, tokens, seed + 1, kind);
  const bias = samples(rows, seed + 2);
  const plain = packedProductReference(weight.layout, weight.blob, x.codes, x.scales);
  const biased = packedProductReference(weight.layout, weight.blob, x.codes, x.scales, bias);
  return { weight, x, bias, plain, biased, tokens };
}

function checkProduct(engine: Engine, name: string, all: ReturnType<typeof product>): void {
  const { weight, x, bias, plain, biased, tokens } = all;
  const { layout } = weight;
  const buffers = new Buffers(engine);
  const what = `${name}: ${weight.name}, ${tokens} tokens`;
  const operand = { layout, blob: buffers.put(weight.blob) };
  const sums = slabSums(x.codes);
  const activations = {
    codes: buffers.put(kernelOrder(x.codes)),
    scales: buffers.put(x.scales),
    sums: buffers.put(new Uint16Array(sums.buffer)),
  };
  const pb = buffers.put(bias);
  const out = buffers.room(plain.length);
  const view = engine.memory.f32(out, plain.length);
  for (const unpackFirst of [false, true]) {
    for (const dot of kernels.dotsOf(engine, layout.groupColumns % 32 === 0, unpackFirst)) {
      const path = `${what}, ${dot}${unpackFirst ? ", unpacked first" : ""}`;
      kernels.packedProduct(engine, out, operand, activations, tokens, NULL, { dot, unpackFirst });
      assertBits(view, plain, path);
      view.fill(12345);
      kernels.packedProduct(engine, out, operand, activations, tokens, pb, { dot, unpackFirst });
      assertBits(view, biased, `${path}, with bias`);
      view.fill(12345);
    }
  }
  kernels.packedProduct(engine, out, operand, activations, tokens, pb);
  assertBits(view, biased, `${what}, chosen variant`);
  buffers.release(what);
}

const FORMATS = [
  ...["w2g16q16", "w2g32q8", "w2g64q16", "w2g128q16", "w2g48q4", "w3g16q16", "w3g64q8"],
  ...[
    "w3g32q4",
    "w3g32q16",
    "w4g16q16",
    "w4g32q128",
    "w4g128q8",
    "w4g80q16",
    "s4g32",
    "s4g16",
    "s4g48",
  ],
  ...["s8g64", "s8g128"],
];

Deno.test("packed products of every format equal the reference bit for bit", async () => {
  const edges = [[1, 64], [7, 16], [8, 32], [9, 48], [16, 80], [24, 240], [40, 336], [17, 2112]];
  const shapes: Shape[] = [];
  FORMATS.forEach((format, f) => {
    edges.forEach(([rows, columns], e) => {
      const tokens = [1, 2, 3, 4, 5, 7, 8, 9][(f + e) % 8]!;
      shapes.push({
        format,
        rows: rows!,
        columns: columns!,
        tokens,
        kind: "random",
        seed: 8 * f + e,
      });
    });
  });
  const cases = shapes.map(product);
  await onEveryEngine(({ name, engine }) => {
    for (const one of cases) checkProduct(engine, name, one);
  });
});

Deno.test("packed products hold at the extremes of codes, scales and activations", async () => {
  const cases = FORMATS.flatMap((format, seed) =>
    (["top", "low"] as const).map((kind) =>
      product({ format, rows: 16, columns: 320, tokens: 5, kind, seed })
    )
  );
  await onEveryEngine(({ name, engine }) => {
    for (const one of cases) checkProduct(engine, name, one);
  });
});

Deno.test("packed products of drawn shapes and of many tokens equal the reference", async () => {
  const random = new Random(77);
  const cases = Array.from({ length: 40 }, (_, seed) => {
    const format = FORMATS[random.integer(FORMATS.length)]!;
    const [rows, columns] = [1 + random.integer(40), 1 + random.integer(400)];
    return product({ format, rows, columns, tokens: 1 + random.integer(10), kind: "random", seed });
  });
  for (const [format, rows, tokens] of [["w2g16q16", 16, 64], ["s4g32", 9, 1030]] as const) {
    cases.push(product({ format, rows, columns: 64, tokens, kind: "random", seed: tokens }));
  }
  await onEveryEngine(({ name, engine }) => {
    for (const one of cases) checkProduct(engine, name, one);
  });
});

Deno.test("activations are quantized exactly as the reference rounds them", async () => {
  await onEveryEngine(({ name, engine }) => {
    for (const [tokens, columns] of [[1, 1], [3, 15], [2, 64], [5, 100], [9, 896], [70, 333]]) {
      const x = samples(tokens! * columns!, columns!, 3);
      if (columns! >= 64) x.fill(0, 0, 64);
      // Halves that tie: 127 is the largest of the second token's last chunk.
      if (columns === 100) x.set([127, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5, -126.5, 1e-30], 180);
      // 127 / amax overflows in one chunk, and amax nearly does in another.
      if (columns === 333) x.set([1e-40, -1e-42, 0, 3e-45], 64);
      if (columns === 333) x.set([3.3e38, -3.3e38, 1e36, -1.65e38], 128);
      const expected = quantizeActivationsReference(x, columns!);
      const size = kernels.quantizedBytes(tokens!, columns!);
      const buffers = new Buffers(engine);
      const out = {
        codes: buffers.put(new Uint8Array(size.codes).fill(77)),
        scales: buffers.room(size.scales / 4),
        sums: buffers.put(new Uint16Array(size.sums / 2).fill(7777)),
      };
      kernels.quantizeActivations(engine, out, buffers.put(x), tokens!, columns!);
      const what = `${name}, ${tokens}x${columns}`;
      assertBits(buffers.get(out.scales, size.scales / 4), expected.scales, what);
      assertEquals(engine.memory.i8(out.codes, size.codes).slice(), kernelOrder(expected.codes));
      const sums = engine.memory.u16(out.sums, size.sums / 2).slice();
      assertEquals(new Int16Array(sums.buffer), slabSums(expected.codes), what);
      buffers.release(what);
    }
  });
});

Deno.test("rows of packed weights decode to the grid's numbers, in any order", async () => {
  const cases = FORMATS.flatMap((format, seed) =>
    [[19, 80], [8, 21], [33, 192]].map(([rows, columns]) =>
      packedCase(format, rows!, columns!, seed)
    )
  );
  await onEveryEngine(({ name, engine }) => {
    for (const { name: weight, layout, grid, codes, blob } of cases) {
      const { rows, columns } = layout;
      const all = dequantize(grid, codes);
      const buffers = new Buffers(engine);
      const operand = { layout, blob: buffers.put(blob) };
      const out = buffers.room(rows * columns);
      kernels.dequantizeRows(engine, out, operand, rows);
      assertBits(buffers.get(out, rows * columns), all, `${name}: ${weight}`);
      kernels.dequantizeRows(engine, out, operand, rows - 3, 2);
      const middle = all.subarray(2 * columns, (rows - 1) * columns);
      assertBits(buffers.get(out, middle.length), middle, `${name}: ${weight}, from row 2`);
      const ids = Int32Array.of(rows - 1, 0, 3, 3);
      const some = buffers.room(ids.length * columns);
      kernels.dequantizeRows(engine, some, operand, ids.length, 0, buffers.put(ids));
      ids.forEach((row, i) =>
        assertBits(
          buffers.get(some, ids.length * columns).subarray(i * columns, (i + 1) * columns),
          all.subarray(row * columns, (row + 1) * columns),
          `${name}: ${weight}, row ${row}`,
        )
      );
      buffers.release(weight);
    }
  });
});
