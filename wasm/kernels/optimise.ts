// Optimiser steps over flat f32 arrays, in place. Plain IEEE operations: a resumed run repeats its bits.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import type { Ptr } from "../memory.ts";

/** Values per item, as in kernels/optimise.ts. */
const BLOCK = 1024;

/** One step's numbers of {@linkcode adamw}. */
export interface AdamW {
  /** Learning rate of this step. */
  lr: number;
  /** Decay of the first moment. */
  beta1: number;
  /** Decay of the second moment. */
  beta2: number;
  /** Added to the root of the second moment. */
  eps: number;
  /** Decoupled weight decay; the parameter shrinks by lr · decay. */
  decay: number;
  /** 1 - beta1^step. */
  correction1: number;
  /** 1 - beta2^step. */
  correction2: number;
  /** Multiplies the gradient first: clipping and averaging. */
  gradScale: number;
}

/** One AdamW step on `param` with its moments m and v, all f32 [count]. */
export function adamw(
  engine: Engine,
  param: Ptr,
  grad: Ptr,
  m: Ptr,
  v: Ptr,
  count: number,
  step: AdamW,
): void {
  const items = Math.ceil(count / BLOCK);
  engine.call(Op.AdamW, items, 4, [param, grad, m, v, count], [
    ...[step.beta1, 1 - step.beta1, step.beta2, 1 - step.beta2],
    ...[1 - step.lr * step.decay, step.lr / step.correction1],
    ...[1 / Math.sqrt(step.correction2), step.eps, step.gradScale],
  ]);
}

/** param -= lr · sign(grad), f32 [count]; the sign of 0 is 0. */
export function signSgd(
  engine: Engine,
  param: Ptr,
  grad: Ptr,
  count: number,
  lr: number,
): void {
  const items = Math.ceil(count / BLOCK);
  engine.call(Op.SignSgd, items, 8, [param, grad, count], [lr]);
}
