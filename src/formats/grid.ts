/**
 * The grid that lobit searches, trains, stores and runs: scale s^ = unit * m with an integer m in 1..SCALE_LIMIT, codes
 * q = clamp(rint(w / s^ + z)), dequantized w^ = s^ (q - z). In bilevel formats m = base + code * step, base and step
 * being 16-bit integers of a second group (rows of one column group) and code its 4-bit scale code. Every operation is
 * rounded to f32, rint takes ties to even. Differs from grid_reference.ts in the rounding of base and step, and in that
 * a range always holds zero: the released grid loses groups whose weights all have one sign.
 */

import { badRequest } from "../base/errors.ts";
import { type BilevelFormat, checkFormat, type Format, largestCode } from "./format.ts";
import { roundCode, roundEven } from "./rounding.ts";

/** Largest integer scale: keeps a chunk's 64 * 127 * 15 * m below 2^31. */
export const SCALE_LIMIT = 16383;

/** Weights larger than this are refused: no trained weight has them and their ranges overflow f32. */
export const LARGEST_WEIGHT: number = 2 ** 100;

/** Scales are at least this, so that an all-zero band has a unit and no division gives NaN. */
export const SMALLEST_SCALE: number = 2 ** -100;

/** A band's largest scale in units: rounding base up by 1/2 and 15 steps by 1/2 each still stays in SCALE_LIMIT. */
const BAND_SPAN = 16375;

const { fround } = Math;

/** Smallest and largest weight of every group, both f32 [rows, groups]. */
export interface Range {
  /** Smallest weights. */
  readonly min: Float32Array;
  /** Largest weights. */
  readonly max: Float32Array;
}

/** The second level of a bilevel grid: m = base + code * step. */
export interface SecondLevel {
  /** Integer base [bands, groups]. */
  readonly base: Int16Array;
  /** Integer step [bands, groups]; 0 where all scales of the band are alike. */
  readonly step: Int16Array;
  /** Scale codes 0..15 [rows, groups]. */
  readonly codes: Uint8Array;
}

/** Everything but the codes: where a weight's codes stand. `groups` is columns / group. */
export interface Grid {
  /** How the weight is coded. */
  readonly format: Format;
  /** Rows of the weight. */
  readonly rows: number;
  /** Columns of the weight. */
  readonly columns: number;
  /** f32 [panels], the unit of the integer scales of 8 rows. */
  readonly units: Float32Array;
  /** Integer scales m, 1..SCALE_LIMIT [rows, groups]. */
  readonly scales: Int16Array;
  /** Zero codes [rows, groups]; symmetric formats have none, their zero is 2^(bits - 1). */
  readonly zeroCodes?: Uint8Array;
  /** Bilevel formats only; missing when read from a packed weight that stores its scales explicitly. */
  readonly second?: SecondLevel;
}

/** Choices that a method may make instead of the range: both [rows, groups]. */
export interface GridChoice {
  /** Scales before their own quantization, instead of range / (2^bits - 1). */
  readonly scales?: Float32Array | undefined;
  /** Zero codes, instead of clamp(rint(-min / scale)). */
  readonly zeroCodes?: Uint8Array | undefined;
}

/**
 * The range of every group.
 *
 * @param weights f32 [rows, columns].
 * @throws {LobitError} bad-request when a weight is not a number, infinite or larger than LARGEST_WEIGHT.
 */
export function rangeOf(
  rows: number,
  columns: number,
  group: number,
  weights: Float32Array,
): Range {
  checkLength(weights, rows * columns, "weights");
  const min = new Float32Array(rows * columns / group);
  const max = new Float32Array(min.length);
  for (let g = 0, at = 0; g < min.length; g++) {
    let low = Infinity;
    let high = -Infinity;
    let poison = 0;
    for (const end = at + group; at < end; at++) {
      const weight = weights[at]!;
      if (weight < low) low = weight;
      if (weight > high) high = weight;
      poison += weight * 0; // NaN and infinity, which comparisons alone let through
    }
    if (poison !== 0 || low < -LARGEST_WEIGHT || high > LARGEST_WEIGHT) {
      const row = Math.floor(g * group / columns);
      const column = g * group % columns;
      throw badRequest(
        `Weights must be finite and at most 2^100, but row ${row}, columns ${column} to ${
          column + group - 1
        } hold ` +
          "others. The checkpoint is damaged or training diverged.",
      );
    }
    min[g] = low;
    max[g] = high;
  }
  return { min, max };
}

