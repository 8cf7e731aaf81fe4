// Carries a plan out on a loaded model, stage by stage, linear by linear.
import { packLinear, replaceWeight } from "../quant/pack_linear.ts";
import { roundClipped, roundToNearest } from "../quant/round.ts";
import type { Coder } from "../quant/pack_linear.ts";
import { linearsOf, partsOf, type Vlm } from "../models/vlm.ts";
import type { Memory } from "../../wasm/mod.ts";
import type { Plan } from "./plan.ts";
import type { Method } from "./recipe.ts";

/** Progress of a run: weights done of weights in all. */
export interface Progress {
  /** What is being worked on. */
  readonly stage: string;
  /** The linear just finished. */
  readonly name: string;
  /** Weights done. */
  readonly done: number;
  /** Weights in all. */
  readonly total: number;
}

const CODERS: Readonly<Record<Method, Coder>> = {
  rtn: roundToNearest,
  "rtn-clip": roundClipped,
};

/** Quantizes the model in place, stage after stage; a stage touches only the linears of its part. */
export async function runPlan(
  memory: Memory,
  vlm: Vlm,
  plan: Plan,
  options: { signal?: AbortSignal | undefined; onProgress?: (progress: Progress) => void } = {},
): Promise<void> {
  const planned = new Map(plan.weights.map((weight) => [weight.name, weight]));
  const total = plan.weights.reduce(
    (sum, { format, rows, columns }) => sum + (format ? rows * columns : 0),
    0,
  );
  let done = 0;
  for (const stage of plan.recipe.stages) {
    const part = partsOf(vlm).find(({ name }) => name === stage.part)!;
    for (const linear of linearsOf(part)) {
      const format = planned.get(linear.name)?.format;
      if (!format || linear.weight.kind === "packed") continue;
      const packed = packLinear(memory, linear, format, CODERS[stage.method], options.signal);
      replaceWeight(memory, linear, packed);
      done += linear.rows * linear.columns;
      options.onProgress?.({ stage: stage.part, name: linear.name, done, total });
      // Lets signals and progress through between linears.
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
}
