// How the learning rate goes: up in a line over a share of the steps, then down along a half cosine to zero.
import { badRequest } from "../base/errors.ts";

/** A learning rate's course. */
export interface Schedule {
  /** Steps in all. */
  readonly steps: number;
  /** Share of the steps that warm up, 0 to 1. */
  readonly warmup: number;
  /** What follows. */
  readonly shape: "cosine" | "linear" | "constant";
}

/** Share of the peak learning rate at a step counted from 0. The first step is above zero, so that none is lost. */
export function rateAt({ steps, warmup, shape }: Schedule, step: number): number {
  if (!(warmup >= 0 && warmup <= 1)) {
    throw badRequest(`The share of warm-up steps must be from 0 to 1, not ${warmup}.`);
  }
  const rising = Math.ceil(warmup * steps);
  if (step < rising) return (step + 1) / (rising + 1);
  if (shape === "constant") return 1;
  const done = (step - rising) / Math.max(1, steps - rising);
  return shape === "linear" ? 1 - done : 0.5 * (1 + Math.cos(Math.PI * done));
}
