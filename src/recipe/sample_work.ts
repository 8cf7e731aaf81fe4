// What a stage's work costs, measured by really doing a little of it: one block on some thousand rows, a few training
// steps on one batch. The model is changed by that; it is loaded for nothing else.
import type { Format } from "../formats/format.ts";
import type { Linear } from "../formats/weight.ts";
import { linearsOf, type Part, partsOf, type Vlm } from "../models/vlm.ts";
import { CALIBRATED, type CalibratedMethod, DEFAULT_STEPS } from "../quant/methods.ts";
import { packLinear, replaceWeight } from "../quant/pack_linear.ts";
import { roundClipped, roundToNearest } from "../quant/round.ts";
import { bytesOf, freeTensor, heapTensor } from "../tensor/tensor.ts";
import type { ExampleSource } from "../train/batch.ts";
import { FEATURE_BYTES } from "../train/features.ts";
import { logitBytes, rowsOf } from "../train/teacher.ts";
import type { Engine } from "../../wasm/mod.ts";
import { quantizeBlocks } from "./blocks.ts";
import { copyIn } from "./feed.ts";
import { projections, refitProjector } from "./projector.ts";
import { equalizes, rulesOf, type Stage } from "./recipe.ts";
import { type Fed, feedOf, type SampleData, type Trial, visionFed } from "./sample_feed.ts";
import { clipPart } from "./stages/clip.ts";
import { PIXEL_BYTES } from "./stages/examples.ts";
import { trainStage } from "./training.ts";

/** Rows of the small and the large sample that a block is tried on. */
const ROWS = [512, 2048] as const;
/** Seconds of rounding that are enough to know its pace. */
const ROUNDING = 1;
/** Seconds from which on compiling code is a small share. */
const LONG = 2;
/** Times that learning looks at all data; see learnBlock. */
const CHECKS = 8;

/** Seconds that rounding these linears takes. */
export function roundingSeconds(
  trial: Trial,
  linears: readonly Linear[],
  clipped: boolean,
): number {
  const { engine: { memory }, formats, signal } = trial;
  const sizes = linears.flatMap((linear) => {
    const format = formats.get(linear.name);
    return format && linear.weight.kind === "dense" ? [{ linear, format }] : [];
  });
  const all = sizes.reduce((sum, { linear }) => sum + linear.rows * linear.columns, 0);
  const start = performance.now();
  let [done, seconds] = [0, 0];
  for (const { linear, format } of sizes) {
    const coder = clipped ? roundClipped : roundToNearest;
    const packed = packLinear(memory, linear, format, coder, signal);
    if (packed.kind === "packed") freeTensor(memory, packed.blob);
    done += linear.rows * linear.columns;
    seconds = (performance.now() - start) / 1000;
    if (seconds > ROUNDING) break;
  }
  return done === 0 ? 0 : seconds * all / done;
}

