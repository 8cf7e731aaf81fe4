// What a quantization run did, as plain data: the JSON that `--report` writes and the page is made from. What a recipe
// has no such thing of is missing or empty. Numbers that are none (a loss that diverged) are null, as JSON has them.
import type { ScoreTable } from "../data/score.ts";

export type { ScoreTable };

/** A measured number; null where the measurement gave no finite number. */
export type Measured = number | null;

/** Version of the JSON; a reader checks it first, it is the first key of the file. */
export const REPORT_VERSION = 1;

/** A run. */
export interface RunReport {
  /** {@linkcode REPORT_VERSION}. */
  readonly lobitReport: typeof REPORT_VERSION;
  /** The model, as it was named. */
  readonly model: string;
  /** When the run began, ISO 8601. */
  readonly date: string;
  /** Version of lobit. */
  readonly lobit: string;
  /** What it ran on. */
  readonly machine?: ReportMachine;
  /** The recipe: its name, and all of it as data. */
  readonly recipe?: { readonly name: string };
  /** What became of each weight. */
  readonly plan?: ReportPlan;
  /** The packed file, if one was written. */
  readonly file?: { readonly name: string; readonly bytes: number };
  /** Most bytes of shared memory in use at any time. */
  readonly peakMemory?: number;
  /** Seconds of the pieces of the work, in order. */
  readonly timings: readonly { readonly name: string; readonly seconds: number }[];
  /** The recipe's stages as they ran. */
  readonly stages: readonly ReportStage[];
  /** Before and after on the same items. */
  readonly accuracy?: ReportAccuracy;
  /** Answers side by side. */
  readonly samples: readonly ReportSample[];
  /** What the user should know. */
  readonly warnings: readonly string[];
}

/** Where a run took place. */
export interface ReportMachine {
  /** Threads that computed. */
  readonly threads: number;
  /** Build of the kernels. */
  readonly build: string;
  /** Runtime or host, if known. */
  readonly host?: string;
}

/** Sizes of a model before and after, in bytes of its tensors. */
export interface ReportPlan {
  /** All tensors before. */
  readonly bytesBefore: number;
  /** All tensors in the packed file. */
  readonly bytes: number;
  /** Norms, biases and other vectors in the packed file. */
  readonly vectorBytes: number;
  /** Of all linears in the packed file. */
  readonly bitsPerWeight: number;
  /** Sums over the linears of each part. */
  readonly parts: readonly ReportPart[];
  /** Every linear. */
  readonly weights: readonly ReportWeight[];
}

/** Sums over a part's linears. */
export interface ReportPart {
  /** vision, projector or language. */
  readonly name: string;
  /** Number of linears. */
  readonly linears: number;
  /** Number of their weights. */
  readonly weights: number;
  /** 8 * bytes / weights. */
  readonly bitsPerWeight: number;
  /** Formats in use; `kept` for linears that did not change. */
  readonly formats: readonly string[];
  /** Bytes before. */
  readonly bytesBefore: number;
  /** Bytes in the packed file. */
  readonly bytes: number;
}

/** One linear. */
export interface ReportWeight {
  /** Its name. */
  readonly name: string;
  /** Its part. */
  readonly part: string;
  /** Outputs. */
  readonly rows: number;
  /** Inputs. */
  readonly columns: number;
  /** Short name of its format, or `kept`. */
  readonly format: string;
  /** Bits per weight in the packed file. */
  readonly bits: number;
  /** Bytes in the packed file. */
  readonly bytes: number;
  /** Squared difference from the weights it was made of, relative to their squares. */
  readonly error?: Measured;
}

/** A stage as it ran. */
export interface ReportStage {
  /** What it did, for people. */
  readonly name: string;
  /** The part it changed. */
  readonly part?: string;
  /** How long it took. */
  readonly seconds: number;
  /** Errors of the blocks it went through. */
  readonly blocks: readonly ReportBlock[];
  /** Losses by training step. */
  readonly curve: readonly ReportStep[];
  /** What else is to be said. */
  readonly notes: readonly string[];
}

/** A block's output against full precision: squared difference relative to the squares. */
export interface ReportBlock {
  /** Its name. */
  readonly name: string;
  /** With its linears rounded to nearest. */
  readonly errorBefore: Measured;
  /** As the stage left it. */
  readonly errorAfter: Measured;
}

/** A training step. */
export interface ReportStep {
  /** Counted from 1. */
  readonly step: number;
  /** Losses by name. */
  readonly losses: Readonly<Record<string, Measured>>;
  /** Learning rate of the step. */
  readonly learningRate?: Measured;
}

/** Accuracy on the same items. */
export interface ReportAccuracy {
  /** The data. */
  readonly data: string;
  /** Full precision. */
  readonly before: ScoreTable;
  /** The packed file. */
  readonly after: ScoreTable;
  /** Round to nearest in the same formats, where the recipe is another. */
  readonly roundToNearest?: ScoreTable;
  /** How many items are right before and after. */
  readonly outcomes?: ReportOutcomes;
}

/** Numbers of items by whether they are right before and after. */
export interface ReportOutcomes {
  /** Right before and after. */
  readonly kept: number;
  /** Right before only. */
  readonly lost: number;
  /** Right after only. */
  readonly gained: number;
  /** Wrong before and after. */
  readonly missed: number;
}

/** A question with its answers. */
export interface ReportSample {
  /** What was asked. */
  readonly question: string;
  /** Small pictures as `data:image/jpeg` or `data:image/png` URLs; see smallPicture. */
  readonly pictures: readonly string[];
  /** The right answer. */
  readonly reference: string;
  /** Full precision's answer. */
  readonly before: ReportAnswer;
  /** The packed file's answer. */
  readonly after: ReportAnswer;
}

/** An answer. */
export interface ReportAnswer {
  /** Its text. */
  readonly text: string;
  /** Whether it counts as right. */
  readonly correct: boolean;
}

/** The JSON file's text. */
export function reportJson(report: RunReport): string {
  return JSON.stringify(report, undefined, 1) + "\n";
}

/** Whether a file begins as {@linkcode reportJson} writes it, so that no other file is replaced by a report. */
export function isReportJson(text: string): boolean {
  return /^\{\s*"lobitReport"\s*:\s*\d/.test(text);
}
