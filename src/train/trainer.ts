// The training loop: batches in a fixed order, losses, one optimiser step after the other; stops, diverges or resumes in
// a defined way. What trains and how it is prepared is the stages' business.
import { badRequest, LobitError, throwIfAborted } from "../base/errors.ts";
import type { Vlm } from "../models/vlm.ts";
import type { Engine } from "../../wasm/mod.ts";
import { type Batch, batchOf, countValid, type ExampleSource, type Mask } from "./batch.ts";
import { type Checkpoint, restore, save } from "./checkpoint.ts";
import type { FakeQuant } from "./fake_quant.ts";
import { predict } from "./forward.ts";
import {
  labelConfidence,
  type LossSettings,
  type LossValues,
  putLosses,
  putMatch,
  type Teaching,
} from "./losses.ts";
import { clipFactor, type Optimiser } from "./optimiser.ts";
import type { BatchOrder } from "./order.ts";
import type { Parameters } from "./parameters.ts";
import { rateAt, type Schedule } from "./schedule.ts";
import { Tape } from "./tape.ts";
import type { Teacher } from "./teacher.ts";
import type { Sight } from "./tower.ts";

/** How to train. */
export interface TrainSettings {
  /** Steps and learning rate's course. */
  readonly schedule: Schedule;
  /** Losses and their weights. */
  readonly losses: LossSettings;
  /** Share of KL(student || teacher); "adaptive": the teacher's mean probability of the labels. */
  readonly gamma: number | "adaptive";
  /** First steps whose batches the adaptive gamma is measured on. */
  readonly gammaSteps: number;
  /** Positions that distillation compares. */
  readonly mask: Mask;
  /** Longest gradient norm; 0 for no limit. */
  readonly clip: number;
  /** Scales of fake-quant weights are brought up to date every so many steps. */
  readonly refresh: number;
  /** Most tokens that go through the model at once; a larger batch is run in parts whose gradients add up. */
  readonly tokens: number;
  /** Keeps only the blocks' inputs and computes the rest twice. */
  readonly checkpointBlocks: boolean;
}

/** One step's outcome. */
export interface StepReport extends LossValues {
  /** Counted from 1. */
  readonly step: number;
  /** In all. */
  readonly steps: number;
  /** Weighted sum of the losses. */
  readonly loss: number;
  /** Before clipping. */
  readonly gradientNorm: number;
  /** Of the optimiser's first group. */
  readonly learningRate: number;
}

/** Everything a run works on. */
export interface Training {
  /** Kernels, memory, threads. */
  readonly engine: Engine;
  /** The student. */
  readonly vlm: Vlm;
  /** What trains. */
  readonly parameters: Parameters;
  /** Moves it. */
  readonly optimiser: Optimiser;
  /** Linears seen through a grid; their latent weights are among the parameters. */
  readonly fakes: readonly FakeQuant[];
  /** Data. */
  readonly examples: ExampleSource;
  /** Which examples when. */
  readonly order: Pick<BatchOrder, "at">;
  /** What the tower sees, whether it trains or not. */
  readonly features: Sight;
  /** Needed for distillation. */
  readonly teacher?: Teacher | undefined;
}

/** How to run. */
export interface RunOptions {
  /** Stops the work after the step at hand. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each step. */
  readonly onStep?: ((report: StepReport) => void) | undefined;
  /** Where the state is kept, and what it belongs to. */
  readonly checkpoint?: Checkpoint | undefined;
}

/** Trains to the end of the schedule and gives the reports of all steps, those before a resumption included. */
export async function train(
  training: Training,
  settings: TrainSettings,
  options: RunOptions = {},
): Promise<StepReport[]> {
  const trainer = new Trainer(training, settings);
  try {
    return await trainer.run(options);
  } finally {
    trainer.free();
  }
}

/** What one counted row, or number of a row, weighs in the step. */
interface Scales {
  readonly label: number;
  readonly compare: number;
  readonly match: number;
}

