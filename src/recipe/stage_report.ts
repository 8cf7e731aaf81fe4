// What a run tells while it works and when a stage is done.
import type { StepReport } from "../train/trainer.ts";
import type { BlockReport } from "./blocks.ts";
import type { RefitReport } from "./projector.ts";
import type { Method } from "./recipe.ts";

/** Progress of a run. */
export interface Progress {
  /** The part whose stage is being worked on. */
  readonly stage: string;
  /** Which stage that is, and how far it is. */
  readonly at: StageProgress;
  /** Bytes of shared memory in use. */
  readonly memory: number;
  /** The linear just finished, or the step. */
  readonly name: string;
  /** Weights done. */
  readonly done: number;
  /** Weights in all. */
  readonly total: number;
  /** The training step just finished, in stages that train. */
  readonly step?: StepReport;
}

/** How far a stage is. */
export interface StageProgress {
  /** Its number, from 1. */
  readonly place: number;
  /** Stages in all. */
  readonly places: number;
  /** Its weights that are done. */
  readonly done: number;
  /** All its weights. */
  readonly total: number;
}

/** What a stage did. */
export interface StageReport {
  /** Its part. */
  readonly part: string;
  /** Parts that learnt along, the projector left out. */
  readonly along?: readonly string[];
  /** Its method. */
  readonly method: Method;
  /** Seconds it took, in the run that finished it. */
  readonly seconds: number;
  /** Errors of every block, by calibrated methods. */
  readonly blocks: readonly BlockReport[];
  /** The projector's fit, if it had one. */
  readonly refit?: RefitReport | undefined;
  /** Share of weights that clipping moved. */
  readonly clipped?: number | undefined;
  /** Training steps. */
  readonly steps: readonly StepReport[];
  /** Whether it was taken over from another run that began alike. */
  readonly shared?: boolean;
}
