/** What the format tests share: golden tensors as typed arrays, seeded weights, formats for fast-check. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Random } from "../../src/base/random.ts";
import {
  type BilevelFormat,
  fitFormat,
  type Format,
  type Grid,
  gridFrom,
  rangeOf,
  symmetricGrid,
} from "../../src/formats/mod.ts";
import { type Golden, goldenTensor } from "../testing/goldens.ts";

/** A golden f32 tensor's values. */
export function floats(golden: Golden, name: string): Float32Array {
  const { data } = goldenTensor(golden, name);
  assert(data instanceof Float32Array, name);
  return data;
}

/** A golden u8 tensor's values. */
export function bytes(golden: Golden, name: string): Uint8Array {
  const { data } = goldenTensor(golden, name);
  assert(data instanceof Uint8Array, name);
  return data;
}

/** A golden i32 tensor's values as the i16 that they stand for. */
export function shorts(golden: Golden, name: string): Int16Array {
  const { data } = goldenTensor(golden, name);
  assert(data instanceof Int32Array, name);
  return Int16Array.from(data);
}

/** Equal bit for bit, except that -0 is 0. */
export function assertSame(
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  what: string,
): void {
  assertEquals(found.length, expected.length, what);
  for (let i = 0; i < expected.length; i++) {
    if (found[i] !== expected[i]) {
      throw new Error(`${what}: ${found[i]} instead of ${expected[i]} at ${i}`);
    }
  }
}

/** The difference of two f32 in steps between neighbouring floats. */
export function ulps(a: number, b: number): number {
  const words = new Int32Array(new Float32Array([a, b]).buffer);
  const [x, y] = Array.from(words, (word) => word < 0 ? -(word & 0x7fffffff) : word);
  return Math.abs(x! - y!);
}

/** Normal weights whose rows differ in size by up to 2^8, with some outliers and zeros. */
export function weightsOf(rows: number, columns: number, seed: number): Float32Array {
  const random = new Random(seed);
  const weights = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const size = 0.02 * 2 ** (random.integer(9) - 4);
    for (let column = 0; column < columns; column++) {
      const kind = random.integer(50);
      const value = random.normal() * size * (kind === 0 ? 30 : 1);
      weights[row * columns + column] = kind === 1 ? 0 : value;
    }
  }
  return weights;
}

/** The grid of weights in any format. */
export function gridOf(format: Format, rows: number, columns: number, weights: Float32Array): Grid {
  return format.kind === "symmetric"
    ? symmetricGrid(format, rows, columns, weights)
    : gridFrom(format, rows, columns, rangeOf(rows, columns, format.group, weights));
}

/** Any bilevel format with any sizes, not fitted to a shape yet. */
export const bilevels: fc.Arbitrary<BilevelFormat> = fc.record({
  kind: fc.constant("bilevel" as const),
  bits: fc.constantFrom(2 as const, 3 as const, 4 as const),
  group: fc.integer({ min: 1, max: 200 }),
  secondGroup: fc.integer({ min: 1, max: 40 }),
});

/** A format that fits a shape, the shape, and a seed. */
export const fitted: fc.Arbitrary<{ format: Format; rows: number; columns: number; seed: number }> =
  fc.record({
    wanted: fc.oneof(
      bilevels,
      fc.record({
        kind: fc.constant("symmetric" as const),
        bits: fc.constantFrom(4 as const, 8 as const),
        group: fc.integer({ min: 1, max: 200 }),
      }),
    ),
    rows: fc.integer({ min: 1, max: 40 }),
    columns: fc.oneof(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 1, max: 20 }).map((n) => 16 * n),
    ),
    seed: fc.nat(),
  }).map(({ wanted, rows, columns, seed }) => ({
    format: fitFormat(wanted, rows, columns),
    rows,
    columns,
    seed,
  }));
