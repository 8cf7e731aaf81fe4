/**
 * The packed product that every kernel must equal bit for bit, in its exact order. Per token and row, from y = 0, for
 * each chunk of 64 columns: acc = sum over its slabs of m (dot - z A), where dot = sum a q and A = sum a over the slab;
 * y = f32(y + f32(f32(acc) * activation scale)); at the end f32(f32(y * unit) + bias). |acc| <= 64 * 127 * 15 * 16383
 * < 2^31 in the largest case (4 bits). At 8 bits m stays outside: f32(f32(f32(acc) * f32(m)) * activation scale), with
 * |acc| <= 64 * 127 * 128 < 2^24, so f32(acc) is exact.
 */

import { badRequest } from "../base/errors.ts";
import { checkLength } from "./grid.ts";
import { CHUNK, groupOfColumn, type Layout, SLAB } from "./layout.ts";
import { unpack } from "./pack.ts";
import { roundEven } from "./rounding.ts";

const { fround } = Math;

/** Activations as the packed product takes them. */
export interface QuantizedActivations {
  /** Int8 [tokens, chunks * 64], -127..127; padded columns are 0. */
  readonly codes: Int8Array;
  /** f32 [tokens, chunks]. */
  readonly scales: Float32Array;
}

/**
 * Quantizes activations per token and chunk: scale = f32(amax / 127), inverse = amax > 0 ? f32(127 / amax) : 0, code =
 * clamp(rint(f32(x * inverse)), -127, 127), ties to even.
 *
 * @param x f32 [tokens, columns], finite.
 */
export function quantizeActivationsReference(
  x: Float32Array,
  columns: number,
): QuantizedActivations {
  if (!(columns >= 1) || x.length % columns !== 0) {
    throw badRequest(`${x.length} activations are not whole tokens of ${columns} columns.`);
  }
  const tokens = x.length / columns;
  const chunks = Math.ceil(columns / CHUNK);
  const codes = new Int8Array(tokens * chunks * CHUNK);
  const scales = new Float32Array(tokens * chunks);
  for (let token = 0; token < tokens; token++) {
    for (let chunk = 0; chunk < chunks; chunk++) {
      const end = Math.min(columns, (chunk + 1) * CHUNK);
      let amax = 0;
      for (let column = chunk * CHUNK; column < end; column++) {
        amax = Math.max(amax, Math.abs(x[token * columns + column]!));
      }
      const inverse = amax > 0 ? fround(127 / amax) : 0;
      scales[token * chunks + chunk] = fround(amax / 127);
      for (let column = chunk * CHUNK; column < end; column++) {
        const code = roundEven(fround(x[token * columns + column]! * inverse));
        codes[token * chunks * CHUNK + column] = Math.max(-127, Math.min(127, code));
      }
    }
  }
  return { codes, scales };
}

/**
 * The packed product.
 *
 * @param blob a packed weight.
 * @param activations int8 [tokens, chunks * 64], -127..127.
 * @param activationScales f32 [tokens, chunks].
 * @param bias f32 [rows], optional.
 * @returns f32 [tokens, rows].
 */
export function packedProductReference(
  layout: Layout,
  blob: Uint8Array,
  activations: Int8Array,
  activationScales: Float32Array,
  bias?: Float32Array,
): Float32Array {
  const { rows, columns, chunks, groups, format } = layout;
  const tokens = activationScales.length / chunks;
  if (!Number.isInteger(tokens)) {
    throw badRequest(`${activationScales.length} activation scales are not ${chunks} per token.`);
  }
  checkLength(activations, tokens * chunks * CHUNK, "activations");
  if (bias) checkLength(bias, rows, "biases");
  const { grid, codes } = unpack(layout, blob);
  const y = new Float32Array(tokens * rows);
  for (let token = 0; token < tokens; token++) {
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      for (let chunk = 0; chunk < chunks; chunk++) {
        const activationScale = activationScales[token * chunks + chunk]!;
        let acc = 0;
        for (let slab = chunk * 4; slab < chunk * 4 + 4; slab++) {
          const group = groupOfColumn(layout, slab * SLAB);
          if (group >= groups) continue; // all padding, and padded activations are 0
          const zero = grid.zeroCodes?.[row * groups + group] ?? 2 ** (format.bits - 1);
          let dot = 0;
          let total = 0;
          for (let column = slab * SLAB; column < (slab + 1) * SLAB && column < columns; column++) {
            const a = activations[token * chunks * CHUNK + column]!;
            dot += a * codes[row * columns + column]!;
            total += a;
          }
          const scale = format.bits === 8 ? 1 : grid.scales[row * groups + group]!;
          acc += scale * (dot - zero * total);
        }
        let part = fround(acc);
        if (format.bits === 8) {
          const group = groupOfColumn(layout, chunk * CHUNK);
          part = fround(part * grid.scales[row * groups + group]!);
        }
        sum = fround(sum + fround(part * activationScale));
      }
      const scaled = fround(sum * grid.units[row >> 3]!);
      y[token * rows + row] = bias ? fround(scaled + bias[row]!) : scaled;
    }
  }
  return y;
}
