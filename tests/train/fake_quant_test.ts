// Weights in training: what products see is what is packed in the end, and the gradient is the reference's.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import {
  type BilevelFormat,
  bilevelFormat,
  fitFormat,
  symmetricFormat,
} from "../../src/formats/format.ts";
import type { Linear } from "../../src/formats/weight.ts";
import { packedRows } from "../../src/ops/packed.ts";
import { packCoded, packLinear } from "../../src/quant/pack_linear.ts";
import { roundClipped, roundToNearest } from "../../src/quant/round.ts";
import { Arena } from "../../src/tensor/arena.ts";
import { floats, tensorFrom } from "../../src/tensor/tensor.ts";
import { FakeQuant } from "../../src/train/fake_quant.ts";
import { Engine } from "../../wasm/mod.ts";
import { goldenTensor, readGolden } from "../testing/goldens.ts";

const engine = await Engine.create({ threads: 2 });
const { memory } = engine;

function linearOf(rows: number, columns: number, values: Float32Array): Linear {
  const tensor = tensorFrom(memory, [rows, columns], values);
  return { name: "tested", rows, columns, weight: { kind: "dense", tensor } };
}

Deno.test("packing a weight in training gives exactly the numbers that products saw", () => {
  const random = new Random(2);
  for (const bits of [2, 3, 4]) {
    for (const [rows, columns] of [[16, 16], [48, 80], [256, 64], [24, 32]] as const) {
      const values = Float32Array.from({ length: rows * columns }, () => random.normal());
      const linear = linearOf(rows, columns, values);
      const fake = new FakeQuant(engine, linear, fitFormat(bilevelFormat(bits), rows, columns));
      fake.see();
      // As an optimiser would.
      const latent = floats(memory, fake.weight.latent);
      latent.forEach((value, i) => latent[i] = value + 0.1 * random.normal());
      fake.see();
      const packed = packLinear(memory, linear, fake.weight.format, roundToNearest);
      const runs = floats(memory, packedRows(engine, new Arena(memory), packed));
      assertEquals(runs.map((x) => x + 0), floats(memory, fake.weight.seen).map((x) => x + 0));
      assert(new Set(runs.slice(0, 16)).size > 1, "everything fell on one code");
      fake.close();
    }
  }
});

Deno.test("a packed weight trains on from its codes, on its own grid or on one that grows from it", () => {
  const random = new Random(3);
  for (const scales of ["kept", "learned", "range"] as const) {
    for (const bits of [2, 3, 4]) {
      const [rows, columns] = [48, 64];
      const format = fitFormat(bilevelFormat(bits), rows, columns) as BilevelFormat;
      const values = Float32Array.from({ length: rows * columns }, () => random.normal());
      const linear = linearOf(rows, columns, values);
      // A clipped grid: its range is not that of the weights.
      const start = packLinear(memory, linear, format, roundClipped);
      const before = floats(memory, packedRows(engine, new Arena(memory), start)).slice();
      linear.weight = start;
      const fake = new FakeQuant(engine, linear, format, { scales });
      fake.see();
      const seen = floats(memory, fake.weight.seen);
      if (scales === "kept") assertEquals(seen.map((x) => x + 0), before.map((x) => x + 0));
      const latent = floats(memory, fake.weight.latent);
      latent.forEach((value, i) => latent[i] = value + 0.2 * random.normal());
      assertEquals(fake.growths !== undefined, scales === "learned");
      if (fake.growths) {
        const growths = floats(memory, fake.growths);
        growths.forEach((_, i) => growths[i] = 0.2 * random.normal());
      }
      const old = seen.slice();
      fake.see();
      assert(seen.some((value, i) => value !== old[i]), `${scales}: nothing moved`);
      const packed = packCoded(memory, linear, fake.coded);
      const runs = floats(memory, packedRows(engine, new Arena(memory), packed));
      assertEquals(runs.map((x) => x + 0), seen.map((x) => x + 0), `${scales}, ${bits} bits`);
      fake.close();
    }
  }
});

Deno.test("scales stay as they were until they are to be refreshed", () => {
  const random = new Random(4);
  const linear = linearOf(16, 16, Float32Array.from({ length: 256 }, () => random.normal()));
  const fake = new FakeQuant(engine, linear, bilevelFormat(2));
  fake.see();
  const levels = (seen: Float32Array) => new Set(seen.slice(0, 16)).size;
  const latent = floats(memory, fake.weight.latent);
  latent[3] = 100;
  fake.see(false);
  const seen = floats(memory, fake.weight.seen);
  assert(seen[3]! < 10, "the range must not follow the weight yet");
  assert(levels(seen) > 2);
  fake.see();
  assert(Math.abs(seen[3]! - 100) < 10, "the range must follow the weight now");
  fake.close();
});

Deno.test("the released grid and its straight-through gradient equal the reference's", () => {
  const golden = readGolden("bilevel.safetensors");
  let compared = 0;
  for (const [name, settings] of Object.entries(golden.cases)) {
    const { bits, group, second_group } = settings as Record<string, number>;
    const part = (what: string) => goldenTensor(golden, `${name}.${what}`);
    const [rows, columns] = part("weight").shape as [number, number];
    const linear = linearOf(rows, columns, part("weight").data as Float32Array);
    const format = {
      ...{ kind: "bilevel", bits: bits as 2 | 3 | 4 } as const,
      ...{ group: group!, secondGroup: second_group! },
    };
    const fake = new FakeQuant(engine, linear, format, { form: "reference" });
    fake.see();
    const seen = floats(memory, fake.weight.seen);
    assertEquals(
      seen.map((x) => x + 0),
      (part("dequantized").data as Float32Array).map((x) => x + 0),
    );
    const gradient = tensorFrom(memory, [rows, columns], part("upstream").data as Float32Array);
    fake.mask(gradient);
    const expected = part("weight_grad").data as Float32Array;
    assertEquals(floats(memory, gradient).map((x) => x + 0), expected.map((x) => x + 0));
    fake.close();
    compared++;
  }
  assert(compared > 0);
});

Deno.test("only dense weights, packed ones of the same format, and bilevel formats train", () => {
  const linear = linearOf(16, 32, new Float32Array(512));
  assertThrows(() => new FakeQuant(engine, linear, symmetricFormat(4)), LobitError, "bilevel");
  assertThrows(
    () => new FakeQuant(engine, linear, { ...bilevelFormat(2), group: 48 }),
    LobitError,
    "divide",
  );
  linear.weight = packLinear(memory, linear, symmetricFormat(4), roundToNearest);
  assertThrows(() => new FakeQuant(engine, linear, bilevelFormat(2)), LobitError, "packed");
});

globalThis.addEventListener("unload", () => engine.close());