/**
 * The bilevel grid of given ranges (of the weights, or clipped).
 *
 * @param range per group; where it does not hold zero it is widened to zero.
 * @throws {LobitError} bad-request for wrong lengths, ranges or choices that are not finite.
 */
export function gridFrom(
  format: BilevelFormat,
  rows: number,
  columns: number,
  range: Range,
  choice: GridChoice = {},
): Grid {
  checkFormat(format, rows, columns);
  const groups = columns / format.group;
  const largest = largestCode(format);
  checkLength(range.min, rows * groups, "minima");
  checkLength(range.max, rows * groups, "maxima");
  if (choice.scales) checkLength(choice.scales, rows * groups, "scales");
  if (choice.zeroCodes) checkLength(choice.zeroCodes, rows * groups, "zero codes");

  const raw = new Float32Array(rows * groups);
  const zeroCodes = new Uint8Array(rows * groups);
  for (let i = 0; i < raw.length; i++) {
    const low = Math.min(0, range.min[i]!);
    const high = Math.max(0, range.max[i]!);
    const wanted = choice.scales ? choice.scales[i]! : fround(fround(high - low) / largest);
    const zero = choice.zeroCodes?.[i] ?? 0;
    if (!(low >= -LARGEST_WEIGHT && high <= LARGEST_WEIGHT && wanted <= 2 * LARGEST_WEIGHT)) {
      throw badRequest(`Group ${i} has no finite range or scale: ${low} to ${high}, ${wanted}.`);
    }
    if (zero > largest) throw badRequest(`Zero code ${zero} does not fit ${format.bits} bits.`);
    raw[i] = wanted > SMALLEST_SCALE ? wanted : SMALLEST_SCALE;
    zeroCodes[i] = choice.zeroCodes ? zero : roundCode(fround(-low / raw[i]!), largest);
  }

  const units = unitsOf(raw, rows, groups, format.secondGroup);
  const scales = new Int16Array(rows * groups);
  const second = secondLevel(raw, units, rows, groups, format.secondGroup, scales);
  return { format, rows, columns, units, scales, zeroCodes, second };
}

/** Units per panel: the rows that share one are a band, or as many bands as fill whole panels. */
function unitsOf(raw: Float32Array, rows: number, groups: number, band: number): Float32Array {
  const units = new Float32Array(Math.ceil(rows / 8));
  let span = band;
  while (span % 8 !== 0) span += band;
  for (let row = 0; row < rows; row += span) {
    let biggest = 0;
    const end = Math.min(rows, row + span);
    for (let i = row * groups; i < end * groups; i++) biggest = Math.max(biggest, raw[i]!);
    units.fill(fround(biggest / BAND_SPAN), row / 8, Math.ceil(end / 8));
  }
  return units;
}

function secondLevel(
  raw: Float32Array,
  units: Float32Array,
  rows: number,
  groups: number,
  band: number,
  scales: Int16Array,
): SecondLevel {
  const base = new Int16Array(rows / band * groups);
  const step = new Int16Array(base.length);
  const codes = new Uint8Array(rows * groups);
  for (let first = 0; first < rows; first += band) {
    const unit = units[first >> 3]!; // all panels that a band touches have one unit
    const unit15 = fround(15 * unit);
    for (let g = 0; g < groups; g++) {
      let smallest = Infinity;
      let biggest = 0;
      for (let row = first; row < first + band; row++) {
        const scale = raw[row * groups + g]!;
        if (scale < smallest) smallest = scale;
        if (scale > biggest) biggest = scale;
      }
      const b = Math.max(1, roundEven(fround(smallest / unit)));
      const s = roundEven(fround(fround(biggest - smallest) / unit15));
      base[first / band * groups + g] = b;
      step[first / band * groups + g] = s;
      for (let row = first; row < first + band; row++) {
        const i = row * groups + g;
        const code = s > 0 ? roundCode(fround(fround(fround(raw[i]! / unit) - b) / s), 15) : 0;
        codes[i] = code;
        scales[i] = b + code * s;
      }
    }
  }
  return { base, step, codes };
}

