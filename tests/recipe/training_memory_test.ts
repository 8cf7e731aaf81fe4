// A training that cannot fit is refused before any work.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import type { StoredTensor } from "../../src/models/open.ts";
import { chooseRecipe } from "../../src/recipe/choose.ts";
import { planRecipe } from "../../src/recipe/plan.ts";
import { quantize } from "../../src/recipe/quantize.ts";
import { checkTrainingMemory, trainingBytes } from "../../src/recipe/training_memory.ts";
import { bufferSink } from "../../src/io/bytes.ts";
import { openChatData } from "../../src/data/files.ts";
import { testPath } from "../testing/folders.ts";

const MODEL = testPath("models/pocket-internvl");

/** One linear of each part, and a head. */
function tensors(rows: number, columns: number): StoredTensor[] {
  const of = (name: string, part: StoredTensor["part"]): StoredTensor => ({
    ...{ name: `${name}.weight`, part, shape: [rows, columns], bytes: 2 * rows * columns },
    stored: "BF16",
  });
  return [
    of("vision_tower.encoder.patch_embeddings.projection", "vision"),
    of("vision_tower.encoder.layer.0.mlp.fc1", "vision"),
    of("multi_modal_projector.linear_2", "projector"),
    of("language_model.model.embed_tokens", "language"),
    of("language_model.model.layers.0.mlp.up_proj", "language"),
    of("language_model.lm_head", "language"),
  ];
}

Deno.test("latents, gradients, moments, the teacher and what stays are counted", () => {
  const [rows, columns] = [256, 512], size = rows * columns;
  const plan = planRecipe(chooseRecipe({ recipe: "speed-q", bits: 2 }), tensors(rows, columns));
  const stays = plan.weights.filter(({ name }) => !name.includes("up_proj"));
  const kept = stays.reduce((sum, { bytes }) => sum + bytes, 0);
  assertEquals(trainingBytes(plan), 6 * 2 * size + kept + 22 * size);
  const joint = planRecipe(chooseRecipe({ recipe: "joint", bits: 2 }), tensors(rows, columns));
  assert(trainingBytes(joint) > trainingBytes(plan), "the tower's linear trains, too");
  const rounded = planRecipe(chooseRecipe({ recipe: "fast", bits: 2 }), tensors(rows, columns));
  assertEquals(trainingBytes(rounded), 0);
  checkTrainingMemory(plan, trainingBytes(plan));
});

Deno.test("a model whose training does not fit is refused before any work, with what to do", async () => {
  const data = openChatData(testPath("data/calib/calib.jsonl")).items;
  const error = await assertRejects(
    () =>
      quantize(MODEL, bufferSink("never.lobit"), {
        ...{ recipe: "speed-q", bits: 2, data, maxMemory: 100 * 2 ** 20 },
        onProgress: () => assert(false, "work has begun"),
      }),
    LobitError,
  );
  assertEquals(error.code, "no-memory");
  assertStringIncludes(error.message, 'such as "fast"');
});
