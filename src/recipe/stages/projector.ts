// Stage 2 of SPEED-Q: the projector alone learns to say what the language model expects of the quantized tower, on the
// label loss; or, with other weights, it learns to say what it said of the full-precision tower.
import type { Linear } from "../../formats/weight.ts";
import { linearsOf, type ProjectorPart, vectorsOf } from "../../models/vlm.ts";
import type { ExampleSource } from "../../train/batch.ts";
import { narrow, widen } from "../../train/trainable.ts";
import type { StepReport } from "../../train/trainer.ts";
import type { Memory } from "../../../wasm/mod.ts";
import type { TrainingSettings } from "./settings.ts";
import { type Named, runTraining, type StageModel, type StageOptions } from "./train_stage.ts";

/** Trains the projector in place; its weights are bf16 again afterwards if they were. */
export async function trainProjector(
  model: StageModel,
  examples: ExampleSource,
  settings: TrainingSettings,
  options: StageOptions = {},
): Promise<StepReport[]> {
  const { projector } = model.vlm;
  const restore = keepDtypes(model.engine.memory, linearsOf(projector));
  try {
    return await runTraining({ name: "projector" }, model, examples, settings, options, () => ({
      groups: [{ tensors: widened(model.engine.memory, projector), lr: settings.lr }],
      fakes: [],
    }));
  } finally {
    restore();
  }
}

/** The projector's weights, made f32, and vectors. */
export function widened(memory: Memory, projector: ProjectorPart): Named[] {
  const weights = linearsOf(projector).map((linear) => ({
    name: `${linear.name}.weight`,
    tensor: widen(memory, linear),
  }));
  return [...weights, ...vectorsOf(projector)];
}

/** Remembers which weights are bf16; the result makes those so again that are dense then. */
export function keepDtypes(memory: Memory, linears: readonly Linear[]): () => void {
  const narrower = linears.filter(({ weight }) =>
    weight.kind === "dense" && weight.tensor.dtype === "bf16"
  );
  return () => narrower.forEach((linear) => narrow(memory, linear));
}
