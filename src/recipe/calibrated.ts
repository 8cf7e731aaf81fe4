// Stages that look at calibration data. What the teacher makes of the data is computed before anything changes.
import { badRequest } from "../base/errors.ts";
import type { Format } from "../formats/format.ts";
import type { Linear } from "../formats/weight.ts";
import type { Request } from "../generate/request.ts";
import type { Part, Vlm } from "../models/vlm.ts";
import { Infer } from "../ops/infer.ts";
import { CALIBRATED, type CalibratedMethod } from "../quant/methods.ts";
import type { Engine } from "../../wasm/mod.ts";
import { type BlockJournal, type BlockReport, quantizeBlocks } from "./blocks.ts";
import { languageFeed, languageStates, type States, visionFeed, visionStates } from "./feed.ts";
import type { Plan } from "./plan.ts";
import { projections, refitProjector, type RefitReport } from "./projector.ts";
import { matches, needsData, type Stage } from "./recipe.ts";
import { clipPart } from "./stages/clip.ts";

/** What calibrated methods look at. */
export interface Calibration {
  /** Conversations with pictures; see calibrationRequests. */
  readonly requests: readonly Request[];
  /** Tokens per linear whose inputs are looked at; default 16 per column and at least 8192. */
  readonly tokens?: number | undefined;
  /** Draws the tokens; default 0. */
  readonly seed?: number | undefined;
}

/** Calibrated work on a model. */
export interface CalibratedStages {
  /** Quantizes a part's blocks. */
  blocks(
    part: Part,
    stage: Stage,
    method: CalibratedMethod,
    formats: ReadonlyMap<string, Format>,
    options: {
      journal?: BlockJournal | undefined;
      onLinear: (linear: Linear) => void;
      onStep: (block: string, step: number, loss: number) => void;
    },
  ): Promise<BlockReport[]>;
  /** Fits the projector to what it said before. */
  refit(): RefitReport;
  /** Clips the decoder's linears whose names match; returns the share of weights that moved. */
  clip(
    part: Part,
    patterns: readonly string[],
    formats: ReadonlyMap<string, Format>,
  ): Promise<number>;
  /** Gives the memory back. */
  free(): void;
}

/** Prepares a plan's calibrated stages; nothing if it has none. */
export function calibratedStages(
  engine: Engine,
  vlm: Vlm,
  plan: Plan,
  calibration: Calibration | undefined,
  signal: AbortSignal | undefined,
): CalibratedStages | undefined {
  const { stages, name } = plan.recipe;
  if (!stages.some(({ method, clip }) => needsData(method) || clip)) return undefined;
  if (!calibration || calibration.requests.length === 0) {
    throw badRequest(
      `The recipe "${name}" needs calibration data: give conversations with pictures (--data FILE.jsonl).`,
    );
  }
  const { requests, tokens, seed } = calibration;
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
    blocks(part, stage, method, formats, { journal, onLinear, onStep }) {
      if (part.name === "projector") return Promise.resolve([]);
      if (part.name === "vision" && !sees) {
        throw badRequest("Calibrating the vision part needs pictures, and the data has none.");
      }
      const how = CALIBRATED[method];
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
        method: { ...how, equalize: how.equalize || (stage.equalize ?? false) },
        tokens,
        seed,
        steps: stage.steps,
        signal,
        journal,
        onLinear: (_, linear) => onLinear(linear),
        onStep,
      });
    },
    refit: () => refitProjector(ops, vlm, feed.vision, first.projector!, undefined, signal),
    clip(part, patterns, formats) {
      const chosen = new Map(
        [...formats].filter(([name]) => patterns.some((pattern) => matches(pattern, name))),
      );
      return clipPart(
        ops,
        part,
        feed.language,
        languageStates(ops, vlm, feed.language),
        chosen,
        signal,
      );
    },
    free: () => ops.free(),
  };
}
