/**
 * The symmetric grid of embedding and head: zero fixed at 8 (4 bits, -8..7) or 128 (8 bits, -128..127), one integer
 * scale per row and group, found by a small search for the least squared error. A panel's unit is a power of two,
 * (least power P >= the panel's largest |w|) / 2^16 or 2^20, and nothing dequantizes beyond P. So every dequantized
 * value is exact in f32, a dequantized panel gets a unit that divides the old one, and its groups are recognized as
 * lying on a grid already: quantizing again changes no value.
 */

import { checkFormat, largestCode, type SymmetricFormat } from "./format.ts";
import { type Grid, rangeOf, SCALE_LIMIT, SMALLEST_SCALE } from "./grid.ts";
import { roundCode, roundEven } from "./rounding.ts";

const { fround } = Math;

/** Tried scales are the group's largest |w| over these; the first is the one that clips nothing. */
const DIVISORS = {
  4: [7, 7.25, 7.5, 7.75, 8, 8.4, 8.8, 9.4],
  8: [127, 128, 130, 134],
} as const;

/** P over the unit: the largest tried scale, P / 7 or P / 127, is about 9,000 units, below SCALE_LIMIT. */
const SPAN = { 4: 2 ** 16, 8: 2 ** 20 } as const;

/**
 * The symmetric grid of a weight; {@linkcode codesOn} gives the codes.
 *
 * @param weights f32 [rows, columns].
 * @throws {LobitError} bad-request for a wrong shape or weights that are not finite.
 */
export function symmetricGrid(
  format: SymmetricFormat,
  rows: number,
  columns: number,
  weights: Float32Array,
): Grid {
  checkFormat(format, rows, columns);
  const { group, bits } = format;
  const groups = columns / group;
  const { min, max } = rangeOf(rows, columns, group, weights);
  const units = new Float32Array(Math.ceil(rows / 8));
  const scales = new Int16Array(rows * groups);
  for (let panel = 0; panel < units.length; panel++) {
    const end = Math.min(rows, panel * 8 + 8) * groups;
    let peak = 0;
    for (let i = panel * 8 * groups; i < end; i++) peak = Math.max(peak, -min[i]!, max[i]!);
    const bound = powerOfTwo(peak, SMALLEST_SCALE * SPAN[bits]);
    const unit = bound / SPAN[bits];
    units[panel] = unit;
    for (let i = panel * 8 * groups; i < end; i++) {
      const values = weights.subarray(i * group, (i + 1) * group);
      scales[i] = exactScale(format, unit, values, min[i]!, max[i]!) ||
        bestScale(format, unit, bound, values, min[i]!, max[i]!);
    }
  }
  return { format, rows, columns, units, scales };
}

/** The least power of two that is not below either number. */
function powerOfTwo(atLeast: number, smallest: number): number {
  if (atLeast <= smallest) return smallest;
  let power = 2 ** Math.ceil(Math.log2(atLeast));
  while (power < atLeast) power *= 2; // logarithms may be off by an ulp
  while (power / 2 >= atLeast) power /= 2;
  return power;
}

/** The integer scale on whose grid all values lie exactly, 0 if there is none. */
function exactScale(
  format: SymmetricFormat,
  unit: number,
  values: Float32Array,
  min: number,
  max: number,
): number {
  const half = 2 ** (format.bits - 1);
  const peak = Math.max(-min, max) / unit;
  if (peak === 0) return 1;
  if (!Number.isInteger(peak)) return 0;
  for (let code = Math.min(half, peak); code >= 1; code--) {
    const scale = peak / code;
    if (!Number.isInteger(scale) || scale > SCALE_LIMIT) continue;
    const step = scale * unit;
    if (values.every((value) => Number.isInteger(value / step)) && max / step <= half - 1) {
      return scale;
    }
  }
  return 0;
}

function bestScale(
  format: SymmetricFormat,
  unit: number,
  bound: number,
  values: Float32Array,
  min: number,
  max: number,
): number {
  const half = 2 ** (format.bits - 1);
  const largest = largestCode(format);
  const peak = Math.max(-min, max) / unit;
  let best = Math.max(1, Math.floor(peak / DIVISORS[format.bits][0])); // never dequantizes beyond the bound
  let bestError = squaredError(values, best * unit, half, largest);
  let previous = best;
  for (const divisor of DIVISORS[format.bits]) {
    const scale = Math.max(1, Math.min(SCALE_LIMIT, roundEven(peak / divisor)));
    if (scale === previous) continue;
    previous = scale;
    const step = scale * unit;
    const lowest = (half - roundCode(fround(fround(min / step) + half), largest)) * step;
    const highest = (roundCode(fround(fround(max / step) + half), largest) - half) * step;
    if (lowest > bound || highest > bound) continue;
    const error = squaredError(values, step, half, largest);
    if (error < bestError) {
      bestError = error;
      best = scale;
    }
  }
  return best;
}

function squaredError(values: Float32Array, step: number, half: number, largest: number): number {
  const inverse = 1 / step;
  let error = 0;
  for (let i = 0; i < values.length; i++) {
    const position = values[i]! * inverse + half;
    const miss = position - roundCode(position, largest);
    error += miss * miss;
  }
  return error * step * step;
}
