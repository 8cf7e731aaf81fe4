// Norms and their backward forms. Arguments go into the control block in the order the kernel reads them.
// `grain` (items per ticket) only divides the work; it never changes a result.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import { NULL, type Ptr } from "../memory.ts";
import { NORMED, PLAIN, reduceColumns } from "./columns.ts";

/** out[t] = x[t] / sqrt(mean(x[t]²) + eps) · weight, f32 [tokens, dim]. */
export function rmsNorm(
  engine: Engine,
  out: Ptr,
  x: Ptr,
  weight: Ptr,
  tokens: number,
  dim: number,
  eps: number,
): void {
  engine.call(Op.RmsNorm, tokens, Math.ceil(8192 / dim), [
    out,
    x,
    weight,
    dim,
  ], [eps]);
}

/** out[t] = (x[t] - mean) / sqrt(variance + eps) · weight + bias, f32 [tokens, dim]; in place allowed. */
export function layerNorm(
  engine: Engine,
  out: Ptr,
  x: Ptr,
  weight: Ptr,
  bias: Ptr,
  tokens: number,
  dim: number,
  eps: number,
): void {
  const grain = 8192 / dim;
  engine.call(Op.LayerNorm, tokens, grain, [out, x, weight, bias, dim], [eps]);
}

/**
 * The gradient by the input is written; the one by the weight is added to `dweight` unless that is NULL. dx must be
 * another place than dy and x.
 */
export function rmsNormBackward(
  engine: Engine,
  dx: Ptr,
  dweight: Ptr,
  x: Ptr,
  weight: Ptr,
  dy: Ptr,
  tokens: number,
  dim: number,
  eps: number,
): void {
  backward(engine, Op.RmsNormBackward, dx, dweight, NULL, x, weight, dy, tokens, dim, eps);
}

/**
 * The gradient by the input is written; those by weight and bias are added unless the place is NULL. dx must
 * be another place than dy and x.
 */
export function layerNormBackward(
  engine: Engine,
  dx: Ptr,
  dweight: Ptr,
  dbias: Ptr,
  x: Ptr,
  weight: Ptr,
  dy: Ptr,
  tokens: number,
  dim: number,
  eps: number,
): void {
  backward(engine, Op.LayerNormBackward, dx, dweight, dbias, x, weight, dy, tokens, dim, eps);
}

function backward(
  engine: Engine,
  op: Op,
  dx: Ptr,
  dweight: Ptr,
  dbias: Ptr,
  x: Ptr,
  weight: Ptr,
  dy: Ptr,
  tokens: number,
  dim: number,
  eps: number,
): void {
  // Mean and inverse deviation of each token, found once and used again for the weight.
  const moments = engine.memory.allocate(tokens * 8);
  try {
    const grain = 4096 / dim;
    engine.call(op, tokens, grain, [dx, x, weight, dy, moments, dim], [eps]);
    if (dweight !== NULL) reduceColumns(engine, dweight, dy, x, moments, tokens, dim, NORMED);
    if (dbias !== NULL) reduceColumns(engine, dbias, dy, NULL, NULL, tokens, dim, PLAIN);
  } finally {
    engine.memory.free(moments);
  }
}
