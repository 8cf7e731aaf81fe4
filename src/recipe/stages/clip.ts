// Before the language stage trains: clamps each row and group of the decoder's linears to the range whose plain grid
// least disturbs the group's own output (SPEED-Q's asymmetric clipping, after BitDistiller). Every block is calibrated on
// the states of the unclipped model.
import { throwIfAborted } from "../../base/errors.ts";
import { type Format, largestCode } from "../../formats/format.ts";
import type { Linear } from "../../formats/weight.ts";
import type { Part } from "../../models/vlm.ts";
import type { Infer } from "../../ops/infer.ts";
import { clipSearch } from "../../quant/clip.ts";
import { Moments } from "../../quant/hessian.ts";
import { Observer } from "../../quant/observe.ts";
import { floats, type Tensor } from "../../tensor/tensor.ts";
import { widen } from "../../train/trainable.ts";
import { copyIn, copyOut, type Feed, type States } from "../feed.ts";

/** Clamps the linears that `formats` names, in place; they become f32. Returns the share of weights that moved. */
export async function clipPart(
  ops: Infer,
  part: Part,
  feed: Feed,
  states: States,
  formats: ReadonlyMap<string, Format>,
  signal?: AbortSignal,
): Promise<number> {
  const { engine } = ops;
  let [moved, all] = [0, 0];
  for (const block of part.blocks) {
    const linears = block.linears.filter(({ name, weight }) =>
      formats.has(name) && weight.kind === "dense"
    );
    const moments = new Map<Linear, Moments>();
    try {
      states.forEach((chunk, c) => {
        throwIfAborted(signal);
        states[c] = ops.pass(() => {
          const seen = new Map<Tensor, Moments>();
          const observer = new Observer(ops, (linear, input) => {
            if (!linears.includes(linear)) return;
            // Linears that read the same input share its moments.
            const known = seen.get(input);
            const own = known ?? moments.get(linear) ?? new Moments(engine, linear.columns);
            if (!known) own.add(input);
            seen.set(input, own);
            moments.set(linear, own);
          });
          return copyOut(
            ops,
            block.run(observer, copyIn(ops, chunk, feed.dim), feed.context(observer, c)),
          );
        });
      });
      for (const linear of linears) {
        throwIfAborted(signal);
        const { rows, columns, name } = linear;
        const format = formats.get(name)!;
        const { group } = format;
        const weights = floats(engine.memory, widen(engine.memory, linear));
        const hessian = moments.get(linear)!.mean();
        const copy = weights.slice();
        const task = { weights: copy, rows, columns, hessian, signal };
        const range = clipSearch(task, group, largestCode(format));
        all += copy.length;
        for (let g = 0; g < range.min.length; g++) {
          for (let i = g * group; i < (g + 1) * group; i++) {
            const value = Math.min(range.max[g]!, Math.max(range.min[g]!, copy[i]!));
            if (value === copy[i]) continue;
            weights[i] = value;
            moved++;
          }
        }
        // Lets signals and progress through between linears.
        await new Promise((resolve) => setTimeout(resolve));
      }
    } finally {
      for (const own of new Set(moments.values())) own.free();
    }
  }
  return moved / Math.max(1, all);
}