/** Seconds of a calibrated stage's blocks, and bytes of the hidden states that it holds beside the shared memory. */
export async function blockSeconds(
  trial: Trial,
  part: Part & { readonly name: "vision" | "language" },
  stage: Stage,
  method: CalibratedMethod,
  data: SampleData,
): Promise<{ seconds: number; states: number }> {
  const { engine, ops, formats, signal } = trial;
  const blocks = part.blocks.filter(({ linears }) => linears.some(({ name }) => formats.has(name)));
  const block = blocks[0];
  if (!block) return { seconds: 0, states: 0 };
  const how = CALIBRATED[method];
  const restore = keepWeights(engine, block.linears);
  try {
    const [small, large] = ROWS.map((rows) => feedOf(trial, part.name, data.requests, rows));
    const quantizing = async ({ feed, states }: Fed, steps: number): Promise<number> => {
      const work = {
        ...{ ops, formats, feed, steps, signal },
        part: { ...part, blocks: [block] },
        teacher: states(ops),
        student: states(ops),
        method: { ...how, equalize: equalizes(stage) },
      };
      const seconds = await timed(() => quantizeBlocks(work));
      restore.now();
      return seconds;
    };
    const a = await settled(() => quantizing(small!, 1));
    const b = await quantizing(large!, 1);
    let states: Float32Array[] = [];
    const embedding = await timed(() => Promise.resolve(states = large!.states(ops)));
    const pass = await timed(() => {
      states.forEach((chunk, i) =>
        ops.pass(() =>
          block.run(ops, copyIn(ops, chunk, large!.feed.dim), large!.feed.context(ops, i))
        )
      );
      return Promise.resolve();
    });
    const rows = large!.all * data.times;
    let one = extend(a, b, small!.rows, large!.rows, rows);
    if (how.learn) {
      const steps = stage.steps ?? DEFAULT_STEPS;
      const two = await quantizing(small!, 2);
      const look = pass / large!.rows;
      const step = Math.max(0, two - a - look * small!.rows);
      const checks = Math.min(steps, CHECKS) + 1;
      one += (steps - 1) * step + Math.max(0, checks - 2) * look * rows;
    }
    const tower = part.name === "language" ? lookSeconds(trial, data) : 0;
    const seconds = one * blocks.length + 2 * (embedding * rows / large!.rows + tower);
    // Teacher's and student's states, and what each block makes of them.
    return { seconds, states: 4 * 4 * rows * large!.feed.dim };
  } finally {
    restore.free();
  }
}

/** Seconds of clipping the language part, and bytes of its hidden states. */
export async function clipSeconds(
  trial: Trial,
  patterns: ReadonlyMap<string, Format>,
  data: SampleData,
): Promise<{ seconds: number; states: number }> {
  const { engine, ops, vlm: { language }, signal } = trial;
  const block = language.blocks[0];
  if (!block) return { seconds: 0, states: 0 };
  const restore = keepWeights(engine, block.linears);
  try {
    const [small, large] = ROWS.map((rows) => feedOf(trial, "language", data.requests, rows));
    const clipping = async ({ feed, states }: Fed): Promise<number> => {
      const own = states(ops);
      const seconds = await timed(() =>
        clipPart(ops, { ...language, blocks: [block] }, feed, own, patterns, signal)
      );
      restore.now();
      return seconds;
    };
    const a = await settled(() => clipping(small!));
    const b = await clipping(large!);
    const rows = large!.all * data.times;
    const one = extend(a, b, small!.rows, large!.rows, rows);
    const seconds = one * language.blocks.length + lookSeconds(trial, data);
    return { seconds, states: 2 * 4 * rows * large!.feed.dim };
  } finally {
    restore.free();
  }
}

/**
 * Seconds of a training stage that will have `all` conversations of `tokens` tokens each, by some of them; and bytes of
 * pixels and of the frozen tower's features that it keeps beside the shared memory.
 */
export async function trainingCost(
  trial: Trial,
  stage: Stage,
  examples: ExampleSource,
  teacher: () => Promise<Vlm>,
  { all, tokens }: { readonly all: number; readonly tokens: number },
): Promise<{ seconds: number; kept: number }> {
  const { engine, vlm, formats, signal } = trial;
  const { steps, batch } = stage.training!;
  if (steps === 0) return { seconds: 0, kept: 0 };
  const training = { ...stage.training!, steps: Math.min(3, steps), batch: examples.length };
  const parts = partsOf(vlm).filter(({ name }) => rulesOf(stage).some(({ part }) => part === name));
  const inside = new Set(
    parts.flatMap(({ blocks }) => blocks).flatMap(({ linears }) => linears).map(({ name }) => name),
  );
  const own = new Map([...formats].filter(([name]) => inside.has(name)));
  const start = performance.now();
  const times = [start];
  await trainStage({ engine, vlm }, { ...stage, training }, own, { examples, teacher }, {
    signal,
    onStep: () => times.push(performance.now()),
  });
  const [first = 0, ...later] = times.slice(1).map((time, i) => (time - times[i]!) / 1000);
  const rest = (performance.now() - times.at(-1)!) / 1000;
  const step = later.length > 0 ? Math.min(...later) : first;
  // In its first step the sample is seen by the frozen tower and by the teacher; later it is known.
  const seeing = first - step;
  const had = Array.from({ length: examples.length }, (_, i) => examples.prompt(i).ids.length)
    .reduce((sum, length) => sum + length, 0);
  const seen = Math.min(all, steps * batch);
  const seconds = rest + (steps * step * batch + Math.max(0, seeing) * seen) * tokens / had;
  return { seconds, kept: keptBytes(vlm, stage, examples, all) };
}

