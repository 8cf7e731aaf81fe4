// The calibrated methods by name: each turns one linear's task into codes on the stored grid.
import { roundSearched } from "./clip.ts";
import { descend } from "./descend.ts";
import { gptq } from "./gptq.ts";
import { AdaRound } from "./ada_round.ts";
import { GroupGrid } from "./group_grid.ts";
import type { Rounding } from "./learn_block.ts";
import { roundToNearest } from "./round.ts";
import { SignRound } from "./sign_round.ts";
import { codesOn, scalesOf, zeroOf } from "../formats/grid.ts";
import { largestCode } from "../formats/format.ts";
import type { Coded } from "../formats/pack.ts";
import type { Quantizer, Task } from "./task.ts";

/** Methods that need calibration inputs. */
export type CalibratedMethod =
  /** Clip search by calibration inputs, then round to nearest. */
  | "clip"
  /** Rounding with error feedback. */
  | "gptq"
  /** Channel scales folded into what comes before, clip search, round to nearest. */
  | "awq"
  /** Weighted search of scales, error feedback, coordinate descent, inputs matched to the teacher's. */
  | "fast"
  /** Weighted search of scales, then AdaRound on the block's output. */
  | "ada-round"
  /** Weighted search of scales, then SignRound on the block's output. */
  | "sign-round";

/** How a calibrated method treats a block. */
export interface MethodPlan {
  /** Turns a linear into codes. */
  readonly quantize: Quantizer;
  /** Scales channels by calibration inputs before, where the block declares how. */
  readonly equalize: boolean;
  /** Fits weights and biases to the teacher's outputs before and after, instead of only to their own inputs. */
  readonly match: boolean;
  /** Counts every token's error relative to the size of its hidden state, not by its size. */
  readonly evenTokens?: boolean | undefined;
  /** Learns on from what `quantize` found; a block at a time, by the gradient of its output. */
  readonly learn?: ((start: Coded, weights: Float32Array, steps: number) => Rounding) | undefined;
}

/** Gradient steps per block where a recipe says nothing. */
export const DEFAULT_STEPS: number = 120;

/** What each method does. */
export const CALIBRATED: Readonly<Record<CalibratedMethod, MethodPlan>> = {
  clip: { quantize: roundSearched, equalize: false, match: false },
  gptq: {
    quantize: (task) => gptq(task, { staticGroups: false, activationOrder: true }),
    equalize: false,
    match: false,
  },
  awq: { quantize: roundSearched, equalize: true, match: false },
  fast: {
    quantize: (task) => descend(task, gptq(task)),
    equalize: false,
    match: true,
    evenTokens: true,
  },
  "ada-round": {
    quantize: roundWeighted,
    equalize: false,
    match: false,
    learn: ({ grid }, weights) => new AdaRound(grid, weights),
  },
  "sign-round": {
    quantize: roundWeighted,
    equalize: false,
    match: false,
    learn: signRound,
  },
};

/** Rounds to nearest on a grid searched with the inputs' mean squares as weights of the errors. */
export function roundWeighted(task: Task): Coded {
  const { weights, rows, columns, format, hessian } = task;
  if (format.kind === "symmetric") return roundToNearest(weights, rows, columns, format);
  const { group } = format;
  const building = new GroupGrid(format, rows, columns, weights);
  const values = new Float32Array(rows * group);
  for (let first = 0; first < columns; first += group) {
    const importance = Float64Array.from(
      { length: group },
      (_, j) => hessian[(first + j) * (columns + 1)]!,
    );
    for (let row = 0; row < rows; row++) {
      const start = row * columns + first;
      values.set(weights.subarray(start, start + group), row * group);
    }
    building.fix(first / group, values, importance);
  }
  return { grid: building.grid, codes: codesOn(building.grid, weights) };
}

/** SignRound from the ranges of a start; on symmetric grids, which have no range to learn, AdaRound. */
function signRound({ grid }: Coded, weights: Float32Array, steps: number): Rounding {
  const { format, rows, columns } = grid;
  if (format.kind === "symmetric") return new AdaRound(grid, weights);
  const scales = scalesOf(grid);
  const largest = largestCode(format);
  const range = {
    min: scales.map((scale, i) => -scale * zeroOf(grid, i)),
    max: scales.map((scale, i) => scale * (largest - zeroOf(grid, i))),
  };
  return new SignRound(format, rows, columns, weights, { lr: 1 / steps }, range);
}
