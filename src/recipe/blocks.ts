// Quantizes a part block by block. Two streams run through it: the teacher's, whose block outputs are the targets, and
// the student's, which comes out of what has been quantized already. Inside a block the linears that read the same input
// are taken together, in the order in which they run, so that later ones see what earlier ones have become.
import { badRequest, throwIfAborted } from "../base/errors.ts";
import type { Format } from "../formats/format.ts";
import { dequantize } from "../formats/grid.ts";
import type { Coded } from "../formats/pack.ts";
import type { Linear } from "../formats/weight.ts";
import type { Block, Part } from "../models/vlm.ts";
import { equalizePair } from "../quant/equalize.ts";
import { Moments, timesSquare } from "../quant/hessian.ts";
import { learnBlock } from "../quant/learn_block.ts";
import { DEFAULT_STEPS, type MethodPlan } from "../quant/methods.ts";
import { packCoded } from "../quant/pack_linear.ts";
import { refit } from "../quant/refit.ts";
import { roundToNearest } from "../quant/round.ts";
import { TwoWeights } from "../quant/two_weights.ts";
import { groupsOf, watch, type Watched } from "./block_inputs.ts";
import { copyIn, copyOut, type States } from "./feed.ts";

/** What to do. */
export interface BlockWork extends Watched {
  /** The part. Teacher and student states are what its first block reads, and become what its last puts out. */
  readonly part: Part;
  /** Formats by linear name; a linear without one stays. */
  readonly formats: ReadonlyMap<string, Format>;
  /** How. */
  readonly method: MethodPlan;
  /** λ of the fit to the teacher, as a share of H's mean diagonal. */
  readonly ridge?: number | undefined;
  /** Gradient steps per block, for methods that learn. */
  readonly steps?: number | undefined;
  /** Keeps finished blocks, and knows those of the run that this one goes on from. */
  readonly journal?: BlockJournal | undefined;
  /** Called after every linear. */
  readonly onLinear?: ((block: string, linear: Linear) => void) | undefined;
  /** Called after every gradient step with the loss of its chunk. */
  readonly onStep?: ((block: string, step: number, loss: number) => void) | undefined;
}

/** Where finished blocks are kept. */
export interface BlockJournal {
  /** Whether a block is finished. */
  has(block: Block): boolean;
  /** Puts a finished block's tensors back, and tells its report. */
  restore(block: Block): Promise<BlockReport>;
  /** Keeps a finished block. */
  save(block: Block, report: BlockReport): Promise<void>;
}

/** What became of a block. Errors are squared differences from the teacher's output, relative to its squares. */
export interface BlockReport {
  /** The block's name. */
  readonly block: string;
  /** With its linears rounded to nearest. */
  readonly errorRounded: number;
  /** With its linears as the method made them. */
  readonly errorMethod: number;
  /** Whether rounding was kept, because the method did worse or diverged. */
  readonly fellBack: boolean;
  /** Linears that could not be equalized, because the model declares no way. */
  readonly notEqualized: readonly string[];
}

/** Quantizes all blocks of a part in place. */
export async function quantizeBlocks(work: BlockWork): Promise<BlockReport[]> {
  const { teacher, student, part, signal } = work;
  if (teacher.length === 0 || teacher.length !== student.length) {
    throw badRequest(`Calibrating the ${part.name} part needs data, and found none for it.`);
  }
  const reports: BlockReport[] = [];
  for (const block of part.blocks) {
    throwIfAborted(signal);
    const linears = block.linears.filter(({ name, weight }) =>
      work.formats.has(name) && weight.kind === "dense"
    );
    const known = linears.length > 0 ? await restored(work, block) : undefined;
    if (known) {
      for (const linear of linears) work.onLinear?.(block.name, linear);
      reports.push(known);
      continue;
    }
    const two = new TwoWeights(work.ops.engine.memory, linears);
    try {
      const report = await quantizeBlock(work, block, linears, two);
      two.finish();
      if (!report) continue;
      reports.push(report);
      await work.journal?.save(block, report);
    } catch (error) {
      two.cancel();
      throw error;
    }
  }
  return reports;
}

/** Takes both streams through a block that an earlier run has finished. */
async function restored(work: BlockWork, block: Block): Promise<BlockReport | undefined> {
  const { teacher, student, journal } = work;
  if (!journal?.has(block)) return undefined;
  // The teacher's outputs need the block as it was.
  for (let c = 0; c < teacher.length; c++) teacher[c] = runBlock(work, block, teacher[c]!, c);
  const report = await journal.restore(block);
  for (let c = 0; c < student.length; c++) student[c] = runBlock(work, block, student[c]!, c);
  return report;
}

async function quantizeBlock(
  work: BlockWork,
  block: Block,
  linears: readonly Linear[],
  two: TwoWeights,
): Promise<BlockReport | undefined> {
  const { teacher, student, method } = work;
  if (linears.length === 0) {
    for (const states of new Set([teacher, student])) {
      for (let c = 0; c < states.length; c++) states[c] = runBlock(work, block, states[c]!, c);
    }
    return undefined;
  }
  const groups = groupsOf(work, block, linears);
  const targets = teacher.map((states, c) => runBlock(work, block, states, c));
  const runStudent = (): States => {
    two.show("student");
    return student.map((states, c) => runBlock(work, block, states, c));
  };
  roundAll(work, linears, two);
  const errorRounded = relativeError(runStudent(), targets);
  two.reset();

  const notEqualized = method.equalize ? equalize(work, block, groups, two) : [];
  const found = new Map<Linear, Found>();
  for (const group of groups) await quantizeGroup(work, block, group, two, found);
  if (method.learn) await learn(work, block, targets, two, found);
  let outputs = runStudent();
  const errorMethod = relativeError(outputs, targets);
  const fellBack = !(errorMethod <= errorRounded);
  if (fellBack) {
    two.reset();
    roundAll(work, linears, two);
    outputs = runStudent();
  }
  targets.forEach((target, c) => teacher[c] = target);
  outputs.forEach((output, c) => student[c] = output);
  return { block: block.name, errorRounded, errorMethod, fellBack, notEqualized };
}

