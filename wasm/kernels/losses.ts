// Losses over rows of vocabulary logits, with gradients. Labels belong to the logits of the same row: shifting by one
// token is the caller's, and so is dividing by the number of valid rows (through `weight`). A negative label (-100)
// leaves its row out.
import { badRequest } from "../../src/base/errors.ts";
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import type { Ptr } from "../memory.ts";

/** Labels index logits: one beyond the vocabulary would read another row. */
function checkLabels(engine: Engine, labels: Ptr, rows: number, vocab: number): void {
  const view = engine.memory.i32(labels, rows);
  const at = view.findIndex((label) => label >= vocab);
  if (at >= 0) {
    throw badRequest(
      `Labels must be below the vocabulary size ${vocab}, but row ${at} has ${view[at]}.`,
    );
  }
}

/** How {@linkcode crossEntropy} weighs. */
export interface CrossEntropy {
  /** Share of the loss spread evenly over the vocabulary, as transformers' LabelSmoother; 0 for none. */
  smoothing: number;
  /** Scale of the gradient, for example 1 / valid rows. */
  weight: number;
}

/**
 * losses[r] = (1 - smoothing) · -log p[label] + smoothing · mean(-log p), unweighted, 0 for rows left out.
 * dlogits (unless NULL) is written: weight times the gradient, 0 for rows left out; it may be the logits' own place.
 */
export function crossEntropy(
  engine: Engine,
  losses: Ptr,
  dlogits: Ptr,
  logits: Ptr,
  labels: Ptr,
  rows: number,
  vocab: number,
  options: CrossEntropy,
): void {
  checkLabels(engine, labels, rows, vocab);
  engine.call(Op.CrossEntropy, rows, 8192 / vocab, [
    ...[losses, dlogits, logits, labels, vocab],
  ], [options.smoothing, options.weight]);
}

/** out[r] = the probability of the row's label, 0 for rows left out. */
export function labelConfidence(
  engine: Engine,
  out: Ptr,
  logits: Ptr,
  labels: Ptr,
  rows: number,
  vocab: number,
): void {
  checkLabels(engine, labels, rows, vocab);
  const grain = 8192 / vocab;
  engine.call(Op.LabelConfidence, rows, grain, [out, logits, labels, vocab]);
}

/** How {@linkcode klBoth} weighs. */
export interface KlBoth {
  /** Share of KL(student‖teacher); the rest goes to KL(teacher‖student). */
  gamma: number;
  /** Scale of the gradient, for example 1 / valid rows. */
  weight: number;
}

/**
 * forward[r] = KL(teacher‖student) and reverse[r] = KL(student‖teacher), unweighted, 0 for rows left out.
 * dlogits (unless NULL) gets added weight · (gamma · d reverse + (1 - gamma) · d forward) by the student's logits.
 * `labels` only say which rows count.
 */
export function klBoth(
  engine: Engine,
  forward: Ptr,
  reverse: Ptr,
  dlogits: Ptr,
  student: Ptr,
  teacher: Ptr,
  labels: Ptr,
  rows: number,
  vocab: number,
  options: KlBoth,
): void {
  engine.call(Op.KlBoth, rows, 4096 / vocab, [
    ...[forward, reverse, dlogits, student, teacher, labels, vocab],
  ], [options.gamma, options.weight]);
}
