// Time and memory of a run before it begins, from a small sample of its work that is really done on this machine: load the
// model, try each stage for a moment, extrapolate. Nothing is written. What takes longer than the budget to try, or does
// not fit into memory, is said instead of guessed.
import { LobitError, throwIfAborted } from "../base/errors.ts";
import { sampleItems } from "../data/sample.ts";
import type { OpenModel } from "../models/open.ts";
import { linearsOf, partsOf, type Vlm } from "../models/vlm.ts";
import { Infer } from "../ops/infer.ts";
import type { ExampleSource } from "../train/batch.ts";
import { Engine, type EngineOptions } from "../../wasm/mod.ts";
import {
  type CalibrationRequests,
  everRead,
  type GivenData,
  itemsToCalibrate,
  openCalibration,
} from "./calibration_data.ts";
import type { Plan } from "./plan.ts";
import { formatsOf, needsData, type Recipe, type Stage, stageNeedsData } from "./recipe.ts";
import {
  blockSeconds,
  clipSeconds,
  outsideBlocks,
  refitSeconds,
  roundingSeconds,
  trainingCost,
} from "./sample_work.ts";
import type { SampleData, Trial } from "./sample_feed.ts";
import { openExamples } from "./stages/examples.ts";

/** What to estimate for. */
export interface EstimateOptions extends EngineOptions, GivenData {
  /** Records of each kind that calibration looks at; default 320, or 96 if quick. */
  readonly calibrationItems?: number | undefined;
  /** Less of everything; see RecipeChoice. */
  readonly quick?: boolean | undefined;
  /** Seed of the sample; default 0. */
  readonly seed?: number | undefined;
  /** Seconds after which no further stage is tried; default 60. */
  readonly budget?: number | undefined;
  /** Stops the work. */
  readonly signal?: AbortSignal | undefined;
}

/** One stage's estimate. */
export interface StageEstimate {
  /** Its part. */
  readonly part: string;
  /** Its method. */
  readonly method: string;
  /** About how long it will take; missing if it was not tried. */
  readonly seconds?: number;
  /** About how many bytes it will need at most, the model included. */
  readonly bytes?: number;
  /** Why it was not tried, or what happened. */
  readonly problem?: string;
}

/** A run's estimate. All times are for this machine as busy as it is now. */
export interface Estimate {
  /** Threads that the sample ran on. */
  readonly threads: number;
  /** Loading the model. */
  readonly loadSeconds: number;
  /** Reading and cutting pictures and texts. */
  readonly dataSeconds: number;
  /** In order. */
  readonly stages: readonly StageEstimate[];
  /** All of it, if every stage was tried. */
  readonly seconds?: number;
  /** The most that any stage needs, if every stage was tried. */
  readonly bytes?: number;
  /** How long the estimate took. */
  readonly sampleSeconds: number;
}

/** Records of each kind to calibrate with in the sample. */
const SAMPLE = 16;
/** Most conversations to train on in the sample; memory grows with those that go through the model at once. */
const EXAMPLES = 64;
const BUDGET = 60;
/** Products of one tile from which on it is a lot of work. */
const HEAVY_TILE = 1e10;

/** Tries a little of everything that the plan will do. The data has to be what the recipe needs; see missingData. */
export async function estimateRun(
  open: OpenModel,
  plan: Plan,
  options: EstimateOptions,
): Promise<Estimate> {
  const { signal, budget = BUDGET } = options;
  const start = performance.now();
  const since = (time: number) => (performance.now() - time) / 1000;
  const engine = await Engine.create(options);
  try {
    const vlm = await open.load(engine);
    const loadSeconds = since(start);
    // The first time is slower than all others: code is compiled.
    await readSample(open, vlm, plan.recipe, options);
    const sample = await readSample(open, vlm, plan.recipe, options);
    const { dataSeconds } = sample;
    const formats = new Map(
      plan.weights.flatMap(({ name, format }) => format ? [[name, format] as const] : []),
    );
    const trial = { engine, vlm, formats, signal, ops: new Infer(engine) };
    let teacher: Promise<Vlm> | undefined;
    const load = () => teacher ??= open.load(engine);
    const stages: StageEstimate[] = [];
    for (const stage of plan.recipe.stages) {
      throwIfAborted(signal);
      const { part, method } = stage;
      if (since(start) > budget) {
        const problem = `not tried: the sample before it took ${Math.round(since(start))} s`;
        stages.push({ part, method, problem });
        continue;
      }
      engine.memory.restartPeak();
      try {
        const { seconds, states } = await tryStage(trial, stage, sample, load);
        stages.push({ part, method, seconds, bytes: engine.memory.peak + states });
      } catch (error) {
        if (!(error instanceof LobitError) || error.code !== "no-memory") throw error;
        stages.push({ part, method, problem: error.message });
      }
    }
    const tried = stages.every(({ problem }) => problem === undefined);
    const sum = stages.reduce((sum, { seconds = 0 }) => sum + seconds, loadSeconds + dataSeconds);
    return {
      ...{ threads: engine.threads, loadSeconds, dataSeconds, stages },
      ...(tried && { seconds: sum, bytes: Math.max(...stages.map(({ bytes = 0 }) => bytes)) }),
      sampleSeconds: since(start),
    };
  } finally {
    engine.close();
  }
}

