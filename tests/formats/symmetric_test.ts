// The symmetric grid: quantizing what was quantized changes nothing, and its errors are small.

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import {
  codesOn,
  dequantize,
  fitGroup,
  SCALE_LIMIT,
  scalesOf,
  type SymmetricFormat,
  symmetricGrid,
} from "../../src/formats/mod.ts";
import { assertSame, weightsOf } from "./support.ts";

function through(
  format: SymmetricFormat,
  rows: number,
  columns: number,
  weights: Float32Array,
): Float32Array {
  const grid = symmetricGrid(format, rows, columns, weights);
  assert(grid.scales.every((scale) => scale >= 1 && scale <= SCALE_LIMIT));
  assert(grid.units.every((unit) => unit > 0 && Number.isInteger(Math.log2(unit))));
  return dequantize(grid, codesOn(grid, weights));
}

const weightLists = fc.oneof(
  fc.record({ seed: fc.nat(), power: fc.integer({ min: -140, max: 95 }) }).map((
    { seed, power },
  ) =>
  (rows: number, columns: number) =>
    weightsOf(rows, columns, seed).map((weight) => weight * 2 ** power)
  ),
  // Few values: powers of two, small integers, values at the edge of a power and of a code.
  fc.array(
    fc.oneof(
      fc.integer({ min: -9, max: 9 }),
      fc.integer({ min: -30, max: 3 }).map((power) => 2 ** power),
      fc.constantFrom(0.999999, -1.000001, -7.4999995, -7.5, -127.5, 1e-42, -0, 7 / 8, -15 / 16),
    ),
    { minLength: 1, maxLength: 40 },
  ).map((values) => (rows: number, columns: number) =>
    Float32Array.from({ length: rows * columns }, (_, i) => values[i % values.length]!)
  ),
);

Deno.test("quantizing a symmetric weight again changes no value", () => {
  fc.assert(
    fc.property(
      weightLists,
      fc.constantFrom(4 as const, 8 as const),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 200 }),
      fc.constantFrom(16, 32, 64, 128),
      (weights, bits, rows, columns, wanted) => {
        const group = fitGroup(columns, wanted, bits === 8 ? 64 : 16);
        const format: SymmetricFormat = { kind: "symmetric", bits, group };
        const once = through(format, rows, columns, weights(rows, columns));
        assertSame(through(format, rows, columns, once), once, "second pass");
      },
    ),
    { seed: 6, numRuns: 2500 },
  );
});

Deno.test("symmetric errors stay below half a scale where nothing is clipped", () => {
  for (const [bits, group, limit] of [[4, 32, 0.095], [8, 64, 0.006]] as const) {
    const format: SymmetricFormat = { kind: "symmetric", bits, group };
    const random = new Random(8);
    const weights = Float32Array.from({ length: 40 * 256 }, () => random.normal());
    const grid = symmetricGrid(format, 40, 256, weights);
    const seen = dequantize(grid, codesOn(grid, weights));
    const scales = scalesOf(grid);
    const half = 2 ** (bits - 1);
    let [error, energy] = [0, 0];
    weights.forEach((weight, i) => {
      const scale = scales[Math.floor(i / group)]!;
      const miss = Math.abs(weight - seen[i]!);
      error += miss ** 2;
      energy += weight ** 2;
      if (weight >= -half * scale && weight <= (half - 1) * scale) {
        assert(miss <= scale * 0.50001);
      }
    });
    assert(Math.sqrt(error / energy) < limit, `relative error ${Math.sqrt(error / energy)}`);
  }
});

Deno.test("the scale search is no worse than taking the largest weight", () => {
  const format: SymmetricFormat = { kind: "symmetric", bits: 4, group: 32 };
  const weights = weightsOf(64, 256, 10);
  const seen = through(format, 64, 256, weights);
  let [found, plain] = [0, 0];
  for (let g = 0; g < weights.length; g += 32) {
    const scale = weights.subarray(g, g + 32).reduce((most, w) => Math.max(most, Math.abs(w)), 0) /
      7;
    for (let i = g; i < g + 32; i++) {
      found += (weights[i]! - seen[i]!) ** 2;
      plain += scale === 0 ? 0 : (weights[i]! - scale * Math.round(weights[i]! / scale)) ** 2;
    }
  }
  assert(found < plain, `${found} against ${plain}`);
});

Deno.test("all-zero panels decode to zero and damaged weights are refused", () => {
  const format: SymmetricFormat = { kind: "symmetric", bits: 8, group: 64 };
  assertEquals(through(format, 9, 64, new Float32Array(9 * 64)), new Float32Array(9 * 64));
  const weights = new Float32Array(64).fill(NaN, 3, 4);
  assertThrows(() => symmetricGrid(format, 1, 64, weights), LobitError, "finite");
  assertThrows(() => symmetricGrid(format, 1, 65, new Float32Array(65)), LobitError, "divide");
});
