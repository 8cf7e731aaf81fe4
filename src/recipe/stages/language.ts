// Stage 3 of SPEED-Q: language model and projector learn together from labels and from the full-precision model, linears
// seen through the grid that they are then stored on. Embedding and head stay as they are. For the ablation of the order
// of stages the vision tower's blocks may learn along, and where nothing is to be quantized everything learns at full
// precision, which tells what more training on the same data does by itself.
import { type Format, formatName } from "../../formats/format.ts";
import { packCoded, replaceWeight } from "../../quant/pack_linear.ts";
import { linearsOf, type Vector, vectorsOf } from "../../models/vlm.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { ExampleSource } from "../../train/batch.ts";
import { FakeQuant } from "../../train/fake_quant.ts";
import { widen } from "../../train/trainable.ts";
import type { StepReport } from "../../train/trainer.ts";
import { keepDtypes, widened } from "./projector.ts";
import type { TrainingSettings } from "./settings.ts";
import { type Named, runTraining, type StageModel, type StageOptions } from "./train_stage.ts";

/** How to run the stage. */
export interface LanguageOptions extends StageOptions {
  /** Whether the vision tower's blocks learn along; patch embedding, class token and positions stay. */
  readonly tower?: boolean | undefined;
  /** What weights were before they were packed, by linear name: where their latent weights start. */
  readonly originals?: ReadonlyMap<string, Tensor> | undefined;
}

/**
 * Trains language model and projector in place. Linears of blocks that `formats` names are packed afterwards, their
 * codes being those that the last step's weights are seen as; the others' values stay in the type they had. After an
 * error the model has to be loaded again.
 */
export async function trainLanguage(
  model: StageModel,
  examples: ExampleSource,
  formats: ReadonlyMap<string, Format>,
  settings: TrainingSettings,
  options: LanguageOptions = {},
): Promise<StepReport[]> {
  const { memory } = model.engine;
  const { language, projector, vision } = model.vlm;
  const { tower = false, originals } = options;
  const detail = [...formats].map(([name, format]) => `${name}=${formatName(format)}`);
  const blocks = tower ? [...language.blocks, ...vision.blocks] : language.blocks;
  const restore = keepDtypes(memory, [
    ...linearsOf(projector),
    ...blocks.flatMap(({ linears }) => linears),
  ]);
  const fakes: FakeQuant[] = [];
  const { slack, scales, lr, scaleLr, projectorLr = lr, visionLr = lr } = settings;

  /** Makes blocks trainable. */
  const trained = (blocks: typeof language.blocks, others: readonly Vector[]): Named[] => {
    const weights = blocks.flatMap(({ linears }) => linears).map((linear): Named => {
      const name = `${linear.name}.weight`;
      const format = formats.get(linear.name);
      if (!format) return { name, tensor: widen(memory, linear) };
      const original = originals?.get(linear.name);
      const fake = new FakeQuant(model.engine, linear, format, { slack, scales, original });
      fakes.push(fake);
      return { name, tensor: fake.weight.latent };
    });
    return [...weights, ...others];
  };
  const blockVectors = vision.blocks.flatMap(({ vectors }) => vectors);
  try {
    const stage = { name: "language", detail, tower };
    const reports = await runTraining(stage, model, examples, settings, options, () => {
      const said = trained(language.blocks, vectorsOf(language));
      const seen = tower ? trained(vision.blocks, blockVectors) : [];
      const growths = fakes.flatMap(({ linear, growths }) =>
        growths ? [{ name: `${linear.name}.growth`, tensor: growths }] : []
      );
      return {
        groups: [
          { tensors: said, lr },
          { tensors: seen, lr: visionLr },
          { tensors: growths, lr: scaleLr, decay: 0 },
          { tensors: widened(memory, projector), lr: projectorLr },
        ],
        fakes,
        tower: tower ? "trains" : "frozen",
      };
    });
    for (const { linear, coded } of fakes) {
      replaceWeight(memory, linear, packCoded(memory, linear, coded));
    }
    return reports;
  } finally {
    for (const fake of fakes) fake.close();
    restore();
  }
}