class Trainer {
  readonly #training: Training;
  readonly #settings: TrainSettings;
  readonly #tape: Tape;
  readonly #history: StepReport[] = [];
  #gamma: number | undefined;

  constructor(training: Training, settings: TrainSettings) {
    const { schedule: { steps }, gamma, refresh, losses } = settings;
    if (!Number.isInteger(steps) || steps < 0) {
      throw badRequest(`The number of training steps must be a whole number, not ${steps}.`);
    }
    if (!Number.isInteger(refresh) || refresh < 1) {
      throw badRequest(`Scales are refreshed every so many steps, from 1; found ${refresh}.`);
    }
    if (gamma !== "adaptive" && !(gamma >= 0 && gamma <= 1)) {
      throw badRequest(`Gamma must be "adaptive" or from 0 to 1, not ${gamma}.`);
    }
    if ((losses.distillWeight !== 0 || losses.matchWeight !== 0) && !training.teacher) {
      throw badRequest(
        "Distillation and feature match need a teacher; give one or set their weights to 0.",
      );
    }
    this.#training = training;
    this.#settings = settings;
    this.#gamma = gamma === "adaptive" ? undefined : gamma;
    this.#tape = new Tape(training.engine, training.parameters, {
      checkpoint: settings.checkpointBlocks,
    });
  }

  free(): void {
    this.#tape.free();
  }

  async run({ signal, onStep, checkpoint }: RunOptions): Promise<StepReport[]> {
    const { schedule: { steps }, refresh } = this.#settings;
    const { engine, parameters, optimiser, fakes } = this.#training;
    const tensors = [...parameters.all, ...optimiser.state];
    const state = checkpoint && await restore(engine.memory, checkpoint, tensors);
    if (state) {
      optimiser.steps = state.steps;
      this.#gamma = state.gamma ?? this.#gamma;
      this.#history.push(...state.history as StepReport[]);
    }
    const keep = async () => {
      const { steps } = optimiser;
      const state = { steps, gamma: this.#gamma, history: this.#history };
      if (checkpoint) await save(engine.memory, checkpoint, tensors, state);
    };
    let saved = optimiser.steps;
    while (optimiser.steps < steps) {
      // A resumed run computes the scales from the saved weights, so it has to start where they are due.
      const due = optimiser.steps % refresh === 0;
      if (signal?.aborted && due && optimiser.steps > saved) await keep();
      throwIfAborted(signal);
      if (checkpoint && due && optimiser.steps - saved >= checkpoint.every) {
        await keep();
        saved = optimiser.steps;
      }
      for (const fake of fakes) fake.see(due);
      const report = await this.#step(optimiser.steps);
      this.#history.push(report);
      onStep?.(report);
      // Lets signals and progress through.
      await new Promise((resolve) => setTimeout(resolve));
    }
    if (checkpoint && optimiser.steps > saved) await keep();
    for (const fake of fakes) fake.see();
    return this.#history;
  }

  async #step(step: number): Promise<StepReport> {
    const { parameters, optimiser, examples, order, fakes } = this.#training;
    const { schedule, losses, mask, clip } = this.#settings;
    parameters.zeroGradients();
    const parts = this.#parts(order.at(step)).map((part) => {
      const prompts = part.map((example) => examples.prompt(example));
      return { part, batch: batchOf(prompts, mask) };
    });
    const labelled = sum(parts, ({ batch }) => countValid(batch.labels));
    const compared = mask === "released"
      ? sum(parts, ({ part }) => part.length)
      : sum(parts, ({ batch }) => countValid(batch.compared));
    const matched = sum(parts, ({ batch }) => batch.at.length) *
      this.#training.vlm.language.table.columns;
    const share = (counted: number) => 1 / Math.max(1, counted);
    const scales = { label: share(labelled), compare: share(compared), match: share(matched) };
    const values = { label: 0, distill: 0, match: 0 };
    for (const { part, batch } of parts) {
      const own = await this.#pass(part, batch, scales);
      for (const name of ["label", "distill", "match"] as const) values[name] += own[name];
    }
    for (const fake of fakes) {
      const gradient = parameters.gradient(fake.weight.latent);
      if (!gradient) throw new LobitError("internal", `${fake.linear.name} does not train.`);
      fake.mask(gradient, fake.growths && parameters.gradient(fake.growths));
    }
    const gradientNorm = parameters.gradientNorm();
    const loss = losses.labelWeight * values.label + losses.distillWeight * values.distill +
      losses.matchWeight * values.match;
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
      throw badRequest(
        `Training diverged at step ${
          step + 1
        }: the loss is ${loss}, the gradient's norm ${gradientNorm}. ` +
          "Use a lower learning rate, or go on from an earlier checkpoint with one.",
      );
    }
    const rate = rateAt(schedule, step);
    optimiser.step(rate, clipFactor(gradientNorm, clip));
    const learningRate = rate * optimiser.lr;
    return { step: step + 1, steps: schedule.steps, loss, ...values, gradientNorm, learningRate };
  }

  /** Divides a batch so that no part has more tokens than allowed, unless one example alone has. */
  #parts(batch: readonly number[]): number[][] {
    const parts: number[][] = [];
    let tokens = 0;
    for (const example of batch) {
      const { length } = this.#training.examples.prompt(example).ids;
      if (parts.length === 0 || tokens + length > this.#settings.tokens) {
        parts.push([]);
        tokens = 0;
      }
      parts.at(-1)!.push(example);
      tokens += length;
    }
    return parts;
  }

  async #pass(part: number[], batch: Batch, scales: Scales): Promise<LossValues> {
    const { vlm, features, teacher } = this.#training;
    const { losses } = this.#settings;
    const tape = this.#tape;
    tape.reset();
    const looked = features.of(part, tape.arena, tape);
    const seen = looked && vlm.projector.project(tape, looked);
    const targets = seen && losses.matchWeight !== 0 && teacher?.rows(part, tape.arena);
    const match = targets ? putMatch(tape, seen, targets, scales.match, losses.matchWeight) : 0;
    let values = { label: 0, distill: 0 };
    if (losses.labelWeight !== 0 || losses.distillWeight !== 0) {
      const logits = predict(tape, vlm, batch, seen);
      const label = { labels: tape.integers(batch.labels), scale: scales.label };
      const teaching = await this.#teaching(part, batch, scales.compare);
      values = putLosses(tape, logits, label, teaching, losses);
    }
    tape.backward();
    return { ...values, match };
  }

  async #teaching(part: number[], batch: Batch, scale: number): Promise<Teaching | undefined> {
    const { teacher } = this.#training;
    if (!teacher || this.#settings.losses.distillWeight === 0) return undefined;
    const { arena } = this.#tape;
    return {
      logits: await teacher.of(part, arena),
      labels: this.#tape.integers(batch.compared),
      scale,
      gamma: this.#gamma ??= await this.#measureGamma(teacher),
    };
  }

  async #measureGamma(teacher: Teacher): Promise<number> {
    const { examples, order, engine } = this.#training;
    const { schedule, gammaSteps, mask } = this.#settings;
    const { arena } = this.#tape;
    let total = 0, number = 0;
    for (let step = 0; step < Math.min(schedule.steps, gammaSteps); step++) {
      for (const part of this.#parts(order.at(step))) {
        const mark = arena.mark();
        const batch = batchOf(part.map((example) => examples.prompt(example)), mask);
        const labels = this.#tape.integers(batch.labels);
        const sure = labelConfidence(engine, arena, await teacher.of(part, arena), labels);
        total += sure.sum;
        number += sure.count;
        arena.release(mark);
      }
    }
    return number > 0 ? total / number : 0.5;
  }
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
