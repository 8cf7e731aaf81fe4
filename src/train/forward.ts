// The parts of a model's forward as training runs them: the tower, whose features are kept where it is frozen, and what
// comes after the projector. The head is computed only where a loss reads it.
import { decode, type Vlm } from "../models/vlm.ts";
import type { Ops } from "../ops/ops.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Batch } from "./batch.ts";

/** Tiles u8 [count, size, size, 3] -> what the projector reads. */
export function lookAt(ops: Ops, { vision }: Vlm, tiles: Tensor): Tensor {
  const context = vision.context(tiles.shape[0]!);
  let x = vision.embed(ops, tiles);
  for (const block of vision.blocks) x = ops.block(x, (x) => block.run(ops, x, context));
  return vision.finish(ops, x);
}

/** Logits [batch.rows, vocabulary]; `seen` is what the projector put out for the batch's pictures, if it has some. */
export function predict(ops: Ops, vlm: Vlm, batch: Batch, seen?: Tensor): Tensor {
  let x = vlm.language.embed(ops, ops.integers(batch.ids));
  if (seen) x = ops.replaceRows(x, seen, ops.integers(batch.at));
  const hidden = decode(ops, vlm, x, batch.sequences);
  return ops.linear(ops.takeRows(hidden, ops.integers(batch.rows)), vlm.language.head);
}
