// The ablation of SPEED-Q's stages: everything that a staged recipe settles one after the other learns at once.
import type { Recipe, Stage } from "./recipe.ts";

/**
 * The language training of a staged recipe, with its losses and steps and with the vision tower learning along; there is
 * no other stage. Grids start from the weights as they are and follow them.
 */
export function jointOf({ stages }: Recipe): Recipe {
  const last = (fits: (stage: Stage) => boolean): Stage => stages.findLast(fits)!;
  const language = last(({ part, method }) => part === "language" && method === "train");
  const { part, method, rules, training, clip, calibrate } = language;
  return {
    name: "joint",
    stages: [{
      ...{ part, method, rules },
      along: [{ part: "vision", rules: last(({ part }) => part === "vision").rules }],
      ...(training && { training: { ...training, scales: "range" } }),
      ...(clip && { clip }),
      ...(calibrate && { calibrate }),
    }],
  };
}
