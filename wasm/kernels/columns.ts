// One value per column: bias gradients, layer scale and its gradients. Sums run in a fixed order per column.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import { NULL, type Ptr } from "../memory.ts";

/** What a column sums, as in kernels/columns.ts. */
export const PLAIN = 0;
/** x · y. */
export const PRODUCT = 1;
/** x · (y - mean) · inverse deviation. */
export const NORMED = 2;
const WIDTH = 16;

/** out[j] += the sum over tokens of a term; for norms (which pass moments) and the functions below. */
export function reduceColumns(
  engine: Engine,
  out: Ptr,
  x: Ptr,
  y: Ptr,
  moments: Ptr,
  tokens: number,
  dim: number,
  mode: number,
): void {
  const items = Math.ceil(dim / WIDTH);
  const grain = 16384 / (WIDTH * Math.max(1, tokens));
  engine.call(Op.SumColumns, items, grain, [out, x, y, moments, tokens, dim, mode]);
}

/** out[j] += sum over tokens of x[t, j]: the gradient of a bias. */
export function sumColumns(engine: Engine, out: Ptr, x: Ptr, tokens: number, dim: number): void {
  reduceColumns(engine, out, x, NULL, NULL, tokens, dim, PLAIN);
}

/** out[j] += sum over tokens of x[t, j] · y[t, j]: the gradient of a layer scale from dy and the scaled branch. */
export function sumColumnProducts(
  engine: Engine,
  out: Ptr,
  x: Ptr,
  y: Ptr,
  tokens: number,
  dim: number,
): void {
  reduceColumns(engine, out, x, y, NULL, tokens, dim, PRODUCT);
}

/** out = x + scale[j] · y, f32 [tokens, dim]: a residual with layer scale. In place allowed. */
export function addScaled(
  engine: Engine,
  out: Ptr,
  x: Ptr,
  y: Ptr,
  scale: Ptr,
  tokens: number,
  dim: number,
): void {
  engine.call(Op.AddScaled, tokens, 8192 / dim, [out, x, y, scale, dim]);
}

/** out = scale[j] · y, f32 [tokens, dim]: the gradient of a scaled branch. In place allowed. */
export function scaleRows(
  engine: Engine,
  out: Ptr,
  y: Ptr,
  scale: Ptr,
  tokens: number,
  dim: number,
): void {
  engine.call(Op.ScaleRows, tokens, 8192 / dim, [out, y, scale, dim]);
}
