// Losses, their values and gradients. Label loss: cross-entropy with smoothing, mean over the tokens to
// predict. Distillation (SPEED-Q): gamma * KL(student || teacher) + (1 - gamma) * KL(teacher || student).
// Feature match: mean squared difference of the rows that the two projectors put out.
import type { Arena } from "../tensor/arena.ts";
import { count, floats, rows, type Tensor, width } from "../tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";
import type { Recorder } from "./recorder.ts";

/** What the losses weigh. */
export interface LossSettings {
  /** Of the label loss; 0 leaves it out. */
  readonly labelWeight: number;
  /** Share of the label loss spread evenly over the vocabulary. */
  readonly smoothing: number;
  /** Of distillation; 0 leaves it out. */
  readonly distillWeight: number;
  /** Of the feature match; 0 leaves it out. */
  readonly matchWeight: number;
  /** Logits of both are divided by this; the loss is multiplied by its square, so that gradients keep their size. */
  readonly temperature: number;
}

/** Rows that a loss counts, and what one of them weighs. */
export interface Counted {
  /** i32 [rows]; negative where the row is left out, else the label. */
  readonly labels: Tensor;
  /** For a mean over tokens 1 / tokens; for the released form 1 / sequences. */
  readonly scale: number;
}

/** Teacher's side of distillation. */
export interface Teaching extends Counted {
  /** f32 [rows, vocabulary]. */
  readonly logits: Tensor;
  /** Share of KL(student || teacher). */
  readonly gamma: number;
}

/** What the losses came to, unweighted. */
export interface LossValues {
  /** Label loss. */
  readonly label: number;
  /** Distillation. */
  readonly distill: number;
  /** Feature match. */
  readonly match: number;
}

/** Puts the gradient of the losses on the logits f32 [rows, vocabulary] and gives their values. */
export function putLosses(
  tape: Recorder,
  logits: Tensor,
  label: Counted,
  teaching: Teaching | undefined,
  settings: LossSettings,
): Omit<LossValues, "match"> {
  const gradient = tape.gradient(logits);
  const { engine, arena } = tape;
  const values = { label: 0, distill: 0 };
  if (settings.labelWeight !== 0) {
    values.label = labelLoss(engine, arena, logits, gradient, label, settings);
  }
  if (teaching && settings.distillWeight !== 0) {
    values.distill = distillLoss(engine, arena, logits, gradient, teaching, settings);
  }
  return values;
}

function labelLoss(
  engine: Engine,
  arena: Arena,
  logits: Tensor,
  gradient: Tensor,
  { labels, scale }: Counted,
  { labelWeight, smoothing }: LossSettings,
): number {
  const losses = arena.tensor([rows(logits)]);
  const shape = [rows(logits), width(logits)] as const;
  const places = [losses.ptr, gradient.ptr, logits.ptr, labels.ptr] as const;
  const weight = labelWeight * scale;
  // Writes the gradient, so it comes before distillation, which adds.
  kernels.crossEntropy(engine, ...places, ...shape, { smoothing, weight });
  return scale * sum(engine, losses);
}

function distillLoss(
  engine: Engine,
  arena: Arena,
  logits: Tensor,
  gradient: Tensor,
  { logits: teacher, labels, scale, gamma }: Teaching,
  { distillWeight, temperature }: LossSettings,
): number {
  const [forward, reverse] = [arena.tensor([rows(logits)]), arena.tensor([rows(logits)])];
  const softer = (tensor: Tensor) =>
    temperature === 1 ? tensor : divided(engine, arena, tensor, temperature);
  // One division by the temperature comes from the logits, two multiplications from the loss.
  const weight = distillWeight * scale * temperature;
  kernels.klBoth(
    engine,
    forward.ptr,
    reverse.ptr,
    gradient.ptr,
    softer(logits).ptr,
    softer(teacher).ptr,
    labels.ptr,
    rows(logits),
    width(logits),
    { gamma, weight },
  );
  const both = gamma * sum(engine, reverse) + (1 - gamma) * sum(engine, forward);
  return scale * temperature ** 2 * both;
}

/**
 * Puts the gradient of the feature match on a student's rows and gives its value.
 *
 * @param scale 1 / numbers in all rows of the step.
 */
export function putMatch(
  tape: Recorder,
  rows: Tensor,
  targets: Tensor,
  scale: number,
  weight: number,
): number {
  const { engine, arena } = tape;
  const gap = divided(engine, arena, targets, -1);
  kernels.addInto(engine, gap.ptr, rows.ptr, count(rows));
  const squares = kernels.sumSquares(engine, gap.ptr, count(gap));
  kernels.scaleInto(engine, gap.ptr, 2 * scale * weight, count(gap));
  kernels.addInto(engine, tape.gradient(rows).ptr, gap.ptr, count(gap));
  return scale * squares;
}

function divided(engine: Engine, arena: Arena, tensor: Tensor, by: number): Tensor {
  const copy = arena.tensor(tensor.shape);
  kernels.appendRows(engine, copy.ptr, tensor.ptr, rows(tensor), 4 * width(tensor));
  kernels.scaleInto(engine, copy.ptr, 1 / by, count(copy));
  return copy;
}

function sum(engine: Engine, values: Tensor): number {
  return floats(engine.memory, values).reduce((sum, value) => sum + value, 0);
}

/**
 * How sure the teacher is of the labels: its probability of each counted label, added up, and their number. Their mean
 * over some batches is the adaptive gamma.
 */
export function labelConfidence(
  engine: Engine,
  arena: Arena,
  teacher: Tensor,
  labels: Tensor,
): { sum: number; count: number } {
  const mark = arena.mark();
  const confidence = arena.tensor([rows(teacher)]);
  const sizes = [rows(teacher), width(teacher)] as const;
  kernels.labelConfidence(engine, confidence.ptr, teacher.ptr, labels.ptr, ...sizes);
  const total = sum(engine, confidence);
  arena.release(mark);
  const valid = engine.memory.i32(labels.ptr, count(labels)).filter((label) => label >= 0).length;
  return { sum: total, count: valid };
}
