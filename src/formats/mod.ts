/**
 * How lobit codes weights in 2, 3, 4 and 8 bits: formats, the bilevel and the symmetric grid, and the packed layout,
 * without a model or a kernel. Everything here is plain TypeScript on typed arrays.
 *
 * @example Quantize a matrix, pack it, and read it back
 * ```ts
 * import { codesOn, fitFormat, gridFrom, layoutOf, pack, parseFormat, rangeOf, unpack, dequantize } from "./mod.ts";
 *
 * const [rows, columns] = [32, 64];
 * const weights = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i));
 * const format = fitFormat(parseFormat("w2g16q16"), rows, columns);
 * if (format.kind !== "bilevel") throw new Error();
 * const grid = gridFrom(format, rows, columns, rangeOf(rows, columns, format.group, weights));
 * const layout = layoutOf(format, rows, columns);
 * const blob = new Uint8Array(layout.bytes);
 * pack(layout, grid, codesOn(grid, weights), blob);
 * const back = unpack(layout, blob);
 * const approximation = dequantize(back.grid, back.codes);
 * console.assert(approximation.length === weights.length);
 * ```
 *
 * @module
 */

export { LobitError } from "../base/errors.ts";
export type { ErrorCode } from "../base/errors.ts";
export * from "./format.ts";
export {
  codesOn,
  dequantize,
  type Grid,
  type GridChoice,
  gridFrom,
  LARGEST_WEIGHT,
  maskedGradient,
  type Range,
  rangeOf,
  SCALE_LIMIT,
  scalesOf,
  type SecondLevel,
  SMALLEST_SCALE,
  zeroOf,
} from "./grid.ts";
export * from "./grid_reference.ts";
export * from "./layout.ts";
export { checkPacked, type Coded, pack, unpack } from "./pack.ts";
export * from "./reference_product.ts";
export { symmetricGrid } from "./symmetric.ts";
