// The calibrated methods by name: each turns one linear's task into codes on the stored grid.
import { roundSearched } from "./clip.ts";
import { descend } from "./descend.ts";
import { gptq } from "./gptq.ts";
import type { Quantizer } from "./task.ts";

/** Methods that need calibration inputs. */
export type CalibratedMethod =
  /** Clip search by calibration inputs, then round to nearest. */
  | "clip"
  /** Rounding with error feedback. */
  | "gptq"
  /** Channel scales folded into what comes before, clip search, round to nearest. */
  | "awq"
  /** Weighted search of scales, error feedback, coordinate descent, inputs matched to the teacher's. */
  | "fast";

/** How a calibrated method treats a block. */
export interface MethodPlan {
  /** Turns a linear into codes. */
  readonly quantize: Quantizer;
  /** Scales channels by calibration inputs before, where the block declares how. */
  readonly equalize: boolean;
  /** Fits weights and biases to the teacher's outputs before and after, instead of only to their own inputs. */
  readonly match: boolean;
}

/** What each method does. */
export const CALIBRATED: Readonly<Record<CalibratedMethod, MethodPlan>> = {
  clip: { quantize: roundSearched, equalize: false, match: false },
  gptq: {
    quantize: (task) => gptq(task, { staticGroups: false, activationOrder: true }),
    equalize: false,
    match: false,
  },
  awq: { quantize: roundSearched, equalize: true, match: false },
  fast: { quantize: (task) => descend(task, gptq(task)), equalize: false, match: true },
};
