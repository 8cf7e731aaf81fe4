// SPEED-Q (AAAI-26) as data: settle the eyes, re-aim the projector, then teach the language model.
import { LANGUAGE_TRAINING, PROJECTOR_TRAINING, type TrainingSettings } from "./stages/settings.ts";
import { type Recipe, type RtnBits, rtnRecipe, type Rule, type Stage } from "./recipe.ts";

/** What may differ from the defaults. */
export interface SpeedQOptions {
  /** Gradient steps per block of the vision tower. */
  readonly visionSteps?: number | undefined;
  /** Stage 2. */
  readonly projector?: Partial<TrainingSettings> | undefined;
  /** Stage 3. */
  readonly language?: Partial<TrainingSettings> | undefined;
  /** Whether asymmetric clipping starts off stage 3; default true. */
  readonly clip?: boolean | undefined;
  /** Seed of every random choice. */
  readonly seed?: number | undefined;
}

/** Linears that the paper's clip search covers: all but queries and keys. */
const CLIPPED = ["*.v_proj", "*.o_proj", "*.gate_proj", "*.up_proj", "*.down_proj"];

/** The three stages. `extra` rules are applied last, to vision tower and language model. */
export function speedQRecipe(
  bits: RtnBits,
  options: SpeedQOptions = {},
  extra: readonly Rule[] = [],
): Recipe {
  const [vision, projector, language] = rtnRecipe(bits, false, extra).stages as [
    Stage,
    Stage,
    Stage,
  ];
  const { seed = 0, clip = true } = options;
  const four = bits.language >= 4;
  return {
    name: "speed-q",
    stages: [
      { ...vision, method: "ada-round", steps: options.visionSteps ?? (four ? 40 : 120) },
      {
        part: "projector",
        method: "train",
        rules: projector.rules,
        training: {
          ...PROJECTOR_TRAINING,
          seed,
          ...(four && { ...FOUR_BITS, steps: 10 }),
          ...options.projector,
        },
      },
      {
        ...language,
        method: "train",
        training: { ...LANGUAGE_TRAINING, seed, ...(four && FOUR_BITS), ...options.language },
        ...(clip && { clip: CLIPPED }),
      },
    ],
  };
}

/** Four bits need to move little. */
const FOUR_BITS: Partial<TrainingSettings> = { steps: 40, lr: 1e-4 };
