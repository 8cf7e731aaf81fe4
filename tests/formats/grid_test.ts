// The stored grid against tests/goldens/bilevel_stored.safetensors (made by make_bilevel_stored.py) and its properties.

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import {
  type BilevelFormat,
  codesOn,
  dequantize,
  gridFrom,
  LARGEST_WEIGHT,
  largestCode,
  maskedGradient,
  rangeOf,
  referenceGradient,
  referenceGrid,
  SCALE_LIMIT,
  scalesOf,
  zeroOf,
} from "../../src/formats/mod.ts";
import { readGolden } from "../testing/goldens.ts";
import { assertSame, bytes, fitted, floats, gridOf, shorts, weightsOf } from "./support.ts";

const golden = readGolden("bilevel_stored.safetensors");
const released = readGolden("bilevel.safetensors");

interface GridCase {
  format: BilevelFormat;
  rows: number;
  columns: number;
  weights: Float32Array;
}

function caseOf(name: string): GridCase {
  const { bits, group, second_group, rows, cols, weight } = golden.cases[name];
  return {
    format: { kind: "bilevel", bits, group, secondGroup: second_group },
    rows,
    columns: cols,
    weights: floats(weight ? released : golden, `${name}.weight`),
  };
}

for (const name of Object.keys(golden.cases).filter((name) => !name.startsWith("packed."))) {
  Deno.test(`the stored grid of ${name} equals the golden bit for bit`, () => {
    const { format, rows, columns, weights } = caseOf(name);
    const range = golden.tensors.has(`${name}.low`)
      ? { min: floats(golden, `${name}.low`), max: floats(golden, `${name}.high`) }
      : rangeOf(rows, columns, format.group, weights);
    const grid = gridFrom(format, rows, columns, range);
    assertSame(grid.units, floats(golden, `${name}.units`), "units");
    assertSame(grid.second!.base, shorts(golden, `${name}.base`), "base");
    assertSame(grid.second!.step, shorts(golden, `${name}.step`), "step");
    assertSame(grid.second!.codes, bytes(golden, `${name}.scale_codes`), "scale codes");
    assertSame(grid.scales, shorts(golden, `${name}.scales`), "scales");
    assertSame(grid.zeroCodes!, bytes(golden, `${name}.zero_codes`), "zero codes");
    const codes = codesOn(grid, weights);
    assertSame(codes, bytes(golden, `${name}.codes`), "codes");
    assertSame(dequantize(grid, codes), floats(golden, `${name}.dequantized`), "dequantized");
  });
}

for (const name of Object.keys(released.cases)) {
  Deno.test(`the stored grid of ${name} is as near to the weights as the released grid`, () => {
    const { format, rows, columns, weights } = caseOf(name);
    const grid = gridOf(format, rows, columns, weights);
    const stored = squaredError(weights, dequantize(grid, codesOn(grid, weights)));
    const reference = referenceGrid(format, rows, columns, weights);
    assert(stored <= 1.01 * squaredError(weights, reference.dequantized));
  });
}

Deno.test("on the released weights the stored gradient mask differs in few places only", () => {
  for (const name of ["w2g16", "w3g16", "w4g32"]) {
    const { format, rows, columns, weights } = caseOf(name);
    const upstream = floats(released, `${name}.upstream`);
    const expected = referenceGradient(
      format,
      referenceGrid(format, rows, columns, weights),
      weights,
      upstream,
    );
    const found = maskedGradient(gridOf(format, rows, columns, weights), weights, upstream);
    const different = found.filter((value, i) => value !== expected[i]).length;
    assert(different <= 0.02 * found.length, `${name}: ${different}`);
  }
});

Deno.test("integer scales stay in 1..SCALE_LIMIT for any ranges, base + code * step", () => {
  const size = fc.oneof(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.integer({ min: -100, max: 100 }).map((power) => 2 ** power),
    // Around whole and half numbers of units, where rounding up base and step adds the most.
    fc.integer({ min: 0, max: 2 * 16375 }).map((halves) => halves / 2 / 16375),
  );
  fc.assert(
    fc.property(
      fc.array(size, { minLength: 16, maxLength: 16 }),
      fc.array(size, { minLength: 16, maxLength: 16 }),
      fc.constantFrom(2 as const, 3 as const, 4 as const),
      fc.constantFrom(1, 2, 4, 8),
      (lows, highs, bits, secondGroup) => {
        const format: BilevelFormat = { kind: "bilevel", bits, group: 16, secondGroup };
        const range = {
          min: Float32Array.from(lows, (low) => -low),
          max: Float32Array.from(highs),
        };
        const grid = gridFrom(format, 8, 32, range);
        const { base, step, codes } = grid.second!;
        for (let i = 0; i < grid.scales.length; i++) {
          const second = Math.floor(Math.floor(i / 2) / secondGroup) * 2 + i % 2;
          assert(codes[i]! <= 15 && base[second]! >= 1 && step[second]! >= 0);
          assert(base[second]! + 15 * step[second]! <= SCALE_LIMIT);
          assertEquals(grid.scales[i], base[second]! + codes[i]! * step[second]!);
        }
        assert(grid.units.every((unit) => unit > 0 && Number.isFinite(unit)));
      },
    ),
    { seed: 3, numRuns: 3000 },
  );
});

