// Learns how a block's weights are rounded by gradient descent on the block's output: forward and backward run on the
// tape, what the gradient moves is the rounding method's own (ada_round.ts, sign_round.ts). The best state seen on all
// calibration data, rounded for good, is what remains; the start counts, too.
import { LobitError, throwIfAborted } from "../base/errors.ts";
import { Random } from "../base/random.ts";
import { dequantize } from "../formats/grid.ts";
import type { Coded } from "../formats/pack.ts";
import type { Linear } from "../formats/weight.ts";
import type { Ops } from "../ops/ops.ts";
import { floats, freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import { Parameters } from "../train/parameters.ts";
import { Tape } from "../train/tape.ts";
import type { Engine } from "../../wasm/mod.ts";

/** How one linear's rounding moves. */
export interface Rounding {
  /** Writes what products see now, f32 [rows, columns]. */
  write(seen: Float32Array): void;
  /** Takes a step along the gradient of what products see; `progress` goes from 0 to 1. */
  step(gradient: Float32Array, progress: number): void;
  /** The codes, rounded for good. */
  coded(): Coded;
}

/** The block's data: what it reads and what it shall put out, f32 [rows, dim] per chunk. */
export interface BlockData {
  /** Inputs, from the quantized prefix. */
  readonly inputs: readonly Float32Array[];
  /** Targets, from full precision. */
  readonly targets: readonly Float32Array[];
  /** Numbers per row. */
  readonly dim: number;
  /** Runs the block on a chunk's input. */
  run(ops: Ops, x: Tensor, chunk: number): Tensor;
}

/** How long and on what. */
export interface LearnOptions {
  /** Gradient steps; each takes one chunk. */
  readonly steps: number;
  /** Draws the chunks. */
  readonly seed: number;
  /** Times that the whole data is looked at to find the best state, the end included. */
  readonly checks?: number;
  /** Stops the work. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every step with the loss of its chunk. */
  readonly onStep?: ((step: number, loss: number) => void) | undefined;
}

/** What was learnt. */
export interface Learnt {
  /** The best codes of every linear. */
  readonly coded: ReadonlyMap<Linear, Coded>;
  /** Mean squared error over all data of the start and of the best state, summed over a row's numbers. */
  readonly errors: { readonly start: number; readonly best: number };
}

/** Learns; the linears get their own weights back. */
export async function learnBlock(
  engine: Engine,
  roundings: ReadonlyMap<Linear, Rounding>,
  data: BlockData,
  options: LearnOptions,
): Promise<Learnt> {
  const { steps, seed, checks = 8, signal } = options;
  const { memory } = engine;
  const parameters = new Parameters(engine);
  const tape = new Tape(engine, parameters);
  const random = new Random(seed);
  const before = new Map([...roundings.keys()].map((linear) => [linear, linear.weight]));
  const seen = new Map<Linear, Tensor>();
  try {
    for (const linear of roundings.keys()) {
      const tensor = heapTensor(memory, [linear.rows, linear.columns]);
      seen.set(linear, tensor);
      parameters.add(linear.name, tensor);
      linear.weight = { kind: "dense", tensor };
    }
    let best = new Map<Linear, Coded>();
    let [start, least] = [NaN, Infinity];
    const check = () => {
      const now = new Map<Linear, Coded>();
      for (const [linear, rounding] of roundings) {
        const coded = rounding.coded();
        now.set(linear, coded);
        dequantize(coded.grid, coded.codes, floats(memory, seen.get(linear)!));
      }
      const error = wholeError(engine, data);
      if (Number.isNaN(start)) start = error;
      if (error < least) [least, best] = [error, now];
    };
    check();
    const order: number[] = [];
    for (let step = 0; step < steps; step++) {
      throwIfAborted(signal);
      if (order.length === 0) order.push(...random.shuffle(data.inputs.map((_, i) => i)));
      const chunk = order.pop()!;
      for (const [linear, rounding] of roundings) {
        rounding.write(floats(memory, seen.get(linear)!));
      }
      parameters.zeroGradients();
      const loss = backward(tape, data, chunk);
      if (!Number.isFinite(loss)) {
        throw new LobitError("bad-request", `Learning to round diverged in step ${step + 1}.`);
      }
      for (const [linear, rounding] of roundings) {
        const gradient = floats(memory, parameters.gradient(seen.get(linear)!)!);
        rounding.step(gradient, (step + 1) / steps);
      }
      options.onStep?.(step + 1, loss);
      if ((step + 1) % Math.ceil(steps / checks) === 0 || step + 1 === steps) {
        check();
        // Lets signals and progress through.
        await new Promise((resolve) => setTimeout(resolve));
      }
    }
    return { coded: best, errors: { start, best: least } };
  } finally {
    tape.free();
    parameters.free();
    for (const [linear, weight] of before) linear.weight = weight;
    for (const tensor of seen.values()) freeTensor(memory, tensor);
  }
}

/** Forward, squared error summed over a row's numbers and averaged over rows, backward; returns the error. */
function backward(tape: Tape, data: BlockData, chunk: number): number {
  const { memory } = tape.engine;
  const inputs = data.inputs[chunk]!;
  const targets = data.targets[chunk]!;
  const rows = inputs.length / data.dim;
  tape.reset();
  const x = tape.arena.tensor([rows, data.dim]);
  floats(memory, x).set(inputs);
  const y = data.run(tape, x, chunk);
  const out = floats(memory, y);
  const gradient = floats(memory, tape.gradient(y));
  let loss = 0;
  for (let i = 0; i < out.length; i++) {
    const miss = out[i]! - targets[i]!;
    loss += miss * miss;
    gradient[i] = 2 * miss / rows;
  }
  tape.backward();
  return loss / rows;
}

function wholeError(engine: Engine, data: BlockData): number {
  const tape = new Tape(engine, new Parameters(engine)); // nothing trains: forwards only
  let [sum, rows] = [0, 0];
  try {
    data.inputs.forEach((inputs, chunk) => {
      tape.reset();
      const x = tape.arena.tensor([inputs.length / data.dim, data.dim]);
      floats(engine.memory, x).set(inputs);
      const out = floats(engine.memory, data.run(tape, x, chunk));
      const targets = data.targets[chunk]!;
      for (let i = 0; i < out.length; i++) sum += (out[i]! - targets[i]!) ** 2;
      rows += inputs.length / data.dim;
    });
    return sum / rows;
  } finally {
    tape.free();
  }
}
