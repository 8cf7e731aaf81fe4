/**
 * The bilevel grid of SPEED-Q (AAAI-26) as released, in f32, for comparison and for reproducing its training; what
 * lobit stores and runs is grid.ts. Per row and group: s = (max - min) / (2^b - 1) >= 1e-5, z = clamp(rint(-min / s)).
 * Per second group (rows of one column group): step = (smax - smin) / 15 >= 1e-5, zero = -smin / step,
 * c = clamp(rint(s / step + zero), 0, 15), s^ = step (c - zero). q = clamp(rint(w / s^ + z)), w^ = s^ (q - z).
 * Every operation is rounded to f32; rint takes ties to even; z comes from the scale before its own quantization.
 */

import { type BilevelFormat, checkFormat, largestCode } from "./format.ts";
import { checkLength, rangeOf } from "./grid.ts";
import { roundCode } from "./rounding.ts";

/** A weight on the released grid; `groups` is columns / group and `bands` rows / second group. */
export interface ReferenceGrid {
  /** Codes [rows, columns]. */
  readonly codes: Uint8Array;
  /** Zero codes [rows, groups]. */
  readonly zeroCodes: Uint8Array;
  /** Scale codes [rows, groups]. */
  readonly scaleCodes: Uint8Array;
  /** Quantized scales [rows, groups]. */
  readonly scale: Float32Array;
  /** Step between two scales [bands, groups]. */
  readonly secondScale: Float32Array;
  /** The scale code, not rounded, that stands for a scale of 0 [bands, groups]. */
  readonly secondZero: Float32Array;
  /** What the codes stand for [rows, columns]. */
  readonly dequantized: Float32Array;
}

const FLOOR = Math.fround(1e-5);
const { fround } = Math;

/**
 * Puts a weight on the released grid.
 *
 * @param weights f32 [rows, columns], finite.
 * @throws {LobitError} bad-request for a wrong shape or weights that are not finite.
 */
export function referenceGrid(
  format: BilevelFormat,
  rows: number,
  columns: number,
  weights: Float32Array,
): ReferenceGrid {
  checkFormat(format, rows, columns);
  const { group, secondGroup } = format;
  const largest = largestCode(format);
  const groups = columns / group;
  const bands = rows / secondGroup;
  const { min, max } = rangeOf(rows, columns, group, weights);

  const raw = new Float32Array(rows * groups);
  const zeroCodes = new Uint8Array(rows * groups);
  for (let i = 0; i < raw.length; i++) {
    raw[i] = Math.max(FLOOR, fround(fround(max[i]! - min[i]!) / largest));
    zeroCodes[i] = roundCode(fround(-min[i]! / raw[i]!), largest);
  }

  const secondScale = new Float32Array(bands * groups);
  const secondZero = new Float32Array(bands * groups);
  const scaleCodes = new Uint8Array(rows * groups);
  const scale = new Float32Array(rows * groups);
  for (let band = 0; band < bands; band++) {
    for (let g = 0; g < groups; g++) {
      let smallest = Infinity;
      let biggest = 0;
      for (let row = band * secondGroup; row < (band + 1) * secondGroup; row++) {
        smallest = Math.min(smallest, raw[row * groups + g]!);
        biggest = Math.max(biggest, raw[row * groups + g]!);
      }
      const step = Math.max(FLOOR, fround(fround(biggest - smallest) / 15));
      const zero = fround(-smallest / step);
      secondScale[band * groups + g] = step;
      secondZero[band * groups + g] = zero;
      for (let row = band * secondGroup; row < (band + 1) * secondGroup; row++) {
        const i = row * groups + g;
        scaleCodes[i] = roundCode(fround(fround(raw[i]! / step) + zero), 15);
        scale[i] = fround(step * fround(scaleCodes[i]! - zero));
      }
    }
  }

  const codes = new Uint8Array(rows * columns);
  const dequantized = new Float32Array(rows * columns);
  for (let i = 0; i < codes.length; i++) {
    const at = Math.floor(i / group);
    codes[i] = roundCode(fround(fround(weights[i]! / scale[at]!) + zeroCodes[at]!), largest);
    dequantized[i] = fround(scale[at]! * (codes[i]! - zeroCodes[at]!));
  }
  return { codes, zeroCodes, scaleCodes, scale, secondScale, secondZero, dequantized };
}

/**
 * The straight-through gradient: passes where -s^ z <= w <= s^ (2^b - 1 - z), is 0 elsewhere; scales and zero codes
 * get none.
 *
 * @param weights f32 [rows, columns], the weights that `grid` was made from.
 * @param upstream f32 [rows, columns], the gradient of the dequantized weights.
 * @returns f32 [rows, columns], the gradient of the weights.
 */
export function referenceGradient(
  format: BilevelFormat,
  grid: ReferenceGrid,
  weights: Float32Array,
  upstream: Float32Array,
): Float32Array {
  checkLength(weights, grid.codes.length, "weights");
  checkLength(upstream, grid.codes.length, "gradients");
  const largest = largestCode(format);
  return weights.map((weight, i) => {
    const at = Math.floor(i / format.group);
    const scale = grid.scale[at]!;
    const zero = grid.zeroCodes[at]!;
    const inside = weight >= fround(-scale * zero) && weight <= fround(scale * (largest - zero));
    return inside ? upstream[i]! : 0;
  });
}
