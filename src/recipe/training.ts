// Stages that train end to end.
import { badRequest } from "../base/errors.ts";
import type { Format } from "../formats/format.ts";
import type { Vlm } from "../models/vlm.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ExampleSource } from "../train/batch.ts";
import type { StepReport } from "../train/trainer.ts";
import type { Stage } from "./recipe.ts";
import { trainLanguage } from "./stages/language.ts";
import { trainProjector } from "./stages/projector.ts";
import type { StageModel } from "./stages/train_stage.ts";

/** What training needs. */
export interface TrainingData {
  /** Conversations with pictures. */
  readonly examples: ExampleSource;
  /** Loads the full-precision model once more; called when a stage distils. */
  readonly teacher: () => Promise<Vlm>;
  /** Steps between two saved states; default 20. */
  readonly every?: number | undefined;
}

/** Steps between two saved states where nothing is said: a few seconds on a small model, minutes on a large one. */
const SAVE_EVERY = 20;

/** Trains a stage's part, from a saved state if there is one. */
export async function trainStage(
  model: StageModel,
  stage: Stage,
  formats: ReadonlyMap<string, Format>,
  { examples, teacher, every = SAVE_EVERY }: TrainingData,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onStep: (step: StepReport) => void;
    readonly state?: string;
    /** Folder for the teacher's logits. */
    readonly logits?: string;
    /** What the part's weights were before an earlier stage packed them. */
    readonly originals?: ReadonlyMap<string, Tensor>;
  },
): Promise<StepReport[]> {
  const { training } = stage;
  if (!training) throw badRequest(`The ${stage.part} stage trains but has no settings for it.`);
  const { signal, onStep, state, logits, originals } = options;
  const how = {
    signal,
    onStep,
    ...(logits !== undefined && { logits }),
    ...((training.distill !== 0 || training.match !== 0) && { teacher: await teacher() }),
    ...(state !== undefined && { checkpoint: { path: state, every, resume: true } }),
  };
  if (stage.part === "projector") return await trainProjector(model, examples, training, how);
  if (stage.part === "language") {
    const tower = stage.along?.some(({ part }) => part === "vision");
    return await trainLanguage(model, examples, formats, training, { ...how, tower, originals });
  }
  throw badRequest(
    "The vision part is quantized block by block; method train is for projector and language.",
  );
}
