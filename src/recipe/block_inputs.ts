// What the linears of a block read while calibration data runs through it.
import { LobitError, throwIfAborted } from "../base/errors.ts";
import { Random } from "../base/random.ts";
import type { Linear } from "../formats/weight.ts";
import type { Block } from "../models/vlm.ts";
import type { Infer } from "../ops/infer.ts";
import type { Ops } from "../ops/ops.ts";
import type { Moments } from "../quant/hessian.ts";
import { Observer } from "../quant/observe.ts";
import type { TwoWeights } from "../quant/two_weights.ts";
import { floats, type Tensor } from "../tensor/tensor.ts";
import { copyIn, type Feed, type States } from "./feed.ts";

/** The data that runs through a block, and how much of it is looked at. */
export interface Watched {
  /** Where the model runs; packed linears compute as they will when deployed. */
  readonly ops: Infer;
  /** Contexts of the chunks. */
  readonly feed: Feed;
  /** What the block reads at full precision. */
  readonly teacher: States;
  /** The same, as what has been quantized already puts it out. */
  readonly student: States;
  /** Tokens per linear whose inputs are looked at, drawn by `seed`; default 16 per column and at least 8192. */
  readonly tokens?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Stops the work. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Sums the moments of one linear's inputs over all chunks; those of the teacher's inputs against them, if asked.
 *
 * @param even weighs tokens by one over the mean square of the block's input, as the norms of the next blocks will.
 */
export function watch(
  work: Watched,
  block: Block,
  linear: Linear,
  two: TwoWeights,
  own: Moments,
  cross: Moments | undefined,
  even = false,
): void {
  const { ops, feed, student, seed = 0 } = work;
  const random = new Random(seed);
  const { tokens = Math.max(8192, 16 * linear.columns) } = work;
  const all = student.reduce((sum, { length }) => sum + length / feed.dim, 0);
  student.forEach((states, chunk) => {
    throwIfAborted(work.signal);
    const total = states.length / feed.dim;
    const count = Math.ceil(total * Math.min(1, tokens / all));
    const rows = random.shuffle(Array.from({ length: total }, (_, i) => i)).slice(0, count);
    ops.pass(() => {
      const at = ops.integers(rows.sort((a, b) => a - b));
      const inputOf = (which: "teacher" | "student", from: Float32Array): Tensor => {
        two.show(which);
        const seen = inputTo(
          linear,
          ops,
          (observer) =>
            block.run(observer, copyIn(ops, from, feed.dim), feed.context(observer, chunk)),
        );
        const taken = ops.takeRows(seen, at);
        if (roots) scaleRows(floats(ops.engine.memory, taken), roots);
        return taken;
      };
      const roots = even ? rootsOf(work.teacher[chunk]!, feed.dim, rows) : undefined;
      const input = inputOf("student", states);
      own.add(input, input, roots);
      cross?.add(inputOf("teacher", work.teacher[chunk]!), input, roots);
    });
  });
}

/** One over the root mean square of some rows. */
function rootsOf(states: Float32Array, dim: number, rows: readonly number[]): Float64Array {
  return Float64Array.from(rows, (row) => {
    let sum = 0;
    for (let i = row * dim; i < (row + 1) * dim; i++) sum += states[i]! ** 2;
    return 1 / Math.sqrt(sum / dim + 1e-12);
  });
}

function scaleRows(values: Float32Array, factors: Float64Array): void {
  const columns = values.length / factors.length;
  for (let i = 0; i < values.length; i++) values[i]! *= factors[Math.floor(i / columns)]!;
}

/** Runs up to a linear and returns what it reads. */
function inputTo(linear: Linear, ops: Infer, run: (observer: Ops) => void): Tensor {
  // Thrown, because nothing that comes after the linear is of interest and a block cannot be left in another way.
  const arrived = Symbol();
  let input: Tensor | undefined;
  const observer = new Observer(ops, (candidate, x) => {
    if (candidate !== linear) return;
    input = x;
    throw arrived;
  });
  try {
    run(observer);
  } catch (reason) {
    if (reason !== arrived) throw reason;
  }
  if (!input) throw new LobitError("internal", `${linear.name} does not run in its block.`);
  return input;
}

/** Linears that read the same input, in the order in which they run. */
export function groupsOf(work: Watched, block: Block, linears: readonly Linear[]): Linear[][] {
  const { ops, feed, student } = work;
  const groups = new Map<Tensor, Linear[]>();
  ops.pass(() => {
    const observer = new Observer(ops, (linear, input) => {
      if (!linears.includes(linear)) return;
      const group = groups.get(input);
      if (group) group.push(linear);
      else groups.set(input, [linear]);
    });
    block.run(observer, copyIn(ops, student[0]!, feed.dim), feed.context(observer, 0));
  });
  return [...groups.values()];
}
