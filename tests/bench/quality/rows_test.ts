// Every row of the quality table can be carried out on the shipped model and differs from its base in what it names only.
import { assert, assertEquals } from "@std/assert";
import { openModel } from "../../../src/models/open.ts";
import { planRecipe } from "../../../src/recipe/plan.ts";
import { readRecipe } from "../../../src/recipe/read.ts";
import type { Recipe, Stage } from "../../../src/recipe/recipe.ts";
import { testPath } from "../../testing/folders.ts";
import { allRows, ownRow, type Row } from "./rows.ts";

const rows = allRows();
const recipeOf = (row: Row, seed = 0): Recipe => row.recipe!(seed);

function rowOf(id: string): Row {
  const row = rows.find((row) => row.id === id);
  assert(row, `there is no row ${id}`);
  return row;
}

Deno.test("every row has a name of its own and a recipe that fits the shipped model and reads as JSON", async () => {
  assertEquals(new Set(rows.map(({ id }) => id)).size, rows.length);
  for (const { control } of rows) control && rowOf(control);
  const open = await openModel(testPath("models/pocket-internvl"));
  try {
    for (const row of rows.filter(({ recipe }) => recipe)) {
      const recipe = recipeOf(row, 2);
      planRecipe(recipe, open.tensors);
      assertEquals(readRecipe(JSON.parse(JSON.stringify(recipe)), row.id), recipe, row.id);
    }
  } finally {
    open.close();
  }
});

Deno.test("rows with a seed depend on it in their recipe, the others do not", () => {
  for (const row of rows.filter(({ recipe }) => recipe)) {
    const [one, other] = [0, 1].map((seed) => JSON.stringify(recipeOf(row, seed)));
    assertEquals(one !== other, row.seeded, row.id);
  }
});

Deno.test("a control keeps every weight, and trains on labels for as many steps as the row it controls", () => {
  const row = rowOf("speed-q-2");
  const control = recipeOf(rowOf(row.control!)), trained = recipeOf(row);
  const steps = ({ stages }: Recipe) => stages.flatMap(({ training }) => training?.steps ?? []);
  assertEquals(steps(control), steps(trained));
  for (const { rules, training } of control.stages) {
    assertEquals(rules.map(({ format }) => format), ["keep"]);
    assertEquals([training!.label > 0, training!.distill, training!.match], [true, 0, 0]);
  }
});

Deno.test("all stages before the one that an ablation changes stay as they are", () => {
  for (const row of rows.filter(({ section }) => section === "ablations")) {
    if (row.id.endsWith("-joint")) continue;
    const { stages } = recipeOf(row);
    const base = recipeOf(rowOf(row.id.replace(/-2-.*$/, "-2"))).stages;
    assertEquals(stages.slice(0, -1), base.slice(0, -1), row.id);
    assertEquals(stages.at(-1)!.rules, base.at(-1)!.rules, row.id);
  }
});

Deno.test("an equalized row differs in nothing else", () => {
  for (const bits of [4, 3, 2]) {
    const plain = recipeOf(rowOf(`speed-q-${bits}`), 1);
    const { stages } = recipeOf(rowOf(`speed-q-equalized-${bits}`), 1);
    assert(stages.some(({ equalize }) => equalize));
    assertEquals(stages.map(({ equalize: _, ...stage }): Stage => stage), [...plain.stages]);
  }
});

Deno.test("a row of one's own takes the seed into its training and its bits from its name", () => {
  const row = ownRow("mine-3", recipeOf(rowOf("speed-q-3")));
  assertEquals(row.bits, 3);
  const seeds = recipeOf(row, 7).stages.flatMap(({ training }) => training?.seed ?? []);
  assertEquals(new Set(seeds), new Set([7]));
});
