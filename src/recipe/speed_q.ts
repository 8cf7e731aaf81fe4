// SPEED-Q (AAAI-26) as data: settle the eyes, re-aim the projector, then teach the language model. `speed-q` keeps this
// order, starts every stage from a closed form and teaches by distillation alone; `speed-q-paper` does what the paper does.
import { LANGUAGE_TRAINING, PROJECTOR_TRAINING, type TrainingSettings } from "./stages/settings.ts";
import {
  calibratedRecipe,
  type Recipe,
  type RtnBits,
  rtnRecipe,
  type Rule,
  type Stage,
} from "./recipe.ts";

/** What may differ from the defaults. */
export interface SpeedQOptions {
  /** Gradient steps per block of the vision tower; `speed-q-paper` only. */
  readonly visionSteps?: number | undefined;
  /** Stage 2; `speed-q-paper` only. */
  readonly projector?: Partial<TrainingSettings> | undefined;
  /** Stage 3. */
  readonly language?: Partial<TrainingSettings> | undefined;
  /** Whether asymmetric clipping starts off stage 3; `speed-q-paper` only, default true. */
  readonly clip?: boolean | undefined;
  /** Seed of every random choice. */
  readonly seed?: number | undefined;
}

/**
 * Vision tower and language model by `fast`, the projector's last linear fitted in between; then language model and
 * projector learn from the full-precision model, on the grid that `fast` has found. `extra` rules are applied last.
 */
export function speedQRecipe(
  bits: RtnBits,
  { language = {}, seed = 0 }: SpeedQOptions = {},
  extra: readonly Rule[] = [],
): Recipe {
  const { stages } = calibratedRecipe("fast", bits, false, extra);
  const training = { ...LANGUAGE_TRAINING, ...TAUGHT, ...taughtAt(bits.language), seed };
  return {
    name: "speed-q",
    stages: [
      ...stages,
      {
        ...{ part: "language", method: "train", rules: stages.at(-1)!.rules },
        training: { ...training, ...language },
      },
    ],
  };
}

/** Chosen on the tuning set (tests/bench/RESULTS.md): labels make the model forget, on this data at least. */
const TAUGHT: Partial<TrainingSettings> = { label: 0, scales: "kept", slack: 0.5 };

/** The fewer bits, the more there is to learn. */
function taughtAt(bits: number): Partial<TrainingSettings> {
  return bits >= 3 ? { steps: 80, lr: 5e-5 } : { steps: 160, lr: 1e-4 };
}

/** Linears that the paper's clip search covers: all but queries and keys. */
const CLIPPED = ["*.v_proj", "*.o_proj", "*.gate_proj", "*.up_proj", "*.down_proj"];

/** AdaRound, labels for the projector, clipping, labels and distillation on the range's grid. `extra` rules come last. */
export function speedQPaperRecipe(
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
    name: "speed-q-paper",
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
