// The reference product against the golden, against plain arithmetic, and at the limit of its accumulators.

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import {
  codesOn,
  dequantize,
  type Format,
  largestCode,
  layoutOf,
  pack,
  packedProductReference,
  parseFormat,
  quantizeActivationsReference,
  SCALE_LIMIT,
} from "../../src/formats/mod.ts";
import { goldenTensor, readGolden } from "../testing/goldens.ts";
import { assertSame, bytes, fitted, floats, gridOf, weightsOf } from "./support.ts";

const golden = readGolden("bilevel_stored.safetensors");

for (const name of Object.keys(golden.cases).filter((name) => name.startsWith("packed."))) {
  Deno.test(`the reference product of ${name.slice(7)} equals the golden bit for bit`, () => {
    const { kind, bits, group, second_group, rows, cols } = golden.cases[name];
    const format: Format = kind === "symmetric"
      ? { kind, bits, group }
      : { kind, bits, group, secondGroup: second_group };
    const layout = layoutOf(format, rows, cols);
    const activations = goldenTensor(golden, `${name}.activations`).data;
    assert(activations instanceof Int8Array);
    const y = packedProductReference(
      layout,
      bytes(golden, `${name}.blob`),
      activations,
      floats(golden, `${name}.activation_scales`),
      floats(golden, `${name}.bias`),
    );
    assertSame(y, floats(golden, `${name}.product`), "product");
  });
}

Deno.test("the packed product is the product of what codes stand for, to f32 rounding", () => {
  fc.assert(
    fc.property(fitted, ({ format, rows, columns, seed }) => {
      const weights = weightsOf(rows, columns, seed);
      const grid = gridOf(format, rows, columns, weights);
      const codes = codesOn(grid, weights);
      const layout = layoutOf(format, rows, columns);
      const blob = new Uint8Array(layout.bytes);
      pack(layout, grid, codes, blob);
      const x = weightsOf(2, columns, seed + 1);
      const quantized = quantizeActivationsReference(x, columns);
      const y = packedProductReference(layout, blob, quantized.codes, quantized.scales);
      const seen = dequantize(grid, codes);
      const { chunks } = layout;
      for (let token = 0; token < 2; token++) {
        for (let row = 0; row < rows; row++) {
          let [expected, size] = [0, 0];
          for (let column = 0; column < columns; column++) {
            const a = quantized.codes[token * chunks * 64 + column]! *
              quantized.scales[token * chunks + Math.floor(column / 64)]!;
            expected += a * seen[row * columns + column]!;
            size += Math.abs(a * seen[row * columns + column]!);
          }
          const miss = Math.abs(y[token * rows + row]! - expected);
          assert(miss <= 1e-5 * size + 1e-30, `${y[token * rows + row]} against ${expected}`);
        }
      }
    }),
    { seed: 1, numRuns: 80 },
  );
});

Deno.test("the largest accumulators of every format fit 32 bits", () => {
  for (const name of ["w2", "w3", "w4", "s4"]) {
    const format = parseFormat(name);
    const zeros = format.kind === "symmetric" ? [2 ** (format.bits - 1)] : [0, largestCode(format)];
    for (const zero of zeros) {
      const steps = Math.max(zero, largestCode(format) - zero);
      assert(64 * 127 * steps * SCALE_LIMIT < 2 ** 31, name);
      assert(64 * 127 * largestCode(format) * SCALE_LIMIT < 2 ** 31, "the dot alone");
    }
  }
  assert(64 * 127 * 128 < 2 ** 24, "s8: exact in f32");

  // And one such product, through the code: 4 bits, all codes 15 above zero codes 0, all activations -127.
  const format = parseFormat("w4g64q8");
  const layout = layoutOf(format, 8, 64);
  const blob = new Uint8Array(layout.bytes);
  const grid = {
    format,
    rows: 8,
    columns: 64,
    units: new Float32Array([1]),
    scales: new Int16Array(8).fill(SCALE_LIMIT),
    zeroCodes: new Uint8Array(8),
    second: {
      base: new Int16Array([SCALE_LIMIT]),
      step: new Int16Array(1),
      codes: new Uint8Array(8),
    },
  };
  pack(layout, grid, new Uint8Array(512).fill(15), blob);
  const activations = new Int8Array(64).fill(-127);
  const y = packedProductReference(layout, blob, activations, new Float32Array([1]));
  assertEquals(y, new Float32Array(8).fill(-64 * 127 * 15 * SCALE_LIMIT));
});

Deno.test("activations quantize per token and chunk, padded with zeros, ties to even", () => {
  const x = new Float32Array(2 * 100);
  x[0] = -127;
  x[1] = 2.5;
  x[2] = 3.5;
  x[3] = -0.5;
  x[64] = 1e-3;
  x[100 + 70] = 3;
  x[100 + 71] = -1;
  const { codes, scales } = quantizeActivationsReference(x, 100);
  assertEquals(codes.length, 2 * 128);
  assertSame(codes.subarray(0, 4), [-127, 2, 4, 0], "first chunk");
  assertEquals(codes[64], 127);
  assertSame(codes.subarray(128 + 70, 128 + 72), [127, -42], "second token");
  assertEquals(codes.reduce((count, code) => count + (code === 0 ? 0 : 1), 0), 6);
  assertSame(scales, [1, Math.fround(Math.fround(1e-3) / 127), 0, Math.fround(3 / 127)], "scales");
});

Deno.test("activations decode to within half a scale", () => {
  const x = weightsOf(5, 130, 4);
  const { codes, scales } = quantizeActivationsReference(x, 130);
  for (let token = 0; token < 5; token++) {
    for (let column = 0; column < 130; column++) {
      const scale = scales[token * 3 + Math.floor(column / 64)]!;
      const seen = codes[token * 192 + column]! * scale;
      assert(Math.abs(x[token * 130 + column]! - seen) <= 0.50001 * scale);
    }
  }
});

Deno.test("products of wrong shapes are refused", () => {
  const layout = layoutOf(parseFormat("s4g32"), 8, 96);
  const blob = new Uint8Array(layout.bytes);
  const product = (activations: number, scales: number, bias = 8) =>
    packedProductReference(
      layout,
      blob,
      new Int8Array(activations),
      new Float32Array(scales),
      new Float32Array(bias),
    );
  assertEquals(product(256, 4).length, 16);
  assertThrows(() => product(256, 3), LobitError);
  assertThrows(() => product(255, 4), LobitError);
  assertThrows(() => product(256, 4, 7), LobitError);
  assertThrows(() => quantizeActivationsReference(new Float32Array(10), 3), LobitError);
});
