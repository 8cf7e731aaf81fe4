// Whatever the recipe, a stage changes the parts it names and no byte of any other; with language trains the projector.
import { assert, assertEquals } from "@std/assert";
import { loadModel } from "../../src/generate/model.ts";
import { openFolder } from "../../src/models/open.ts";
import { linearsOf, partsOf, vectorsOf, type Vlm } from "../../src/models/vlm.ts";
import { openCalibration } from "../../src/recipe/calibration_data.ts";
import { chooseRecipe, RECIPES } from "../../src/recipe/choose.ts";
import { planRecipe } from "../../src/recipe/plan.ts";
import type { Recipe, Stage } from "../../src/recipe/recipe.ts";
import { runPlan } from "../../src/recipe/run.ts";
import { openExamples } from "../../src/recipe/stages/examples.ts";
import { byteLength } from "../../src/tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";
import { tinyChat } from "../testing/tiny_data.ts";
import { tinyFolder } from "../testing/tiny_model.ts";

const data = tinyChat(9);

/** The recipe with so few steps that it runs in a moment. */
function shortened(recipe: Recipe): Recipe {
  const stages = recipe.stages.map((stage): Stage => ({
    ...stage,
    steps: 2,
    ...(stage.training && { training: { ...stage.training, steps: 2, batch: 3, lr: 1e-3 } }),
  }));
  return { ...recipe, stages };
}

/** Each part's names, kinds of weight and checksums of every byte. */
function printsOf(engine: Engine, vlm: Vlm): Map<string, string> {
  return new Map(
    partsOf(vlm).map((part) => {
      const weights = linearsOf(part).map(({ name, weight, bias }) => {
        if (weight.kind === "fake-quant") throw new Error(`${name} is still being trained`);
        const tensor = weight.kind === "packed" ? weight.blob : weight.tensor;
        return { name: `${name} ${weight.kind}`, tensors: bias ? [tensor, bias] : [tensor] };
      });
      const vectors = vectorsOf(part).map(({ name, tensor }) => ({ name, tensors: [tensor] }));
      const print = [...weights, ...vectors].map(({ name, tensors }) => {
        const spans = tensors.map((tensor) => ({ ptr: tensor.ptr, bytes: byteLength(tensor) }));
        return `${name} ${kernels.checksums(engine, spans).join(" ")}`;
      });
      return [part.name, print.join("\n")];
    }),
  );
}

/** The parts that a stage says it changes. */
function named(stage: Stage): string[] {
  const along = (stage.along ?? []).map(({ part }) => String(part));
  const taught = stage.method === "train" && stage.part === "language" ? ["projector"] : [];
  return [stage.part, ...along, ...taught];
}

for (const name of RECIPES) {
  for (const bits of [2, 4]) {
    Deno.test(`each stage of ${name} at ${bits} bits changes only the parts it names`, async () => {
      const recipe = shortened(chooseRecipe({ recipe: name, bits, seed: bits }));
      const model = await loadModel(await openFolder(tinyFolder(bits)), { threads: 1 });
      try {
        const { engine, vlm, open } = model;
        const calibration = openCalibration(recipe, { data }, open.assets, vlm, {
          ...{ count: 6, seed: 1 },
        });
        const examples = await openExamples(data, open.assets, vlm.input);
        let before = printsOf(engine, vlm);
        let place = 0;
        await runPlan(engine, vlm, planRecipe(recipe, open.tensors), {
          ...(calibration && { calibration }),
          training: { examples, teacher: () => open.load(engine) },
          onStage() {
            const stage = recipe.stages[place++]!;
            const after = printsOf(engine, vlm);
            const changed = [...after].filter(([part, print]) => before.get(part) !== print);
            const kept = stage.rules.every(({ format }) => format === "keep");
            const still = kept && stage.method.startsWith("rtn");
            assertEquals(
              changed.map(([part]) => part).sort(),
              still ? [] : named(stage).sort(),
              `stage ${place}, ${stage.part}`,
            );
            before = after;
          },
        });
        assertEquals(place, recipe.stages.length);
        assert(place > 0);
      } finally {
        model.close();
      }
    });
  }
}
