// How the training stages train, as plain data: what a recipe holds and a person can change. Defaults are SPEED-Q's
// (AAAI-26, and its released code) where it says something, except for batches and learning rates, which follow
// the models' size.
import { badRequest } from "../../base/errors.ts";
import type { ScaleSource } from "../../train/fake_quant.ts";
import type { TrainSettings } from "../../train/trainer.ts";

/** Settings of a training stage. */
export interface TrainingSettings {
  /** Optimiser steps. */
  readonly steps: number;
  /** Conversations per step. */
  readonly batch: number;
  /** Peak learning rate. */
  readonly lr: number;
  /** Peak learning rate of the projector in the language stage; `lr` if not given. */
  readonly projectorLr?: number | undefined;
  /** Peak learning rate of the vision tower where it learns along; `lr` if not given. */
  readonly visionLr?: number | undefined;
  /** Peak learning rate of scales where they are learned, relative to where each one started. */
  readonly scaleLr: number;
  /** Share of the steps that warm up. */
  readonly warmup: number;
  /** How the learning rate goes on. */
  readonly shape: "cosine" | "linear" | "constant";
  /** Decoupled weight decay. */
  readonly decay: number;
  /** Longest gradient norm; 0 for no limit. */
  readonly clip: number;
  /** Weight of the label loss. */
  readonly label: number;
  /** Its smoothing. */
  readonly smoothing: number;
  /** Weight of distillation; 0 needs no teacher. */
  readonly distill: number;
  /** Weight of the match of the projector's output with the full-precision one's; 0 leaves it out. */
  readonly match: number;
  /** Divides the logits that distillation compares. */
  readonly temperature: number;
  /** Share of KL(student || teacher), or "adaptive": the teacher's mean probability of the labels. */
  readonly gamma: number | "adaptive";
  /** Which positions distillation compares: those the label loss reads, or those of SPEED-Q's released code. */
  readonly mask: "shifted" | "released";
  /** Where scales come from: the weights' range, as they were at the start, or learned. */
  readonly scales: ScaleSource;
  /** Steps between two updates of scales that follow the range or are learned. */
  readonly refresh: number;
  /** How many steps of the grid beyond a group's range a weight may lie and still be moved. */
  readonly slack: number;
  /** Most tokens in one pass; larger batches add up gradients. */
  readonly tokens: number;
  /** Keeps only blocks' inputs and computes the rest twice, where memory is short. */
  readonly checkpointBlocks: boolean;
  /** Teacher logits kept per token: all while they fit, or so many. */
  readonly teacherTop: number | "auto";
  /** Seed of the order of the data. */
  readonly seed: number;
}

/** Stage 3: language model and projector, label loss and distillation. */
export const LANGUAGE_TRAINING: TrainingSettings = {
  steps: 160,
  batch: 32,
  lr: 3e-4,
  warmup: 0.03,
  shape: "cosine",
  decay: 0.01,
  clip: 1,
  label: 1,
  smoothing: 0,
  distill: 1,
  match: 0,
  temperature: 1,
  gamma: "adaptive",
  mask: "shifted",
  scales: "range",
  scaleLr: 1e-3,
  refresh: 1,
  slack: 0,
  tokens: 4096,
  checkpointBlocks: false,
  teacherTop: "auto",
  seed: 0,
};

/** Stage 2: the projector alone, on labels. */
export const PROJECTOR_TRAINING: TrainingSettings = {
  ...LANGUAGE_TRAINING,
  steps: 40,
  distill: 0,
};

/** First steps whose batches the adaptive gamma is measured on. */
const GAMMA_STEPS = 8;

/** Every mistake in the settings, as sentences. */
export function settingsProblems(settings: TrainingSettings): string[] {
  const problems: string[] = [];
  const whole = (name: "steps" | "batch" | "refresh" | "tokens" | "seed", least: number) => {
    const value = settings[name];
    if (!Number.isSafeInteger(value) || value < least) {
      problems.push(`${name} must be a whole number from ${least}, not ${value}`);
    }
  };
  const range = (name: string, value: number, least: number, most = Infinity) => {
    if (!(value >= least && value <= most && Number.isFinite(value))) {
      const limit = most === Infinity ? `at least ${least}` : `from ${least} to ${most}`;
      problems.push(`${name} must be a number ${limit}, not ${value}`);
    }
  };
  whole("steps", 0);
  whole("batch", 1);
  whole("refresh", 1);
  whole("tokens", 1);
  whole("seed", 0);
  const { lr, projectorLr = lr, visionLr = lr, gamma, temperature, teacherTop } = settings;
  range("lr", lr, 0);
  range("projectorLr", projectorLr, 0);
  range("visionLr", visionLr, 0);
  range("scaleLr", settings.scaleLr, 0);
  range("warmup", settings.warmup, 0, 1);
  range("decay", settings.decay, 0);
  range("clip", settings.clip, 0);
  range("label", settings.label, 0);
  range("smoothing", settings.smoothing, 0, 1);
  range("distill", settings.distill, 0);
  range("match", settings.match, 0);
  range("slack", settings.slack, 0);
  if (gamma !== "adaptive") range("gamma", gamma, 0, 1);
  if (!(temperature > 0 && temperature < Infinity)) {
    problems.push(`temperature must be above 0, not ${temperature}`);
  }
  if (teacherTop !== "auto" && !(Number.isInteger(teacherTop) && teacherTop >= 1)) {
    problems.push(`teacherTop must be "auto" or a whole number from 1, not ${teacherTop}`);
  }
  if (settings.label === 0 && settings.distill === 0 && settings.match === 0) {
    problems.push("label, distill and match are all 0, so there is nothing to train on");
  }
  const among = (name: "shape" | "mask" | "scales", choices: readonly string[]) => {
    const value: string = settings[name];
    if (!choices.includes(value)) {
      problems.push(`${name} must be one of ${choices.join(", ")}, not ${value}`);
    }
  };
  among("shape", ["cosine", "linear", "constant"]);
  among("mask", ["shifted", "released"]);
  among("scales", ["range", "kept", "learned"]);
  return problems;
}

/** What the loop needs of the settings. Throws one `bad-request` error that lists every mistake. */
export function loopSettings(settings: TrainingSettings): TrainSettings {
  const problems = settingsProblems(settings);
  if (problems.length > 0) {
    throw badRequest(`These training settings cannot be used:\n- ${problems.join("\n- ")}`);
  }
  const { steps, warmup, shape, label, smoothing, distill, match, temperature } = settings;
  const { gamma, mask, clip, refresh, tokens, checkpointBlocks } = settings;
  return {
    schedule: { steps, warmup, shape },
    losses: {
      ...{ labelWeight: label, smoothing, temperature },
      ...{ distillWeight: distill, matchWeight: match },
    },
    ...{ gamma, gammaSteps: GAMMA_STEPS, mask, clip, refresh, tokens, checkpointBlocks },
  };
}
