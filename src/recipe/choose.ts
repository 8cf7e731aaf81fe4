// Recipes by name.
import { badRequest } from "../base/errors.ts";
import { CALIBRATED, type CalibratedMethod } from "../quant/methods.ts";
import { jointOf } from "./joint.ts";
import { calibratedRecipe, type Recipe, type RtnBits, rtnRecipe, type Rule } from "./recipe.ts";
import { speedQPaperRecipe, speedQRecipe } from "./speed_q.ts";

/** What to do to a model: the name of a recipe with its bits, or a recipe of your own. */
export interface RecipeChoice {
  /** A recipe, or the name of a known one; default `rtn`. */
  readonly recipe?: string | Recipe | undefined;
  /** Bits of the linears of vision tower and language model: 2, 3, 4 or 16; default 4. */
  readonly bits?: number | undefined;
  /** Bits of the vision tower, if others. */
  readonly vision?: number | undefined;
  /** Bits of the projector: 4, 8 or 16; default 16. */
  readonly projector?: number | undefined;
  /** Bits of the language model, if others. */
  readonly language?: number | undefined;
  /** Bits of embedding and head: 4, 8 or 16; default 4. */
  readonly embedding?: number | undefined;
  /** Recipe `rtn`: whether each group's range first shrinks to the least weight error. */
  readonly clip?: boolean | undefined;
  /** Calibrated recipes: whether channels are scaled before. */
  readonly equalize?: boolean | undefined;
  /** Seed of every random choice; default 0. */
  readonly seed?: number | undefined;
  /** Less of everything, for a first look: `speed-q` in a few minutes. */
  readonly quick?: boolean | undefined;
  /** Formats by linear name, applied last. */
  readonly rules?: readonly Rule[] | undefined;
}

/** The recipes that train, by name. */
const TRAINED: Readonly<Record<string, typeof speedQRecipe>> = {
  "speed-q": speedQRecipe,
  "speed-q-paper": speedQPaperRecipe,
  joint: (...how) => jointOf(speedQPaperRecipe(...how)),
};

/** Recipes that can be asked for by name. */
export const RECIPES: readonly string[] = [
  "rtn",
  ...Object.keys(CALIBRATED),
  ...Object.keys(TRAINED),
];

/** Steps in a hurry: the quality of the whole for a part of the time is not to be had. */
const QUICK = { visionSteps: 40, projector: { steps: 10 }, language: { steps: 40 } };

/** The recipe that a choice stands for. Throws `bad-request` on unknown names and impossible bits. */
export function chooseRecipe(choice: RecipeChoice): Recipe {
  const { recipe = "rtn", rules = [] } = choice;
  if (typeof recipe !== "string") return recipe;
  if (!RECIPES.includes(recipe)) {
    throw badRequest(`There is no recipe "${recipe}"; known are: ${RECIPES.join(", ")}.`);
  }
  const bits = bitsOf(choice);
  if (recipe === "rtn") return rtnRecipe(bits, choice.clip, rules);
  if (choice.clip) {
    throw badRequest(`--clip is for the recipe rtn; "${recipe}" looks at calibration data itself.`);
  }
  const train = TRAINED[recipe];
  if (!train) return calibratedRecipe(recipe as CalibratedMethod, bits, choice.equalize, rules);
  if (bits.projector !== 16) {
    throw badRequest(`The recipe ${recipe} trains the projector and keeps it at 16 bits.`);
  }
  return train(bits, { seed: choice.seed, ...(choice.quick && QUICK) }, rules);
}

function bitsOf(choice: RecipeChoice): RtnBits {
  const { bits = 4, projector = 16, embedding = 4 } = choice;
  const all = {
    vision: choice.vision ?? bits,
    language: choice.language ?? bits,
    projector,
    embedding,
  };
  const narrow = [2, 3, 4, 16], wide = [4, 8, 16];
  const allowed = { vision: narrow, language: narrow, projector: wide, embedding: wide };
  for (const [part, value] of Object.entries(all)) {
    const known = allowed[part as keyof typeof allowed];
    if (known.includes(value)) continue;
    const list = `${known.slice(0, -1).join(", ")} or ${known.at(-1)}`;
    throw badRequest(`The ${part} bits can be ${list}, not ${value}.`);
  }
  return all;
}
