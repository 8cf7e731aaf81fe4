// SignRound: learns an offset V in [-1/2, 1/2] per weight and how far each group's range reaches, by the sign of the
// gradient with a step that falls to zero. Cheng et al., "AutoRound", 2024. Scales are put on the bilevel grid again in
// every step, so what is learnt is what is stored; gradients pass rounding as if it were not there.
import { type BilevelFormat, largestCode } from "../formats/format.ts";
import { type Grid, gridFrom, type Range, rangeOf, scalesOf, zeroOf } from "../formats/grid.ts";
import type { Coded } from "../formats/pack.ts";
import { roundCode } from "../formats/rounding.ts";
import type { Rounding } from "./learn_block.ts";

/** SignRound's numbers. */
export interface SignRoundOptions {
  /** First step as a share of what V and the factors may move; 1/steps is usual. */
  readonly lr: number;
  /** Smallest and largest share of its range that a group may reach; 0.3 and 1.5 by default. */
  readonly shares?: readonly [number, number];
}

/** One linear's learnt rounding and ranges. */
export class SignRound implements Rounding {
  readonly #format: BilevelFormat;
  readonly #rows: number;
  readonly #columns: number;
  readonly #weights: Float32Array;
  readonly #range: Range;
  readonly #offsets: Float32Array;
  readonly #lows: Float32Array;
  readonly #highs: Float32Array;
  readonly #lr: number;
  readonly #shares: readonly [number, number];

  /** Starts with rounding to nearest over `start`, or over the whole ranges. */
  constructor(
    format: BilevelFormat,
    rows: number,
    columns: number,
    weights: Float32Array,
    { lr, shares = [0.3, 1.5] }: SignRoundOptions,
    start?: Range,
  ) {
    this.#format = format;
    this.#rows = rows;
    this.#columns = columns;
    this.#weights = weights;
    const whole = rangeOf(rows, columns, format.group, weights);
    this.#range = {
      min: whole.min.map((value) => Math.min(0, value)),
      max: whole.max.map((value) => Math.max(0, value)),
    };
    this.#offsets = new Float32Array(weights.length);
    this.#shares = shares;
    const share = (of: Float32Array, whole: Float32Array) =>
      whole.map((value, i) => value === 0 ? 1 : this.#bounded(of[i]! / value));
    this.#lows = share(start?.min ?? this.#range.min, this.#range.min);
    this.#highs = share(start?.max ?? this.#range.max, this.#range.max);
    this.#lr = lr;
  }

  #grid(): Grid {
    const { min, max } = this.#range;
    return gridFrom(this.#format, this.#rows, this.#columns, {
      min: min.map((value, i) => value * this.#lows[i]!),
      max: max.map((value, i) => value * this.#highs[i]!),
    });
  }

  write(seen: Float32Array): void {
    const { grid, codes } = this.coded();
    const scales = scalesOf(grid);
    const { group } = this.#format;
    for (let i = 0; i < seen.length; i++) {
      const g = Math.floor(i / group);
      seen[i] = scales[g]! * (codes[i]! - zeroOf(grid, g));
    }
  }

  step(gradient: Float32Array, progress: number): void {
    const grid = this.#grid();
    const scales = scalesOf(grid);
    const largest = largestCode(this.#format);
    const { group } = this.#format;
    const rate = this.#lr * (1 - progress);
    for (let g = 0, i = 0; g < scales.length; g++) {
      const scale = scales[g]!;
      const zero = zeroOf(grid, g);
      let pull = 0; // gradient of the scale
      for (const end = i + group; i < end; i++) {
        const position = this.#weights[i]! / scale;
        const code = roundCode(position + this.#offsets[i]! + zero, largest);
        const free = position + zero >= -0.5 && position + zero <= largest + 0.5;
        pull += gradient[i]! * (code - zero - (free ? position : 0));
        if (!free) continue;
        const offset = this.#offsets[i]! - rate * Math.sign(gradient[i]!);
        this.#offsets[i] = Math.min(0.5, Math.max(-0.5, offset));
      }
      // s = (high·max - low·min) / largest, and max >= 0 >= min: both factors move with the scale.
      const move = rate * Math.sign(pull);
      if (this.#range.max[g]! > 0) this.#highs[g] = this.#bounded(this.#highs[g]! - move);
      if (this.#range.min[g]! < 0) this.#lows[g] = this.#bounded(this.#lows[g]! - move);
    }
  }

  #bounded(factor: number): number {
    const [least, most] = this.#shares;
    return Math.min(most, Math.max(least, factor));
  }

  coded(): Coded {
    const grid = this.#grid();
    const scales = scalesOf(grid);
    const largest = largestCode(this.#format);
    const { group } = this.#format;
    const codes = new Uint8Array(this.#weights.length);
    for (let g = 0, i = 0; g < scales.length; g++) {
      const inverse = 1 / scales[g]!;
      const zero = zeroOf(grid, g);
      for (const end = i + group; i < end; i++) {
        codes[i] = roundCode(this.#weights[i]! * inverse + this.#offsets[i]! + zero, largest);
      }
    }
    return { grid, codes };
  }
}
