// Carries a plan out on a loaded model, stage by stage, linear by linear.
import { badRequest } from "../base/errors.ts";
import type { Request } from "../generate/request.ts";
import { CALIBRATED, type CalibratedMethod } from "../quant/methods.ts";
import { packLinear, replaceWeight } from "../quant/pack_linear.ts";
import { roundClipped, roundToNearest } from "../quant/round.ts";
import type { Coder } from "../quant/pack_linear.ts";
import type { Format } from "../formats/format.ts";
import type { Linear } from "../formats/weight.ts";
import { linearsOf, type Part, partsOf, type Vlm } from "../models/vlm.ts";
import { Infer } from "../ops/infer.ts";
import type { Engine, Memory } from "../../wasm/mod.ts";
import { type BlockReport, quantizeBlocks } from "./blocks.ts";
import { languageFeed, languageStates, type States, visionFeed, visionStates } from "./feed.ts";
import type { Plan } from "./plan.ts";
import { projections, refitProjector, type RefitReport } from "./projector.ts";
import { type Method, needsData, type Stage } from "./recipe.ts";

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

/** What calibrated methods look at. */
export interface Calibration {
  /** Kernels; their memory holds the model. */
  readonly engine: Engine;
  /** Conversations with pictures; see calibrationRequests. */
  readonly requests: readonly Request[];
  /** Tokens per linear whose inputs are looked at; default 16 per column and at least 8192. */
  readonly tokens?: number | undefined;
  /** Draws the tokens; default 0. */
  readonly seed?: number | undefined;
}

/** How to run. */
export interface RunOptions {
  /** Needed by recipes with calibrated methods. */
  readonly calibration?: Calibration | undefined;
  /** Stops the work. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each linear. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** What calibrated stages did. */
export interface RunReport {
  /** Errors of every block, in order. */
  readonly blocks: readonly BlockReport[];
  /** The projector's fit, if it had one. */
  readonly refit?: RefitReport | undefined;
}

const CODERS: Readonly<Partial<Record<Method, Coder>>> = {
  rtn: roundToNearest,
  "rtn-clip": roundClipped,
};

/** Quantizes the model in place, stage after stage; a stage touches only its part. */
export async function runPlan(
  memory: Memory,
  vlm: Vlm,
  plan: Plan,
  options: RunOptions = {},
): Promise<RunReport> {
  const planned = new Map(plan.weights.map((weight) => [weight.name, weight]));
  const total = plan.weights.reduce(
    (sum, { format, rows, columns }) => sum + (format ? rows * columns : 0),
    0,
  );
  let done = 0;
  const report = (stage: Stage, linear: Linear) => {
    done += linear.rows * linear.columns;
    options.onProgress?.({ stage: stage.part, name: linear.name, done, total });
  };
  const calibrated = calibratedStages(vlm, plan, options);
  const blocks: BlockReport[] = [];
  let refit: RefitReport | undefined;
  try {
    for (const stage of plan.recipe.stages) {
      const part = partsOf(vlm).find(({ name }) => name === stage.part)!;
      const inBlocks = new Set(part.blocks.flatMap(({ linears }) => linears));
      for (const linear of linearsOf(part)) {
        const format = planned.get(linear.name)?.format;
        if (!format || linear.weight.kind === "packed") continue;
        if (needsData(stage.method) && inBlocks.has(linear)) continue;
        const coder = CODERS[stage.method] ?? roundToNearest;
        replaceWeight(memory, linear, packLinear(memory, linear, format, coder, options.signal));
        report(stage, linear);
        // Lets signals and progress through between linears.
        await new Promise((resolve) => setTimeout(resolve));
      }
      if (stage.method === "refit") refit = calibrated!.refit();
      else if (needsData(stage.method)) {
        const formats = new Map(
          plan.weights.flatMap(({ name, format }) => format ? [[name, format]] : []),
        );
        blocks.push(
          ...await calibrated!.blocks(
            part,
            stage,
            stage.method,
            formats,
            (linear) => report(stage, linear),
          ),
        );
      }
    }
  } finally {
    calibrated?.free();
  }
  return { blocks, refit };
}

interface Calibrated {
  blocks(
    part: Part,
    stage: Stage,
    method: CalibratedMethod,
    formats: ReadonlyMap<string, Format>,
    onLinear: (linear: Linear) => void,
  ): Promise<BlockReport[]>;
  refit(): RefitReport;
  free(): void;
}

/** What calibrated stages need, with everything of the teacher that later stages compare with computed right away. */
function calibratedStages(vlm: Vlm, plan: Plan, options: RunOptions): Calibrated | undefined {
  const { stages } = plan.recipe;
  if (!stages.some(({ method }) => needsData(method))) return undefined;
  const { calibration, signal } = options;
  if (!calibration || calibration.requests.length === 0) {
    throw badRequest(
      `The recipe "${plan.recipe.name}" needs calibration data: give conversations with pictures (--data FILE.jsonl).`,
    );
  }
  const { engine, requests, tokens, seed } = calibration;
  const ops = new Infer(engine);
  const sees = requests.some(({ images }) => images.length > 0);
  const feed = { vision: visionFeed(vlm, requests), language: languageFeed(vlm, requests) };
  const wants = (part: string) =>
    stages.some((stage) => stage.part === part && needsData(stage.method));
  const first: Partial<Record<string, States>> = {
    ...(wants("vision") && { vision: visionStates(ops, vlm, feed.vision) }),
    ...(wants("projector") && { projector: projections(ops, vlm, feed.vision) }),
    ...(wants("language") && { language: languageStates(ops, vlm, feed.language) }),
  };
  return {
    blocks(part, stage, method, formats, onLinear) {
      if (part.name === "projector") return Promise.resolve([]);
      if (part.name === "vision" && !sees) {
        throw badRequest("Calibrating the vision part needs pictures, and the data has none.");
      }
      const plan = CALIBRATED[method];
      const student = part.name === "vision"
        ? visionStates(ops, vlm, feed.vision)
        : languageStates(ops, vlm, feed.language);
      return quantizeBlocks({
        ops,
        part,
        formats,
        feed: feed[part.name],
        teacher: first[part.name]!,
        student,
        method: { ...plan, equalize: plan.equalize || (stage.equalize ?? false) },
        tokens,
        seed,
        steps: stage.steps,
        signal,
        onLinear: (_, linear) => onLinear(linear),
      });
    },
    refit: () => refitProjector(ops, vlm, feed.vision, first.projector!, undefined, signal),
    free: () => ops.free(),
  };
}