/** Bytes that training on `all` conversations like these keeps: pixels, a frozen tower's features, a teacher's logits. */
function keptBytes(vlm: Vlm, stage: Stage, examples: ExampleSource, all: number): number {
  const { steps, batch, distill, match, mask, teacherTop } = stage.training!;
  const seen = Math.min(all, steps * batch);
  const images = Array.from({ length: examples.length }, (_, i) => examples.images(i)).flat();
  const tiles = images.reduce((sum, { count }) => sum + count, 0) / examples.length;
  const pixels = images.reduce((sum, { data }) => sum + data.length, 0) / examples.length;
  const { tokensPerTile } = vlm.input;
  const features = 4 * tiles * tokensPerTile * vlm.projector.linears[0]!.columns;
  const frozen = rulesOf(stage).every(({ part }) => part !== "vision");
  const rows = Math.ceil(seen * rowsOf(examples, mask) / examples.length);
  return Math.min(PIXEL_BYTES, all * pixels) +
    (frozen ? Math.min(FEATURE_BYTES, seen * features) : 0) +
    (distill !== 0 || match !== 0 ? logitBytes(rows, vlm.language.head.rows, teacherTop) : 0);
}

/** Seconds of fitting the projector. */
export function refitSeconds(trial: Trial, { requests, times }: SampleData): number {
  const { ops, vlm } = trial;
  const { feed, rows, all } = visionFed(trial, requests, ROWS[0]);
  const start = performance.now();
  refitProjector(ops, vlm, feed, projections(ops, vlm, feed));
  return (performance.now() - start) / 1000 * all * times / rows;
}

/** Seconds of all pictures' way through tower and projector. */
function lookSeconds(trial: Trial, { requests, times }: SampleData): number {
  const { feed, rows, all } = visionFed(trial, requests, ROWS[0]);
  if (rows === 0) return 0;
  const start = performance.now();
  projections(trial.ops, trial.vlm, feed);
  return (performance.now() - start) / 1000 * all * times / rows;
}

/** Seconds for `rows` rows, from those for few and for many: a line where they differ, else in proportion. */
export function extend(
  a: number,
  b: number,
  few: number,
  many: number,
  rows: number,
): number {
  if (many <= few) return a * Math.max(1, rows / few);
  return a + Math.max(0, b - a) / (many - few) * Math.max(0, rows - few);
}

/** Copies weights, so that the same block can be tried again. */
function keepWeights(
  { memory }: Engine,
  linears: readonly Linear[],
): { now(): void; free(): void } {
  const kept = linears.flatMap((linear) => {
    if (linear.weight.kind !== "dense") return [];
    const { shape, dtype } = linear.weight.tensor;
    return [{ linear, shape, dtype, bytes: bytesOf(memory, linear.weight.tensor).slice() }];
  });
  return {
    now() {
      for (const { linear, shape, dtype, bytes } of kept) {
        const tensor = heapTensor(memory, shape, dtype);
        bytesOf(memory, tensor).set(bytes);
        replaceWeight(memory, linear, { kind: "dense", tensor });
      }
    },
    free() {
      kept.length = 0;
    },
  };
}

/** The first time is slower, as code is compiled and memory grows; where that is little, the second is taken. */
async function settled(measure: () => Promise<number>): Promise<number> {
  const seconds = await measure();
  return seconds > LONG ? seconds : await measure();
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** All linears of a part that are not in its blocks, or all if it has none. */
export function outsideBlocks(part: Part): Linear[] {
  const inside = new Set(part.blocks.flatMap(({ linears }) => linears));
  return linearsOf(part).filter((linear) => !inside.has(linear));
}
