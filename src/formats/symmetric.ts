/**
 * The symmetric grid of embedding and head: zero fixed at 8 (4 bits, -8..7) or 128 (8 bits, -128..127), one integer
 * scale per row and group, found by a small search for the least squared error. A panel's unit is a power of two,
 * P / 2^16 (4 bits) or P / 2^20, where P is the least power that the panel's dequantized values do not exceed. So every
 * dequantized value is exact in f32, a dequantized panel has the same P again, and its groups are recognized as lying
 * on a grid already: quantizing again changes no value.
 */

import { checkFormat, largestCode, type SymmetricFormat } from "./format.ts";
import { type Grid, rangeOf, SCALE_LIMIT, SMALLEST_SCALE } from "./grid.ts";
import { roundCode, roundEven } from "./rounding.ts";

/** Tried scales are the group's largest |w| over these; with the first nothing is clipped. */
const DIVISORS = {
  4: [7, 7.25, 7.5, 7.75, 8, 8.4, 8.8, 9.4],
  8: [127, 128, 130, 134],
} as const;

/** P in units: the largest tried scale, P / 7 or P / 127, is about 9,000 units, below SCALE_LIMIT. */
const SPAN = { 4: 2 ** 16, 8: 2 ** 20 } as const;

const { fround } = Math;

/** One group in search of a scale; everything in units of its panel, so that bits of P do not matter. */
interface Group {
  readonly values: Float64Array;
  min: number;
  max: number;
  /** 2^(bits - 1): the zero code, and the largest code below it. */
  readonly half: number;
  readonly largest: number;
  readonly span: number;
  readonly divisors: readonly number[];
}

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
  const { group: size, bits } = format;
  const groups = columns / size;
  const span = SPAN[bits];
  const { min, max } = rangeOf(rows, columns, size, weights);
  const units = new Float32Array(Math.ceil(rows / 8));
  const scales = new Int16Array(rows * groups);
  const group: Group = {
    values: new Float64Array(size),
    min: 0,
    max: 0,
    half: 2 ** (bits - 1),
    largest: largestCode(format),
    span,
    divisors: DIVISORS[bits],
  };

  /** Finds the scales of groups first to end - 1; returns the largest dequantized magnitude in units. */
  const search = (first: number, end: number, unit: number): number => {
    let reached = 0;
    for (let i = first; i < end; i++) {
      for (let j = 0; j < size; j++) group.values[j] = weights[i * size + j]! / unit;
      group.min = min[i]! / unit;
      group.max = max[i]! / unit;
      scales[i] = exactScale(group) || bestScale(group);
      reached = Math.max(reached, reach(group, scales[i]!));
    }
    return reached;
  };

  for (let panel = 0; panel < units.length; panel++) {
    const first = panel * 8 * groups;
    const end = Math.min(rows, panel * 8 + 8) * groups;
    let peak = 0;
    for (let i = first; i < end; i++) peak = Math.max(peak, -min[i]!, max[i]!);
    const smallest = SMALLEST_SCALE * span;
    let bound = powerOfTwo(peak, smallest);
    // Rounding may bring a panel that is just above a power of two down to it.
    while (search(first, end, bound / span) <= span / 2 && bound > smallest) bound /= 2;
    units[panel] = bound / span;
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

/** The largest magnitude that a group's values have when dequantized with a scale; rounds as codesOn does. */
function reach({ min, max, half, largest }: Group, scale: number): number {
  const low = half - roundCode(fround(fround(min / scale) + half), largest);
  const high = roundCode(fround(fround(max / scale) + half), largest) - half;
  return Math.max(low, high) * scale;
}

/** The integer scale on whose grid all values lie exactly, 0 if there is none. */
function exactScale({ values, min, max, half, span }: Group): number {
  const peak = Math.max(-min, max);
  if (peak === 0) return 1;
  if (!Number.isInteger(peak) || peak > span) return 0;
  for (let code = Math.min(half, peak); code >= 1; code--) {
    const scale = peak / code;
    if (scale > SCALE_LIMIT) break;
    if (Number.isInteger(scale) && max / scale <= half - 1 && areMultiples(values, scale)) {
      return scale;
    }
  }
  return 0;
}

function areMultiples(values: Float64Array, scale: number): boolean {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isInteger(values[i]! / scale)) return false;
  }
  return true;
}

/** The tried scale with the least squared error among those whose values stay within P. */
function bestScale(group: Group): number {
  const { min, max, half, span, divisors } = group;
  const peak = Math.min(span, Math.max(-min, max));
  let best = Math.max(1, Math.floor(peak / half)); // no code exceeds P with it
  let bestError = squaredError(group, best);
  let previous = best;
  for (const divisor of divisors) {
    const scale = Math.max(1, roundEven(peak / divisor));
    if (scale === previous || reach(group, scale) > span) continue;
    previous = scale;
    const error = squaredError(group, scale);
    if (error < bestError) {
      bestError = error;
      best = scale;
    }
  }
  return best;
}

function squaredError({ values, half, largest }: Group, scale: number): number {
  const inverse = 1 / scale;
  let error = 0;
  for (let i = 0; i < values.length; i++) {
    const position = values[i]! * inverse + half;
    const miss = position - roundCode(position, largest);
    error += miss * miss;
  }
  return error * scale * scale;
}
