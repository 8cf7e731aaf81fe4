// One typed function per kernel. Arguments go into the control block in the order the kernel reads them.
// `grain` (items per ticket) only divides the work; it never changes a result.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import type { Ptr } from "../memory.ts";
import { share } from "./share.ts";

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
  engine.call(Op.RmsNorm, tokens, share(engine, tokens, Math.ceil(8192 / dim)), [
    out,
    x,
    weight,
    dim,
  ], [eps]);
}
