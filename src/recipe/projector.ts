// The projector's start of its own stage, in closed form: its last linear is fitted so that what the quantized tower
// shows becomes what the full-precision tower and projector made of the same tiles.
import { toBf16 } from "../base/half.ts";
import { throwIfAborted } from "../base/errors.ts";
import type { Vlm } from "../models/vlm.ts";
import type { Infer } from "../ops/infer.ts";
import type { Ops } from "../ops/ops.ts";
import { Moments, timesSquare } from "../quant/hessian.ts";
import { Observer } from "../quant/observe.ts";
import { refit } from "../quant/refit.ts";
import { floats, type Tensor, valuesOf } from "../tensor/tensor.ts";
import { copyIn, copyOut, type States } from "./feed.ts";

/** Error of the projector's output before and after, squared and relative to the target's variance. */
export interface RefitReport {
  /** With the weights it had. */
  readonly errorBefore: number;
  /** With the fitted ones. */
  readonly errorAfter: number;
}

/** Chunks of tiles, u8 [count, size, size, 3] each. */
interface TileFeed {
  readonly tiles: readonly Uint8Array[];
}

/** What the projector makes of every chunk now. */
export function projections(ops: Infer, vlm: Vlm, feed: TileFeed): States {
  return feed.tiles.map((tiles) => ops.pass(() => copyOut(ops, project(ops, ops, vlm, tiles))));
}

/**
 * Fits the last linear's weight and bias in place; it must be dense.
 *
 * @param targets what the full-precision tower and projector put out for each chunk.
 * @param ridge pull towards the weights it has, as a share of the mean diagonal of its inputs' covariance.
 */
export function refitProjector(
  ops: Infer,
  vlm: Vlm,
  feed: TileFeed,
  targets: States,
  ridge = 0.01,
  signal?: AbortSignal,
): RefitReport {
  const { engine } = ops;
  const { memory } = engine;
  const last = vlm.projector.linears.at(-1)!;
  if (last.weight.kind !== "dense") throw new TypeError("the projector's last linear is not dense");
  const { tensor } = last.weight;
  const { columns } = last;
  const own = new Moments(engine, columns);
  const cross = new Moments(engine, last.rows, columns);
  try {
    let [miss, all] = [0, 0];
    feed.tiles.forEach((tiles, chunk) => {
      throwIfAborted(signal);
      ops.pass(() => {
        let input: Tensor | undefined;
        const observer = new Observer(ops, (linear, x) => {
          if (linear === last) input = x;
        });
        const out = floats(memory, project(ops, observer, vlm, tiles));
        own.add(input!);
        const target = copyIn(ops, targets[chunk]!, last.rows);
        cross.add(target, input!);
        floats(memory, target).forEach((value, i) => miss += (value - out[i]!) ** 2);
        for (const value of targets[chunk]!) all += value ** 2;
      });
    });
    const [targetMean, inputMean] = cross.means();
    const weights = valuesOf(memory, tensor);
    const [hessian, mixed] = [own.centred(), cross.centred()];
    const fitted = refit(engine, { cross: mixed, hessian, weights, ridge }, columns);
    if (tensor.dtype === "bf16") memory.u16(tensor.ptr, fitted.length).set(fitted.map(toBf16));
    else floats(memory, tensor).set(fitted);
    const kept = valuesOf(memory, tensor);
    const bias = last.bias && floats(memory, last.bias);
    let meanSquare = 0;
    for (let row = 0; row < last.rows; row++) {
      let seen = 0;
      for (let c = 0; c < columns; c++) seen += kept[row * columns + c]! * inputMean![c]!;
      if (bias) bias[row] = targetMean![row]! - seen;
      meanSquare += targetMean![row]! ** 2;
    }
    // What is left: target variance - 2·tr(W·Cᵀ) + tr(W·H·Wᵀ), all centred.
    const tokens = own.tokens;
    const variance = all / tokens - meanSquare;
    const square = timesSquare(engine, kept, hessian, columns);
    let left = variance;
    for (let i = 0; i < kept.length; i++) left += kept[i]! * (square[i]! - 2 * mixed[i]!);
    return { errorBefore: miss / tokens / variance, errorAfter: left / variance };
  } finally {
    own.free();
    cross.free();
  }
}

/** Tower on `ops`, projector on `last`. */
function project(
  ops: Infer,
  last: Ops,
  { vision, projector, input }: Vlm,
  tiles: Uint8Array,
): Tensor {
  const { imageSize } = input;
  const count = tiles.length / (3 * imageSize ** 2);
  const features = ops.scope(() => {
    const context = vision.context(count);
    let x = vision.embed(ops, ops.bytes(tiles, [count, imageSize, imageSize, 3]));
    for (const block of vision.blocks) x = ops.block(x, (x) => block.run(ops, x, context));
    return vision.finish(ops, x);
  });
  return projector.project(last, features);
}
