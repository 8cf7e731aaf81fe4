// Asymmetric clip search: per row and group of columns the pair of shrink factors (1.00, 0.95, … 0.55 of largest and
// smallest weight) whose plain group quantizer least disturbs what the group adds to the output. Du et al.,
// "BitDistiller", 2024, as SPEED-Q uses it. With E = w - ŵ that disturbance is E·G·Eᵀ, G the group's block of H.
import { throwIfAborted } from "../base/errors.ts";
import { largestCode } from "../formats/format.ts";
import { codesOn, gridFrom, type Range, rangeOf } from "../formats/grid.ts";
import type { Coded } from "../formats/pack.ts";
import { roundCode, roundEven } from "../formats/rounding.ts";
import { symmetricGrid } from "../formats/symmetric.ts";
import type { Task } from "./task.ts";

/** Shrink factors per side. */
const FACTORS = 10;
/** As the released code has it; keeps an all-zero group from dividing by zero. */
const SMALLEST = 1e-5;

/**
 * The clipped range of every group, [rows, columns / group].
 *
 * @param largest largest code of the trial quantizer.
 */
export function clipSearch(
  task: Pick<Task, "weights" | "rows" | "columns" | "hessian" | "signal">,
  group: number,
  largest: number,
): Range {
  const { weights, rows, columns, hessian } = task;
  const range = rangeOf(rows, columns, group, weights);
  const trial = new Trial(group, largest);
  for (let first = 0, g = 0; first < columns; first += group, g++) {
    throwIfAborted(task.signal);
    trial.gram(hessian, columns, first);
    for (let row = 0; row < rows; row++) {
      const i = row * (columns / group) + g;
      const found = trial.best(weights, row * columns + first, range.min[i]!, range.max[i]!);
      range.min[i] = found.low;
      range.max[i] = found.high;
    }
  }
  return range;
}

/** Rounds to nearest over clipped ranges. Symmetric formats search their own scale. */
export function roundSearched(task: Task): Coded {
  const { weights, rows, columns, format } = task;
  const grid = format.kind === "symmetric"
    ? symmetricGrid(format, rows, columns, weights)
    : gridFrom(format, rows, columns, clipSearch(task, format.group, largestCode(format)));
  return { grid, codes: codesOn(grid, weights) };
}

/** One row's group at a time. */
class Trial {
  readonly #group: number;
  readonly #largest: number;
  readonly #gram: Float64Array;
  readonly #miss: Float64Array;

  constructor(group: number, largest: number) {
    this.#group = group;
    this.#largest = largest;
    this.#gram = new Float64Array(group * group);
    this.#miss = new Float64Array(group);
  }

  gram(hessian: Float32Array, columns: number, first: number): void {
    for (let i = 0; i < this.#group; i++) {
      const start = (first + i) * columns + first;
      this.#gram.set(hessian.subarray(start, start + this.#group), i * this.#group);
    }
  }

  best(weights: Float32Array, at: number, min: number, max: number): { low: number; high: number } {
    let least = Infinity;
    const found = { low: min, high: max };
    for (let p = 0; p < FACTORS; p++) {
      for (let n = 0; n < FACTORS; n++) {
        const [low, high] = [min * (1 - 0.05 * n), max * (1 - 0.05 * p)];
        const error = this.#error(weights, at, min, max, low, high, least);
        if (error >= least) continue;
        least = error;
        found.low = low;
        found.high = high;
      }
    }
    return found;
  }

  /** The disturbance, or anything not below `least` once that is certain. */
  #error(
    weights: Float32Array,
    at: number,
    min: number,
    max: number,
    low: number,
    high: number,
    least: number,
  ): number {
    const largest = this.#largest;
    const clip = (value: number) => value < low ? low : value > high ? high : value;
    const [bottom, top] = [clip(min), clip(max)];
    const scale = Math.max(SMALLEST, (top - bottom) / largest);
    const zero = Math.min(largest, Math.max(0, -roundEven(bottom / scale)));
    for (let j = 0; j < this.#group; j++) {
      const value = weights[at + j]!;
      const code = roundCode(roundEven(clip(value) / scale) + zero, largest);
      this.#miss[j] = value - scale * (code - zero);
    }
    let error = 0;
    for (let j = 0; j < this.#group && error < Infinity; j++) {
      let sum = 0;
      for (let k = 0; k < this.#group; k++) {
        sum += this.#gram[j * this.#group + k]! * this.#miss[k]!;
      }
      error += sum * this.#miss[j]!;
    }
    return error < least ? error : Infinity;
  }
}
