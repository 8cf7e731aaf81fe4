// Carries a plan out on a loaded model, stage by stage. A stage changes its part only (the language stage trains the
// projector along, and the parts it names), and with a journal every finished block and stage is kept.
import { badRequest } from "../base/errors.ts";
import type { Format } from "../formats/format.ts";
import type { Linear } from "../formats/weight.ts";
import { joinPath } from "../io/host.ts";
import { linearsOf, type Part, partsOf, vectorsOf, type Vlm } from "../models/vlm.ts";
import { type Coder, packLinear, replaceWeight } from "../quant/pack_linear.ts";
import { roundClipped, roundToNearest } from "../quant/round.ts";
import type { StepReport } from "../train/trainer.ts";
import { bytesOf, freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import type { Engine } from "../../wasm/mod.ts";
import type { BlockReport } from "./blocks.ts";
import { calibratedStages, type Calibration } from "./calibrated.ts";
import type { Changed, Journal } from "./journal.ts";
import type { Plan } from "./plan.ts";
import { equalizes, type Method, needsData, type Stage, stageNeedsData } from "./recipe.ts";
import type { Shelf } from "./shelf.ts";
import type { Progress, StageReport } from "./stage_report.ts";
import { type TrainingData, trainStage } from "./training.ts";

export type { Progress, StageProgress, StageReport } from "./stage_report.ts";

/** How to run. */
export interface RunOptions {
  /** Needed by recipes with calibrated methods and for clipping before training. */
  readonly calibration?: Calibration | undefined;
  /** Needed by stages that train. */
  readonly training?: TrainingData | undefined;
  /** Keeps finished work, and knows that of the run that this one goes on from. */
  readonly journal?: Journal | undefined;
  /** Finished stages of other runs. */
  readonly shelf?: Shelf | undefined;
  /** Stops the work. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each linear and each training step. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Called after each stage, when the model is as the stage left it. */
  readonly onStage?: ((report: StageReport) => void) | undefined;
}

const CODERS: Readonly<Partial<Record<Method, Coder>>> = {
  rtn: roundToNearest,
  "rtn-clip": roundClipped,
};

/** Quantizes the model in place and reports on every stage. */
export async function runPlan(
  engine: Engine,
  vlm: Vlm,
  plan: Plan,
  options: RunOptions = {},
): Promise<StageReport[]> {
  const run = new Run(engine, vlm, plan, options);
  try {
    const reports: StageReport[] = [];
    for (const [index, stage] of plan.recipe.stages.entries()) {
      reports.push(await run.stage(stage, index));
      options.onStage?.(reports[index]!);
    }
    return reports;
  } finally {
    run.free();
  }
}

class Run {
  readonly #engine: Engine;
  readonly #vlm: Vlm;
  readonly #options: RunOptions;
  readonly #formats: ReadonlyMap<string, Format>;
  readonly #calibrated: ReturnType<typeof calibratedStages>;
  readonly #stages: readonly Stage[];
  readonly #total: number;
  readonly #originals = new Map<string, Tensor>();
  #done = 0;
  #at = { place: 0, before: 0, total: 0 };

  constructor(engine: Engine, vlm: Vlm, plan: Plan, options: RunOptions) {
    this.#engine = engine;
    this.#vlm = vlm;
    this.#options = options;
    this.#formats = new Map(
      plan.weights.flatMap(({ name, format }) => format ? [[name, format]] : []),
    );
    this.#stages = plan.recipe.stages;
    this.#total = this.#stages.reduce((sum, stage) => sum + this.#weightsOf(stage), 0);
    this.#calibrated = calibratedStages(engine, vlm, plan, options.calibration, options.signal);
  }

  free(): void {
    this.#calibrated?.free();
    for (const tensor of this.#originals.values()) freeTensor(this.#engine.memory, tensor);
    this.#originals.clear();
  }

  /** Weights that a stage gives a format. */
  #weightsOf(stage: Stage): number {
    return changedBy(this.#vlm, stage).linears.reduce(
      (sum, { name, rows, columns }) => sum + (this.#formats.has(name) ? rows * columns : 0),
      0,
    );
  }

  /** Keeps what a part's weights are now, if a later stage trains them. */
  #remember(part: Part, index: number): void {
    const { memory } = this.#engine;
    const trains = this.#stages.slice(index + 1).some(({ part: name, method }) =>
      name === part.name && method === "train"
    );
    // Scaled channels make other weights than those that are packed then.
    if (!trains || equalizes(this.#stages[index]!)) return;
    for (const { name, weight } of part.blocks.flatMap(({ linears }) => linears)) {
      if (weight.kind !== "dense" || !this.#formats.has(name)) continue;
      const copy = heapTensor(memory, weight.tensor.shape, weight.tensor.dtype);
      bytesOf(memory, copy).set(bytesOf(memory, weight.tensor));
      this.#originals.set(name, copy);
    }
  }

  async stage(stage: Stage, index: number): Promise<StageReport> {
    const [before, total] = [this.#done, this.#weightsOf(stage)];
    this.#at = { place: index + 1, before, total };
    const part = partsOf(this.#vlm).find(({ name }) => name === stage.part)!;
    this.#remember(part, index);
    const report = await this.#finished(stage, index) ?? await this.#work(stage, part, index);
    // Work that was taken over, or that no linear stands for, has not been told yet.
    if (this.#done !== before + total) {
      this.#done = before + total;
      this.#report(stage, stage.method);
    }
    return report;
  }

  /** Takes over what this run, or another that began alike, has finished already. */
  async #finished(stage: Stage, index: number): Promise<StageReport | undefined> {
    const { journal, shelf } = this.#options;
    const changed = changedBy(this.#vlm, stage);
    const piece = pieceOf(stage, index);
    if (journal?.has(piece)) return await journal.restore(piece, changed) as StageReport;
    return await shelf?.take(index, changed);
  }

  async #work(stage: Stage, part: Part, index: number): Promise<StageReport> {
    const { journal, shelf } = this.#options;
    const piece = pieceOf(stage, index);
    const changed = changedBy(this.#vlm, stage);
    const start = performance.now();
    const along = partsOf(this.#vlm).filter(({ name }) =>
      stage.along?.some(({ part }) => part === name)
    );
    for (const own of [...along, part]) await this.#round(stage, own);
    const found = await this.#improve(stage, part, along, piece);
    const seconds = (performance.now() - start) / 1000;
    const report = {
      part: stage.part,
      ...(along.length > 0 && { along: along.map(({ name }) => name) }),
      method: stage.method,
      seconds,
      blocks: [],
      steps: [],
      ...found,
    };
    await journal?.save(piece, changed, report);
    await shelf?.put(index, changed, report);
    return report;
  }

  /** Linears that the stage's method does not look at: all for rounding methods, else those outside blocks. */
  async #round(stage: Stage, part: Part): Promise<void> {
    const { memory } = this.#engine;
    const inBlocks = new Set(part.blocks.flatMap(({ linears }) => linears));
    const looks = stageNeedsData(stage);
    for (const linear of linearsOf(part)) {
      const format = this.#formats.get(linear.name);
      if (!format || linear.weight.kind === "packed" || (looks && inBlocks.has(linear))) continue;
      const coder = CODERS[stage.method] ?? roundToNearest;
      replaceWeight(
        memory,
        linear,
        packLinear(memory, linear, format, coder, this.#options.signal),
      );
      this.#count(stage, linear);
      // Lets signals and progress through between linears.
      await new Promise((resolve) => setTimeout(resolve));
    }
  }

  async #improve(
    stage: Stage,
    part: Part,
    along: readonly Part[],
    piece: string,
  ): Promise<Partial<StageReport>> {
    const { journal } = this.#options;
    if (stage.method === "refit") return { refit: this.#calibrated!.refit() };
    if (stage.method === "train") return await this.#train(stage, part, along, piece);
    if (!needsData(stage.method)) return {};
    const own = (block: string) => `${piece}-${block}`;
    const blocks = await this.#calibrated!.blocks(part, stage, stage.method, this.#formats, {
      journal: journal && {
        has: (block) => journal.has(own(block.name)),
        restore: async (block) => await journal.restore(own(block.name), block) as BlockReport,
        save: (block, report) => journal.save(own(block.name), block, report),
      },
      onLinear: (linear) => this.#count(stage, linear),
      onStep: (block, step, loss) =>
        this.#report(stage, `${block}, step ${step}, loss ${loss.toPrecision(3)}`),
    });
    return { blocks };
  }

  async #train(
    stage: Stage,
    part: Part,
    along: readonly Part[],
    piece: string,
  ): Promise<Partial<StageReport>> {
    const { training, journal, signal } = this.#options;
    if (!training) {
      throw badRequest(
        "This recipe trains, so it needs conversations with pictures (--data FILE.jsonl).",
      );
    }
    const blocks = [...along, part].flatMap(({ blocks }) => blocks);
    const formats = new Map(
      blocks.flatMap(({ linears }) => linears).flatMap(({ name }) => {
        const format = this.#formats.get(name);
        return format ? [[name, format]] : [];
      }),
    );
    const clipped = stage.clip
      ? await this.#calibrated!.clip(part, stage, stage.clip, formats)
      : undefined;
    const steps = await trainStage(
      { engine: this.#engine, vlm: this.#vlm },
      stage,
      formats,
      training,
      {
        signal,
        originals: this.#originals,
        onStep: (step) => this.#report(stage, `step ${step.step} of ${step.steps}`, step),
        ...(journal && {
          state: journal.path(`${piece}-training`),
          logits: joinPath(journal.folder, "teacher"),
        }),
      },
    );
    for (const { linears } of blocks) for (const linear of linears) this.#count(stage, linear);
    return { steps, ...(clipped !== undefined && { clipped }) };
  }

  #count(stage: Stage, linear: Linear): void {
    if (!this.#formats.has(linear.name)) return;
    this.#done += linear.rows * linear.columns;
    this.#report(stage, linear.name);
  }

  #report(stage: Stage, name: string, step?: StepReport): void {
    const [done, total] = [this.#done, this.#total];
    const { place, before, total: own } = this.#at;
    const at = { place, places: this.#stages.length, done: done - before, total: own };
    const memory = this.#engine.memory.used;
    const now = { stage: stage.part, at, memory, name, done, total, ...(step && { step }) };
    this.#options.onProgress?.(now);
  }
}

/** A stage's name in the journal. */
function pieceOf({ part }: Stage, index: number): string {
  return `stage-${index + 1}-${part}`;
}

/** Everything that a stage may change. */
function changedBy(vlm: Vlm, stage: Stage): Changed {
  const along: string[] = (stage.along ?? []).map(({ part }) => part);
  if (stage.method === "train" && stage.part === "language") along.push("projector");
  const parts = partsOf(vlm).filter(({ name }) => name === stage.part || along.includes(name));
  return { linears: parts.flatMap(linearsOf), vectors: parts.flatMap(vectorsOf) };
}