function roundAll(work: BlockWork, linears: readonly Linear[], two: TwoWeights): void {
  for (const linear of linears) {
    const format = work.formats.get(linear.name)!;
    const coded = roundToNearest(two.values(linear), linear.rows, linear.columns, format);
    two.set(linear, packCoded(work.ops.engine.memory, linear, coded));
  }
}

/** What a method made of a linear, and of which weights. */
interface Found {
  readonly coded: Coded;
  readonly weights: Float32Array;
}

/** Learns on from what was found, on the whole block. */
async function learn(
  work: BlockWork,
  block: Block,
  targets: States,
  two: TwoWeights,
  found: ReadonlyMap<Linear, Found>,
): Promise<void> {
  const { ops, feed, student, seed = 0, signal, steps = DEFAULT_STEPS } = work;
  const { engine } = ops;
  const roundings = new Map(
    [...found].map(([linear, { coded, weights }]) => [
      linear,
      work.method.learn!(coded, weights, steps),
    ]),
  );
  two.show("student");
  const { coded } = await learnBlock(
    engine,
    roundings,
    {
      inputs: student,
      targets,
      dim: feed.dim,
      run: (ops, x, chunk) => block.run(ops, x, feed.context(ops, chunk)),
    },
    { steps, seed, signal, onStep: (step, loss) => work.onStep?.(block.name, step, loss) },
  );
  for (const [linear, codes] of coded) two.set(linear, packCoded(engine.memory, linear, codes));
}

/** Quantizes linears that read the same input. */
async function quantizeGroup(
  work: BlockWork,
  block: Block,
  group: readonly Linear[],
  two: TwoWeights,
  found: Map<Linear, Found>,
): Promise<void> {
  const { ops, method, signal, ridge = 0.01 } = work;
  const { engine } = ops;
  const { columns } = group[0]!;
  const own = new Moments(engine, columns);
  const cross = method.match ? new Moments(engine, columns) : undefined;
  try {
    watch(work, block, group[0]!, two, own, cross, method.evenTokens);
    for (const linear of group) {
      throwIfAborted(signal);
      const weights = two.values(linear);
      const bias = two.bias(linear);
      const centre = method.match && bias !== undefined;
      const hessian = centre ? own.centred() : own.mean();
      const [teacherMean, studentMean] = cross ? cross.means() : [];
      let wanted = weights;
      if (cross) {
        const moments = centre ? cross.centred() : cross.mean();
        const targets = timesSquare(engine, weights, moments, columns);
        wanted = refit(engine, { cross: targets, hessian, weights, ridge }, columns);
      }
      const task = { engine, weights: wanted, rows: linear.rows, columns, hessian, signal };
      const coded = method.quantize({ ...task, format: work.formats.get(linear.name)! });
      found.set(linear, { coded, weights: wanted });
      let shifted: Float32Array | undefined;
      if (centre) {
        const seen = dequantize(coded.grid, coded.codes);
        shifted = bias.map((value, row) => {
          let sum = value;
          for (let c = 0, at = row * columns; c < columns; c++, at++) {
            sum += weights[at]! * teacherMean![c]! - seen[at]! * studentMean![c]!;
          }
          return sum;
        });
      }
      two.set(linear, packCoded(engine.memory, linear, coded), shifted);
      work.onLinear?.(block.name, linear);
      // Lets signals and progress through between linears.
      await new Promise((resolve) => setTimeout(resolve));
    }
  } finally {
    own.free();
    cross?.free();
  }
}

/** Scales channels where the block declares a way; returns the names of linears for which it declares none. */
function equalize(
  work: BlockWork,
  block: Block,
  groups: readonly (readonly Linear[])[],
  two: TwoWeights,
): string[] {
  const missing: string[] = [];
  for (const group of groups) {
    const pair = block.pairs?.find(({ to }) => to.includes(group[0]!));
    const known = pair && [...pair.to, ...(pair.from ? [pair.from] : [])].every((l) => two.has(l));
    if (!known || pair.to.length !== group.length) {
      missing.push(...group.map(({ name }) => name));
      continue;
    }
    const own = new Moments(work.ops.engine, group[0]!.columns);
    try {
      watch(work, block, group[0]!, two, own, undefined);
      equalizePair(work.ops.engine, pair, own, work.formats, two);
    } finally {
      own.free();
    }
  }
  two.show("teacher");
  return missing;
}

function runBlock(
  { ops, feed }: BlockWork,
  block: Block,
  states: Float32Array,
  chunk: number,
): Float32Array {
  return ops.pass(() => {
    const x = copyIn(ops, states, feed.dim);
    return copyOut(ops, block.run(ops, x, feed.context(ops, chunk)));
  });
}

/** Squared difference relative to the targets' squares. */
function relativeError(outputs: States, targets: States): number {
  let [miss, all] = [0, 0];
  outputs.forEach((output, c) => {
    const target = targets[c]!;
    for (let i = 0; i < output.length; i++) {
      miss += (output[i]! - target[i]!) ** 2;
      all += target[i]! ** 2;
    }
  });
  return miss / Math.max(all, Number.MIN_VALUE);
}
