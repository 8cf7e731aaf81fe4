import { assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { openFolder } from "../../src/models/open.ts";
import { planRecipe } from "../../src/recipe/plan.ts";
import { readRecipe } from "../../src/recipe/read.ts";
import { speedQPaperRecipe } from "../../src/recipe/speed_q.ts";
import { tinyFolder } from "../testing/tiny_model.ts";

const BITS = { vision: 2, projector: 16, language: 2, embedding: 4 };

Deno.test("a recipe written as JSON and read again is the same recipe", () => {
  const recipe = speedQPaperRecipe(BITS, { seed: 3 });
  assertEquals(readRecipe(JSON.parse(JSON.stringify(recipe)), "own.json"), recipe);
});

Deno.test("settings that a recipe leaves out are SPEED-Q's", () => {
  const { stages } = readRecipe({
    stages: [{ part: "projector", method: "train", training: { steps: 7 } }],
  }, "own.json");
  const [, projector] = speedQPaperRecipe(BITS).stages;
  assertEquals(stages[0]!.training, { ...projector!.training!, steps: 7 });
});

Deno.test("all mistakes of a JSON recipe are told at once", () => {
  const error = assertThrows(() =>
    readRecipe({
      stages: [
        { part: "eyes", method: "rtn", rules: [{ layers: "*", format: "w9" }] },
        { part: "language", method: "train", training: { steps: -1, speed: 3 }, color: "red" },
      ],
    }, "own.json"), LobitError);
  for (const word of ["stages[0].part", "9 were asked", "steps", "speed", "color"]) {
    assertEquals(error.message.includes(word), true, `${word} in ${error.message}`);
  }
});

Deno.test("training settings are checked with the plan, before any work", async () => {
  const open = await openFolder(tinyFolder());
  const recipe = speedQPaperRecipe(BITS, { projector: { batch: 0 }, language: { lr: -1 } });
  const error = assertThrows(() => planRecipe(recipe, open.tensors), LobitError);
  assertEquals(
    error.message.includes("batch") && error.message.includes("lr"),
    true,
    error.message,
  );
});
