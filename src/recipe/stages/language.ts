// Stage 3 of SPEED-Q: language model and projector learn together from labels and from the full-precision model, the
// language model's linears seen through the grid that they are then stored on. Embedding and head stay as they are.
import { type Format, formatName } from "../../formats/format.ts";
import { packCoded, replaceWeight } from "../../quant/pack_linear.ts";
import { vectorsOf } from "../../models/vlm.ts";
import type { ExampleSource } from "../../train/batch.ts";
import { FakeQuant } from "../../train/fake_quant.ts";
import type { StepReport } from "../../train/trainer.ts";
import { keepDtypes, widened } from "./projector.ts";
import type { TrainingSettings } from "./settings.ts";
import { runTraining, type StageModel, type StageOptions } from "./train_stage.ts";

/**
 * Trains language model and projector in place. Linears of the blocks that `formats` names are packed afterwards, their
 * codes being those that the last step's weights are seen as. After an error the model has to be loaded again.
 */
export async function trainLanguage(
  model: StageModel,
  examples: ExampleSource,
  formats: ReadonlyMap<string, Format>,
  settings: TrainingSettings,
  options: StageOptions = {},
): Promise<StepReport[]> {
  const { engine, vlm } = model;
  const { language, projector } = vlm;
  const chosen = language.blocks.flatMap(({ linears }) => linears).filter(({ name }) =>
    formats.has(name)
  );
  const detail = [...formats].map(([name, format]) => `${name}=${formatName(format)}`);
  const restore = keepDtypes(engine.memory, projector);
  let fakes: FakeQuant[] = [];
  try {
    const reports = await runTraining(
      { name: "language", detail },
      model,
      examples,
      settings,
      options,
      () => {
        const { slack, scales, lr } = settings;
        fakes = chosen.map((linear) =>
          new FakeQuant(engine, linear, formats.get(linear.name)!, { slack, scales })
        );
        const latents = fakes.map(({ linear, weight }) => ({
          name: `${linear.name}.weight`,
          tensor: weight.latent,
        }));
        const growths = fakes.flatMap(({ linear, growths }) =>
          growths ? [{ name: `${linear.name}.growth`, tensor: growths }] : []
        );
        return {
          groups: [
            { tensors: [...latents, ...vectorsOf(language)], lr },
            { tensors: growths, lr: settings.scaleLr, decay: 0 },
            {
              tensors: widened(engine.memory, projector),
              lr: settings.projectorLr ?? lr,
            },
          ],
          fakes,
        };
      },
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