interface Sample {
  readonly calibration: CalibrationRequests | undefined;
  readonly examples: ExampleSource | undefined;
  /** Times as many calibration records as the sample has. */
  readonly times: number;
  /** Reading all that the run will read. */
  readonly dataSeconds: number;
  /** Conversations to train on, and how long they are on average. */
  readonly much: { readonly all: number; readonly tokens: number };
}

async function readSample(
  open: OpenModel,
  vlm: Vlm,
  recipe: Recipe,
  options: EstimateOptions,
): Promise<Sample> {
  const { data = [], pictures = [], texts = [] } = options;
  const calibrationItems = itemsToCalibrate(options);
  const { seed = 0, signal } = options;
  const most = Math.max(1, data.length, pictures.length, texts.length);
  const count = Math.min(SAMPLE, calibrationItems, most);
  const start = performance.now();
  const calibration = openCalibration(recipe, options, open.assets, vlm, {
    ...{ count, seed, signal, maxBadShare: 1 },
  });
  const times = Math.min(most, calibrationItems) / count;
  const dataSeconds = times * (performance.now() - start) / 1000;
  const training = recipe.stages.flatMap(({ training }) => training ? [training] : []);
  if (training.length === 0) {
    const much = { all: 0, tokens: 0 };
    return { calibration, examples: undefined, times, dataSeconds, much };
  }
  const batch = Math.max(...training.map(({ batch }) => batch));
  const all = everRead(recipe, data, seed).length;
  const items = sampleItems(data, { seed, count: Math.min(batch, EXAMPLES, data.length) });
  const read = async (maxTiles?: number) =>
    await openExamples(items, open.assets, vlm.input, { maxBadShare: 1, signal, maxTiles });
  const begin = performance.now();
  const whole = await read();
  const reading = (performance.now() - begin) / 1000;
  const lengths = Array.from({ length: whole.length }, (_, i) => whole.prompt(i).ids.length);
  const tokens = lengths.reduce((sum, length) => sum + length, 0) / whole.length;
  // Where one tile is a lot of work, pictures of the sample have only one.
  const perTile = vlm.vision.context(1).sequences.total;
  const weights = linearsOf(vlm.vision).reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const examples = perTile * weights > HEAVY_TILE ? await read(1) : whole;
  return {
    ...{ calibration, times },
    examples: first(examples, Math.max(...training.map(({ tokens }) => tokens))),
    dataSeconds: dataSeconds + reading * all / items.length,
    much: { all, tokens },
  };
}

/** The first examples that one pass holds; at least one. */
function first(source: ExampleSource, tokens: number): ExampleSource {
  let length = 0;
  for (let sum = 0; length < source.length; length++) {
    sum += source.prompt(length).ids.length;
    if (sum > tokens && length > 0) break;
  }
  return {
    length,
    fingerprint: source.fingerprint,
    prompt: (index) => source.prompt(index),
    images: (index) => source.images(index),
  };
}

async function tryStage(
  trial: Trial,
  stage: Stage,
  { calibration, examples, times, much }: Sample,
  teacher: () => Promise<Vlm>,
): Promise<{ seconds: number; states: number }> {
  const { vlm, formats } = trial;
  const { method } = stage;
  const part = partsOf(vlm).find(({ name }) => name === stage.part)!;
  const { requests = [], texts = [] } = calibration ?? {};
  const spoken = stage.calibrate === "text" || requests.length === 0 ? texts : requests;
  const pictures = calibration?.pictures ?? requests;
  const rounded = stageNeedsData(stage) ? outsideBlocks(part) : linearsOf(part);
  let seconds = roundingSeconds(trial, rounded, method === "rtn-clip");
  let states = 0;
  if (method === "refit") {
    seconds += refitSeconds(trial, { requests: pictures, times });
  } else if (needsData(method) && (part.name === "vision" || part.name === "language")) {
    const data: SampleData = { requests: part.name === "vision" ? pictures : spoken, times };
    const found = await blockSeconds(trial, { ...part, name: part.name }, stage, method, data);
    seconds += found.seconds;
    states = found.states;
  } else if (method === "train") {
    const { clip } = stage;
    if (clip) {
      const chosen = formatsOf(clip, formats);
      const found = await clipSeconds(trial, chosen, { requests: spoken, times });
      seconds += found.seconds;
      states = found.states;
    }
    const found = await trainingCost(trial, stage, examples!, teacher, much);
    seconds += found.seconds;
    states = Math.max(states, found.kept);
  }
  return { seconds, states };
}
