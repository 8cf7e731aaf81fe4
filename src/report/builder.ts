// Collects a run's report while it runs. Recipe runners and trainers call it and need to know nothing of pages; it
// knows nothing of them. Times come from a clock that tests can replace.
import { badRequest } from "../base/errors.ts";
import {
  type Measured,
  REPORT_VERSION,
  type ReportAccuracy,
  type ReportBlock,
  type ReportMachine,
  type ReportPlan,
  type ReportSample,
  type ReportStage,
  type ReportStep,
  type RunReport,
} from "./report.ts";

/** What is known when a run begins. */
export interface ReportHead {
  /** The model, as it was named. */
  readonly model: string;
  /** Version of lobit. */
  readonly lobit: string;
  /** ISO 8601; default now. */
  readonly date?: string;
  /** Milliseconds that only grow; default performance.now. */
  readonly now?: () => number;
}

type Single = "machine" | "recipe" | "plan" | "file" | "peakMemory" | "accuracy";
type Facts = { -readonly [Name in Single]?: NonNullable<RunReport[Name]> };

interface OpenStage {
  name: string;
  part: string | undefined;
  start: number;
  blocks: ReportBlock[];
  curve: ReportStep[];
  notes: string[];
}

/** Collects a {@linkcode RunReport}. */
export class ReportBuilder {
  readonly #head: { model: string; lobit: string; date: string };
  readonly #now: () => number;
  readonly #stages: ReportStage[] = [];
  readonly #timings: { name: string; seconds: number }[] = [];
  readonly #samples: ReportSample[] = [];
  readonly #warnings: string[] = [];
  #facts: Facts = {};
  #open: OpenStage | undefined;

  /** Begins a report. */
  constructor(head: ReportHead) {
    const { model, lobit, date = new Date().toISOString() } = head;
    this.#head = { model, lobit, date };
    this.#now = head.now ?? (() => performance.now());
  }

  /** Says what the run takes place on. */
  machine(machine: ReportMachine): void {
    this.#facts.machine = machine;
  }

  /** Says what is done; the whole recipe goes into the report. */
  recipe(recipe: { readonly name: string }): void {
    this.#facts.recipe = recipe;
  }

  /** Says what becomes of each weight. */
  plan(plan: ReportPlan): void {
    this.#facts.plan = plan;
  }

  /** Adds measured errors to the plan's weights, by name. */
  weightErrors(errors: ReadonlyMap<string, number>): void {
    const { plan } = this.#facts;
    if (!plan) {
      throw badRequest("A report's plan has to be given before the errors of its weights.");
    }
    const weights = plan.weights.map((weight) => {
      const error = errors.get(weight.name);
      return error === undefined ? weight : { ...weight, error: measured(error) };
    });
    this.#facts.plan = { ...plan, weights };
  }

  /** Begins a stage; the one before ends here, if it has not ended. */
  stage(name: string, part?: string): void {
    this.endStage();
    this.#open = { name, part, start: this.#now(), blocks: [], curve: [], notes: [] };
  }

  /** A block's errors, squared and relative: rounded to nearest, and as the stage left it. */
  block(name: string, errorBefore: number, errorAfter: number): void {
    const errors = { errorBefore: measured(errorBefore), errorAfter: measured(errorAfter) };
    this.#stage("block").blocks.push({ name, ...errors });
  }

  /** A training step's losses by name. */
  step(step: number, losses: Readonly<Record<string, number>>, learningRate?: number): void {
    const finite = Object.entries(losses).map(([name, value]) => [name, measured(value)]);
    this.#stage("step").curve.push({
      step,
      losses: Object.fromEntries(finite),
      ...(learningRate !== undefined && { learningRate: measured(learningRate) }),
    });
  }

  /** A remark on the stage. */
  note(text: string): void {
    this.#stage("note").notes.push(text);
  }

  /** Ends the stage; its time is the clock's unless `seconds` is given. Does nothing when none is open. */
  endStage(seconds?: number): void {
    const stage = this.#open;
    if (!stage) return;
    const { name, part, start, blocks, curve, notes } = stage;
    this.#stages.push({
      name,
      ...(part !== undefined && { part }),
      seconds: seconds ?? (this.#now() - start) / 1000,
      blocks,
      curve,
      notes,
    });
    this.#open = undefined;
  }

  /** Times a piece of the work that is no stage. */
  async time<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const start = this.#now();
    const result = await work();
    this.#timings.push({ name, seconds: (this.#now() - start) / 1000 });
    return result;
  }

  /** The packed file. */
  file(name: string, bytes: number): void {
    this.#facts.file = { name, bytes };
  }

  /** Most bytes of shared memory in use at any time. */
  peakMemory(bytes: number): void {
    this.#facts.peakMemory = bytes;
  }

  /** Accuracy before and after. */
  accuracy(accuracy: ReportAccuracy): void {
    this.#facts.accuracy = accuracy;
  }

  /** Answers to one question. */
  sample(sample: ReportSample): void {
    this.#samples.push(sample);
  }

  /** What the user should know. */
  warn(text: string): void {
    this.#warnings.push(text);
  }

  /** The report so far; an open stage ends. */
  finish(): RunReport {
    this.endStage();
    return {
      lobitReport: REPORT_VERSION,
      ...this.#head,
      ...this.#facts,
      timings: [...this.#timings],
      stages: [...this.#stages],
      samples: [...this.#samples],
      warnings: [...this.#warnings],
    };
  }

  #stage(what: string): OpenStage {
    if (!this.#open) throw badRequest(`A report's ${what} belongs to a stage, and none is open.`);
    return this.#open;
  }
}

function measured(value: number): Measured {
  return Number.isFinite(value) ? value : null;
}