Deno.test("inside a grid's range the error is at most half a scale", () => {
  fc.assert(
    fc.property(fitted, ({ format, rows, columns, seed }) => {
      const weights = weightsOf(rows, columns, seed);
      const grid = gridOf(format, rows, columns, weights);
      const seen = dequantize(grid, codesOn(grid, weights));
      const scales = scalesOf(grid);
      let inside = 0;
      weights.forEach((weight, i) => {
        const at = Math.floor(i / format.group);
        const scale = scales[at]!;
        const low = -scale * zeroOf(grid, at);
        const high = scale * (largestCode(format) - zeroOf(grid, at));
        if (weight < low || weight > high) {
          assertEquals(seen[i], Math.fround(weight < low ? low : high));
        } else {
          inside++;
          assert(Math.abs(weight - seen[i]!) <= scale * (0.5 + 2 ** -14), `${weight} ${seen[i]}`);
        }
      });
      assert(inside > 0);
    }),
    { seed: 4, numRuns: 150 },
  );
});

Deno.test("nearest codes leave no nearer one on the grid", () => {
  fc.assert(
    fc.property(fitted, ({ format, rows, columns, seed }) => {
      const weights = weightsOf(rows, columns, seed);
      const grid = gridOf(format, rows, columns, weights);
      const codes = codesOn(grid, weights);
      const seen = dequantize(grid, codes);
      for (const step of [-1, 1]) {
        const moved = codes.map((code) => Math.min(largestCode(format), Math.max(0, code + step)));
        const other = dequantize(grid, moved);
        weights.forEach((weight, i) => {
          const tolerance = 2 ** -20 * Math.abs(weight);
          assert(Math.abs(weight - seen[i]!) <= Math.abs(weight - other[i]!) + tolerance);
        });
      }
    }),
    { seed: 5, numRuns: 60 },
  );
});

Deno.test("the masked gradient passes exactly what the codes do not clip", () => {
  const { format, rows, columns, weights } = caseOf("w2g16_outliers");
  const range = rangeOf(rows, columns, format.group, weights);
  const clipped = { min: range.min.map((x) => 0.7 * x), max: range.max.map((x) => 0.7 * x) };
  const grid = gridFrom(format, rows, columns, clipped);
  const upstream = weightsOf(rows, columns, 9).map((x) => x || 1);
  const gradient = maskedGradient(grid, weights, upstream);
  const scales = scalesOf(grid);
  let stopped = 0;
  gradient.forEach((value, i) => {
    const at = Math.floor(i / format.group);
    const steps = weights[i]! / scales[at]! + zeroOf(grid, at);
    if (Math.abs(steps) < 1e-3 || Math.abs(steps - 3) < 1e-3) return; // an ulp decides
    assertEquals(value, steps > 0 && steps < 3 ? upstream[i] : 0);
    if (value === 0) stopped++;
  });
  assert(stopped > 0.1 * weights.length && stopped < 0.9 * weights.length);
  assertSame(maskedGradient(grid, weights, upstream, upstream), gradient, "in place");
});

Deno.test("given scales and zero codes are taken, and codes may be chosen freely", () => {
  const format: BilevelFormat = { kind: "bilevel", bits: 3, group: 16, secondGroup: 8 };
  const weights = weightsOf(8, 32, 1);
  const range = rangeOf(8, 32, 16, weights);
  const scales = new Float32Array(16).fill(0.5);
  const zeroCodes = Uint8Array.from({ length: 16 }, (_, i) => i % 8);
  const grid = gridFrom(format, 8, 32, range, { scales, zeroCodes });
  assertSame(grid.zeroCodes!, zeroCodes, "zero codes");
  assert(scalesOf(grid).every((scale) => Math.abs(scale - 0.5) < 0.5 * 1e-4));
  const random = new Random(2);
  const codes = Uint8Array.from({ length: 256 }, () => random.integer(8));
  dequantize(grid, codes).forEach((weight, i) => {
    assert(Math.abs(weight - 0.5 * (codes[i]! - zeroCodes[Math.floor(i / 16)]!)) < 1e-3);
  });
});

Deno.test("what no grid can hold is refused with a sentence", () => {
  const format: BilevelFormat = { kind: "bilevel", bits: 2, group: 16, secondGroup: 8 };
  for (const bad of [NaN, Infinity, -Infinity, 2 * LARGEST_WEIGHT]) {
    const weights = new Float32Array(8 * 32);
    weights[3 * 32 + 20] = bad;
    const error = assertThrows(() => rangeOf(8, 32, 16, weights), LobitError, "row 3, columns 16");
    assertEquals((error as LobitError).code, "bad-request");
  }
  const range = { min: new Float32Array(16), max: new Float32Array(16) };
  const wrong: (() => unknown)[] = [
    () => rangeOf(8, 32, 16, new Float32Array(255)),
    () => gridFrom(format, 8, 40, range),
    () => gridFrom(format, 12, 32, range),
    () => gridFrom(format, 8, 32, { ...range, min: new Float32Array(15) }),
    () => gridFrom(format, 8, 32, { ...range, max: new Float32Array(16).fill(NaN) }),
    () => gridFrom(format, 8, 32, range, { scales: new Float32Array(16).fill(NaN) }),
    () => gridFrom(format, 8, 32, range, { zeroCodes: new Uint8Array(16).fill(4) }),
    () => codesOn(gridFrom(format, 8, 32, range), new Float32Array(1)),
    () => dequantize(gridFrom(format, 8, 32, range), new Uint8Array(1)),
  ];
  for (const attempt of wrong) assertThrows(attempt, LobitError);
});

function squaredError(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
}
