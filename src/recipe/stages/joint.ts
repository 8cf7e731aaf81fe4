// The ablation of SPEED-Q's order of stages: tower, projector and language model learn in the same steps, the linears of
// both towers' blocks seen through the grids that they are then stored on. What lies outside blocks stays, as in the
// language stage: embedding and head, patch embedding, class token and positions.
import { type Format, formatName } from "../../formats/format.ts";
import type { Part } from "../../models/vlm.ts";
import { vectorsOf } from "../../models/vlm.ts";
import { packCoded, replaceWeight } from "../../quant/pack_linear.ts";
import type { ExampleSource } from "../../train/batch.ts";
import { FakeQuant } from "../../train/fake_quant.ts";
import type { StepReport } from "../../train/trainer.ts";
import { keepDtypes, widened } from "./projector.ts";
import type { TrainingSettings } from "./settings.ts";
import { type Named, runTraining, type StageModel, type StageOptions } from "./train_stage.ts";

/**
 * Trains all three parts in place. Linears of the blocks that `formats` names are packed afterwards, their codes being
 * those that the last step's weights are seen as. After an error the model has to be loaded again.
 */
export async function trainJoint(
  model: StageModel,
  examples: ExampleSource,
  formats: ReadonlyMap<string, Format>,
  settings: TrainingSettings,
  options: StageOptions = {},
): Promise<StepReport[]> {
  const { engine, vlm } = model;
  const { vision, projector, language } = vlm;
  const { slack, scales, lr, scaleLr, projectorLr = lr, visionLr = lr } = settings;
  const detail = [...formats].map(([name, format]) => `${name}=${formatName(format)}`);
  const restore = keepDtypes(engine.memory, projector);
  const fakes: FakeQuant[] = [];
  const growths: Named[] = [];
  const latents = (part: Part): Named[] =>
    part.blocks.flatMap(({ linears }) => linears).flatMap((linear) => {
      const format = formats.get(linear.name);
      if (!format) return [];
      const fake = new FakeQuant(engine, linear, format, { slack, scales });
      fakes.push(fake);
      if (fake.growths) growths.push({ name: `${linear.name}.growth`, tensor: fake.growths });
      return [{ name: `${linear.name}.weight`, tensor: fake.weight.latent }];
    });
  try {
    const reports = await runTraining(
      { name: "joint", detail },
      model,
      examples,
      settings,
      options,
      () => ({
        groups: [
          { tensors: [...latents(language), ...vectorsOf(language)], lr },
          { tensors: widened(engine.memory, projector), lr: projectorLr },
          {
            tensors: [...latents(vision), ...vision.blocks.flatMap(({ vectors }) => vectors)],
            lr: visionLr,
          },
          { tensors: growths, lr: scaleLr, decay: 0 },
        ],
        fakes,
        tower: "trains",
      }),
    );
    for (const { linear, coded } of fakes) {
      replaceWeight(engine.memory, linear, packCoded(engine.memory, linear, coded));
    }
    return reports;
  } finally {
    for (const fake of fakes) fake.close();
    restore();
  }
}
