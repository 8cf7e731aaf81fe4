// A model folder in, a packed file out: opens, plans, loads, runs the recipe and writes.
import { badRequest, throwIfAborted } from "../base/errors.ts";
import { formatName } from "../formats/format.ts";
import type { ByteSink } from "../io/bytes.ts";
import { type AsideFile, folderOf, writeAside } from "../io/host.ts";
import { isSameFile, kindIfAllowed, removeFolder } from "../io/host_folder.ts";
import { type OpenModel, openModel } from "../models/open.ts";
import { writePacked } from "../models/packed_file.ts";
import type { Vlm } from "../models/vlm.ts";
import { Fingerprint } from "../train/fingerprint.ts";
import { Engine, type EngineOptions } from "../../wasm/mod.ts";
import { checksumsOf } from "./checksums.ts";
import { chooseRecipe, type RecipeChoice } from "./choose.ts";
import { Journal } from "./journal.ts";
import {
  type CalibrationRequests,
  everRead,
  type GivenData,
  itemsToCalibrate,
  type LeftOut,
  missingData,
  openCalibration,
} from "./calibration_data.ts";
import { type Plan, planRecipe } from "./plan.ts";
import { type Recipe, rulesOf, stageNeedsData } from "./recipe.ts";
import { type Progress, type RunOptions, runPlan, type StageReport } from "./run.ts";
import { Shelf } from "./shelf.ts";
import { checkTrainingMemory } from "./training_memory.ts";
import { openExamples } from "./stages/examples.ts";

/** How to quantize. */
export interface QuantizeOptions extends RecipeChoice, EngineOptions, GivenData {
  /** Records of each kind that calibration looks at, drawn by the seed; default 320, or 96 if quick. Training takes all. */
  readonly calibrationItems?: number | undefined;
  /** Largest share of records that may turn out unusable; default 0.01. */
  readonly maxBadShare?: number | undefined;
  /** Told about records that were left out, and why. */
  readonly onLeftOut?: LeftOut | undefined;
  /** Goes on from what a stopped run has left in `OUT.work`. */
  readonly resume?: boolean | undefined;
  /** Whether to keep finished blocks and training states in `OUT.work` meanwhile; default: if the recipe needs data. */
  readonly journal?: boolean | undefined;
  /** Folder where finished stages are kept for, and found from, other runs that begin with the same stages. */
  readonly shelf?: string | undefined;
  /** Training steps between two saved states; default 20. A stop saves, too. */
  readonly saveEvery?: number | undefined;
  /** Stops the work; no file is left then. */
  readonly signal?: AbortSignal | undefined;
  /** Called with the whole plan before any work. */
  readonly onPlan?: (plan: Plan) => void;
  /** Called after each linear and each training step. */
  readonly onProgress?: (progress: Progress) => void;
}

/** What was done. */
export interface QuantizeReport {
  /** What became of each weight. */
  readonly plan: Plan;
  /** What each stage did. */
  readonly stages: readonly StageReport[];
  /** Bytes of the packed file. */
  readonly fileBytes: number;
  /** Most bytes of shared memory in use at any time. */
  readonly peakMemory: number;
}

/** What WebAssembly can address. */
const MOST_MEMORY = 2 ** 32;

/**
 * Quantizes a Hugging Face folder into a packed file, given by its path or as a sink. The file is written aside and
 * renamed when it is complete. The whole plan is checked before any work.
 */
export async function quantize(
  model: string | OpenModel,
  out: string | ByteSink,
  options: QuantizeOptions = {},
): Promise<QuantizeReport> {
  const recipe = chooseRecipe(options);
  const open = typeof model === "string" ? await openModel(model) : model;
  let engine: Engine | undefined;
  try {
    const plan = planRecipe(recipe, open.tensors);
    checkData(recipe, options);
    checkTrainingMemory(plan, Math.min(options.maxMemory ?? MOST_MEMORY, MOST_MEMORY));
    options.onPlan?.(plan);
    if (typeof out === "string") checkOutput(open, out);
    engine = await Engine.create(options);
    const vlm = await open.load(engine);
    throwIfAborted(options.signal);
    const work = typeof out === "string" && journaled(recipe, options) ? `${out}.work` : undefined;
    const stages = await runPlan(
      engine,
      vlm,
      plan,
      await resources(open, engine, vlm, plan, options, work),
    );
    throwIfAborted(options.signal);
    const fileBytes = await write(
      out,
      (sink) => writePacked(sink, engine!, vlm, open.assets.texts, recipe),
    );
    if (work !== undefined) removeFolder(work);
    return { plan, stages, fileBytes, peakMemory: engine.memory.peak };
  } finally {
    engine?.close();
    if (typeof model === "string") open.close();
  }
}

function journaled(recipe: Recipe, { journal, resume }: QuantizeOptions): boolean {
  return journal ?? (resume || recipe.stages.some(stageNeedsData));
}