/** The zero code of a group (index row * groups + group). */
export function zeroOf(grid: Grid, index: number): number {
  return grid.zeroCodes ? grid.zeroCodes[index]! : 2 ** (grid.format.bits - 1);
}

/** All scales s^ = unit * m as f32 [rows, groups]. */
export function scalesOf(grid: Grid): Float32Array {
  const groups = grid.columns / grid.format.group;
  const scales = new Float32Array(grid.scales.length);
  for (let i = 0; i < scales.length; i++) {
    scales[i] = grid.units[Math.floor(i / groups) >> 3]! * grid.scales[i]!;
  }
  return scales;
}

/**
 * The nearest codes of weights on a grid.
 *
 * @param weights f32 [rows, columns], finite.
 * @param into u8 [rows, columns], made when not given.
 */
export function codesOn(grid: Grid, weights: Float32Array, into?: Uint8Array): Uint8Array {
  const codes = into ?? new Uint8Array(grid.rows * grid.columns);
  checkLength(weights, grid.rows * grid.columns, "weights");
  checkLength(codes, grid.rows * grid.columns, "codes");
  const { group } = grid.format;
  const largest = largestCode(grid.format);
  const scales = scalesOf(grid);
  for (let g = 0, at = 0; g < scales.length; g++) {
    const scale = scales[g]!;
    const zero = zeroOf(grid, g);
    for (const end = at + group; at < end; at++) {
      codes[at] = roundCode(fround(fround(weights[at]! / scale) + zero), largest);
    }
  }
  return codes;
}

/** What codes [rows, columns] stand for, f32 [rows, columns]. */
export function dequantize(grid: Grid, codes: Uint8Array, into?: Float32Array): Float32Array {
  const weights = into ?? new Float32Array(grid.rows * grid.columns);
  checkLength(weights, grid.rows * grid.columns, "weights");
  checkLength(codes, grid.rows * grid.columns, "codes");
  const { group } = grid.format;
  const scales = scalesOf(grid);
  for (let g = 0, at = 0; g < scales.length; g++) {
    const scale = scales[g]!;
    const zero = zeroOf(grid, g);
    for (const end = at + group; at < end; at++) weights[at] = scale * (codes[at]! - zero);
  }
  return weights;
}

/**
 * The straight-through gradient of weights seen through a grid: passes where -s^ z <= w <= s^ (2^bits - 1 - z), is 0
 * elsewhere; scales and zero codes get none.
 *
 * @param weights f32 [rows, columns].
 * @param upstream f32 [rows, columns], the gradient of the dequantized weights; may also be `into`.
 */
export function maskedGradient(
  grid: Grid,
  weights: Float32Array,
  upstream: Float32Array,
  into?: Float32Array,
): Float32Array {
  const gradient = into ?? new Float32Array(grid.rows * grid.columns);
  for (const values of [weights, upstream, gradient]) {
    checkLength(values, grid.rows * grid.columns, "weights or gradients");
  }
  const { group } = grid.format;
  const largest = largestCode(grid.format);
  const scales = scalesOf(grid);
  for (let g = 0, at = 0; g < scales.length; g++) {
    const zero = zeroOf(grid, g);
    const low = fround(-scales[g]! * zero);
    const high = fround(scales[g]! * (largest - zero));
    for (const end = at + group; at < end; at++) {
      const weight = weights[at]!;
      gradient[at] = weight >= low && weight <= high ? upstream[at]! : 0;
    }
  }
  return gradient;
}

/** Throws bad-request unless an array has the length that its shape says. */
export function checkLength(values: ArrayLike<number>, expected: number, what: string): void {
  if (values.length === expected) return;
  throw badRequest(`Expected ${expected} ${what}, found ${values.length}: the shape is wrong.`);
}
