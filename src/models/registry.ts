// model_type -> family. A family reads its config, says which tensors it needs under which names, and builds the model.
import { badFile } from "../base/errors.ts";
import type { TensorShape } from "../io/safetensors.ts";
import { parseConfig } from "./internvl/config.ts";
import {
  expectedTensors,
  placeOf,
  type ResolvedTensor,
  resolveTensors,
  type TensorPlace,
} from "./internvl/layout.ts";
import { loadInternVl, visionInput } from "./internvl/model.ts";
import type { WeightStore } from "./store.ts";
import type { PartName, VisionInput, Vlm } from "./vlm.ts";

/** A model's architecture, known from its config alone. */
export interface Architecture {
  /** Name of the family. */
  readonly family: string;
  /** Which of the family's checkpoint layouts the config belongs to. */
  readonly layout: string;
  /** Every tensor by canonical name, with its shape. */
  readonly tensors: ReadonlyMap<string, readonly number[]>;
  /** The part a tensor belongs to. */
  partOf(name: string): PartName;
  /** Where a canonical tensor lies in a checkpoint of the config's own layout. */
  placeOf(name: string): TensorPlace;
  /** Longest context in tokens. */
  readonly context: number;
  /** Tokens of the vocabulary. */
  readonly vocabulary: number;
  /** How pictures become tiles and tiles tokens. */
  readonly input: VisionInput;
  /** Name of a built-in chat template that the config asks for. */
  readonly template: string | null;
  /** Finds the tensors in a checkpoint. Throws one error listing all missing, unused and mis-shaped ones. */
  resolve(
    found: ReadonlyMap<string, TensorShape>,
    file: string,
  ): Map<string, ResolvedTensor>;
  /** Builds the model from a store. */
  load(store: WeightStore): Promise<Vlm>;
}

type Reader = (config: unknown, file: string, preprocessor: unknown) => Architecture;

const internvl: Reader = (json, file, preprocessor) => {
  const config = parseConfig(json, file, preprocessor);
  return {
    family: "internvl",
    layout: config.layout,
    tensors: expectedTensors(config),
    partOf: (name) =>
      name.startsWith("vision_tower.")
        ? "vision"
        : name.startsWith("multi_modal_projector.")
        ? "projector"
        : "language",
    placeOf: (name) => placeOf(config, name),
    context: config.language.maxPositions,
    vocabulary: config.language.vocab,
    input: visionInput(config),
    template: config.template,
    resolve: (found, file) => resolveTensors(config, found, file),
    load: (store) => loadInternVl(store, config),
  };
};

const FAMILIES: ReadonlyMap<string, Reader> = new Map([
  ["internvl", internvl],
  ["internvl_chat", internvl],
]);

/** The architecture that a parsed config.json describes. */
export function readArchitecture(
  config: unknown,
  file: string,
  preprocessor?: unknown,
): Architecture {
  const type = (config as { model_type?: unknown } | null)?.model_type;
  const reader = FAMILIES.get(String(type));
  if (!reader) {
    const known = [...FAMILIES.keys()].join(", ");
    throw badFile(
      file,
      `model_type ${JSON.stringify(type)} is not supported; lobit knows ${known}.`,
    );
  }
  return reader(config, file, preprocessor);
}
