// Stages that look at calibration data. What the teacher makes of the data is computed before anything changes.
import { badRequest } from "../base/errors.ts";
import type { Format } from "../formats/format.ts";
import type { Linear } from "../formats/weight.ts";
import type { Part, Vlm } from "../models/vlm.ts";
import { Infer } from "../ops/infer.ts";
import { CALIBRATED, type CalibratedMethod } from "../quant/methods.ts";
import type { Engine } from "../../wasm/mod.ts";
import { type BlockJournal, type BlockReport, quantizeBlocks } from "./blocks.ts";
import type { CalibrationRequests } from "./calibration_data.ts";
import { languageFeed, languageStates, visionFeed, visionStates } from "./feed.ts";
import type { Plan } from "./plan.ts";
import { projections, refitProjector, type RefitReport } from "./projector.ts";
import { equalizes, formatsOf, needsData, type Stage } from "./recipe.ts";
import { clipPart } from "./stages/clip.ts";

/** What calibrated methods look at. */
export interface Calibration extends CalibrationRequests {
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
    stage: Stage,
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
  const { requests = [], texts = [], tokens, seed } = calibration ?? {};
  const pictures = calibration?.pictures ?? requests;
  if (requests.length + texts.length + pictures.length === 0) {
    throw badRequest(
      `The recipe "${name}" needs calibration data: give conversations with pictures (--data FILE.jsonl).`,
    );
  }
  const ops = new Infer(engine);
  const sees = pictures.some(({ images }) => images.length > 0);
  const vision = visionFeed(vlm, pictures);
  const words = {
    prompts: languageFeed(vlm, requests.length > 0 ? requests : texts),
    text: languageFeed(vlm, texts),
  };
  const wants = (part: string) =>
    stages.some((stage) => stage.part === part && needsData(stage.method));
  const heard = (kind: Stage["calibrate"]) => languageStates(ops, vlm, words[kind ?? "prompts"]);
  // What the teacher makes of the data: by part, and for the language part by what it reads.
  const seen = wants("vision") ? visionStates(ops, vlm, vision) : [];
  const projected = wants("projector") ? projections(ops, vlm, vision) : [];
  const read = new Map(
    stages.filter(({ part, method }) => part === "language" && needsData(method)).map((
      { calibrate },
    ) => [calibrate, heard(calibrate)] as const),
  );
  return {
    blocks(part, stage, method, formats, { journal, onLinear, onStep }) {
      if (part.name === "projector") return Promise.resolve([]);
      if (part.name === "vision" && !sees) {
        throw badRequest("Calibrating the vision part needs pictures, and the data has none.");
      }
      const tower = part.name === "vision";
      return quantizeBlocks({
        ops,
        part,
        formats,
        feed: tower ? vision : words[stage.calibrate ?? "prompts"],
        teacher: tower ? seen : read.get(stage.calibrate)!,
        student: tower ? visionStates(ops, vlm, vision) : heard(stage.calibrate),
        method: { ...CALIBRATED[method], equalize: equalizes(stage) },
        tokens,
        seed,
        steps: stage.steps,
        signal,
        journal,
        onLinear: (_, linear) => onLinear(linear),
        onStep,
      });
    },
    refit: () => refitProjector(ops, vlm, vision, projected, undefined, signal),
    clip(part, { calibrate }, patterns, formats) {
      const feed = words[calibrate ?? "prompts"];
      if (feed.chunks.length === 0) {
        throw badRequest("Clipping the language part needs calibration data, and found none.");
      }
      return clipPart(
        ops,
        part,
        feed,
        heard(calibrate),
        formatsOf(patterns, formats),
        signal,
      );
    },
    free: () => ops.free(),
  };
}