function checkData(
  recipe: Recipe,
  options: QuantizeOptions,
): void {
  const count = itemsToCalibrate(options);
  if (!Number.isSafeInteger(count) || count < 1) {
    throw badRequest(
      `The number of calibration items must be a whole number from 1, not ${count}.`,
    );
  }
  const { saveEvery = 1 } = options;
  if (!Number.isSafeInteger(saveEvery) || saveEvery < 1) {
    throw badRequest(`The state is saved every so many steps, from 1; found ${saveEvery}.`);
  }
  const missing = missingData(recipe, options);
  if (missing.length > 0) {
    throw badRequest(
      `The recipe "${recipe.name}" needs data that was not given:\n- ${missing.join("\n- ")}`,
    );
  }
}

/** Data, teacher and journal, as far as the recipe needs them. */
async function resources(
  open: OpenModel,
  engine: Engine,
  vlm: Vlm,
  plan: Plan,
  options: QuantizeOptions,
  work: string | undefined,
): Promise<RunOptions> {
  const { recipe } = plan;
  const { data = [], seed = 0 } = options;
  const count = itemsToCalibrate(options);
  const { signal, maxBadShare, onLeftOut, onProgress } = options;
  const { assets } = open;
  const calibration = openCalibration(recipe, options, assets, vlm, {
    ...{ count, seed, maxBadShare, onLeftOut, signal },
  });
  const read = everRead(recipe, data, seed);
  const examples = recipe.stages.some(({ method }) => method === "train")
    ? await openExamples(read, assets, vlm.input, { maxBadShare, signal })
    : undefined;
  if (examples && examples.bad.length > 0) {
    onLeftOut?.("conversations to train on", examples.bad, read.length);
  }
  let teacher: Promise<Vlm> | undefined;
  const keeps = work !== undefined || options.shelf !== undefined;
  const weights = keeps ? checksumsOf(engine, vlm) : new Int32Array();
  const print = (what: unknown) =>
    fingerprintOf(open, weights, what, calibration, examples?.fingerprint ?? "", seed);
  return {
    signal,
    onProgress,
    ...(calibration && { calibration: { ...calibration, seed } }),
    ...(examples &&
      {
        training: {
          examples,
          teacher: () => teacher ??= open.load(engine),
          every: options.saveEvery,
        },
      }),
    ...(work !== undefined && {
      journal: await Journal.open(
        engine.memory,
        work,
        print(recipe),
        options.resume ?? false,
      ),
    }),
    ...(options.shelf !== undefined && {
      shelf: await Shelf.open(
        engine.memory,
        options.shelf,
        beginnings(plan).map((beginning) => print([beginning, engine.build])),
      ),
    }),
  };
}

/** What decides the outcome of each stage but the last, besides model and data: the stages up to it and their formats. */
function beginnings({ recipe: { stages }, weights }: Plan): unknown[] {
  return stages.slice(0, -1).map((_, last) => {
    const beginning = stages.slice(0, last + 1);
    const parts = new Set(beginning.flatMap(rulesOf).map(({ part }) => part));
    const formats = weights.filter(({ part }) => parts.has(part))
      .map(({ name, format }) => format && `${name}=${formatName(format)}`);
    return { beginning, formats };
  });
}

/** Changes when the recipe, the model's files or the data differ. */
function fingerprintOf(
  open: OpenModel,
  weights: Int32Array,
  what: unknown,
  calibration: CalibrationRequests | undefined,
  examples: string,
  seed: number,
): string {
  const fingerprint = new Fingerprint().add(JSON.stringify([what, seed, examples]))
    .add(weights);
  for (const [file, text] of open.assets.texts) fingerprint.add(file).add(text);
  const { requests = [], pictures = [], texts = [] } = calibration ?? {};
  for (const kind of [requests, pictures, texts]) {
    for (const { prompt, images } of kind) {
      fingerprint.add(prompt.ids);
      for (const { data } of images) fingerprint.add(data);
    }
    fingerprint.add("end of kind");
  }
  return fingerprint.text;
}

/** Writes to a path, aside and renamed, or to a sink; returns the number of bytes. */
async function write(
  out: string | ByteSink,
  fill: (sink: ByteSink) => Promise<void>,
): Promise<number> {
  if (typeof out !== "string") {
    const before = out.size;
    await fill(out);
    return out.size - before;
  }
  const file = writeAside(out);
  try {
    await fill(file);
    const { size } = file;
    file.commit();
    return size;
  } finally {
    file.abort();
  }
}

/** Finds out before the work whether its result can be written, and that it does not replace the input. */
function checkOutput(open: OpenModel, out: string): void {
  if (isSameFile(out, open.name)) {
    throw badRequest(`${out} is the model itself; give the packed file another name.`);
  }
  const kind = kindIfAllowed(out);
  if (kind === "folder") throw badRequest(`${out} is a folder; name a file in it.`);
  if (open.kind === "folder" && isSameFile(folderOf(out), open.name) && kind !== "none") {
    throw badRequest(
      `${out} exists in the model's own folder; write the packed file under a new name or elsewhere.`,
    );
  }
  // An older file at this path stays as it is until the new one is complete.
  const probe: AsideFile = writeAside(out);
  probe.abort();
}
