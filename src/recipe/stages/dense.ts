// The language stage where nothing is quantized: language model and projector learn at full precision. It tells what more
// training on the same data does by itself, which every comparison of trained low bits with the original needs.
import { badRequest } from "../../base/errors.ts";
import type { Linear } from "../../formats/weight.ts";
import { vectorsOf } from "../../models/vlm.ts";
import type { ExampleSource } from "../../train/batch.ts";
import { narrow, widen } from "../../train/trainable.ts";
import type { StepReport } from "../../train/trainer.ts";
import { keepDtypes, widened } from "./projector.ts";
import type { TrainingSettings } from "./settings.ts";
import { runTraining, type StageModel, type StageOptions } from "./train_stage.ts";

/**
 * Trains language model and projector in place; embedding and head stay. Weights that were bf16 are bf16 again
 * afterwards.
 */
export async function trainDense(
  model: StageModel,
  examples: ExampleSource,
  settings: TrainingSettings,
  options: StageOptions = {},
): Promise<StepReport[]> {
  const { engine, vlm } = model;
  const { language, projector } = vlm;
  const linears = language.blocks.flatMap(({ linears }) => linears);
  const packed = linears.find(({ weight }) => weight.kind !== "dense");
  if (packed) {
    throw badRequest(
      `${packed.name} is ${packed.weight.kind}: training at full precision needs dense weights.`,
    );
  }
  const isNarrow = ({ weight }: Linear) =>
    weight.kind === "dense" && weight.tensor.dtype === "bf16";
  const narrower = linears.filter(isNarrow);
  const restore = keepDtypes(engine.memory, projector);
  try {
    return await runTraining({ name: "dense" }, model, examples, settings, options, () => {
      const weights = linears.map((linear) => ({
        name: `${linear.name}.weight`,
        tensor: widen(engine.memory, linear),
      }));
      return {
        groups: [
          { tensors: [...weights, ...vectorsOf(language)], lr: settings.lr },
          { tensors: widened(engine.memory, projector), lr: settings.projectorLr ?? settings.lr },
        ],
        fakes: [],
      };
    });
  } finally {
    for (const linear of narrower) narrow(engine.memory, linear);
    restore();
  }
}
