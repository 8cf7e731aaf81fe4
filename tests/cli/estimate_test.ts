// The dry run's estimate: every stage is tried on a sample, nothing is written, and what is not known is said.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { estimateText } from "../../src/cli/estimate.ts";
import { openFolder } from "../../src/models/open.ts";
import { chooseRecipe } from "../../src/recipe/choose.ts";
import { estimateRun } from "../../src/recipe/estimate.ts";
import { planRecipe } from "../../src/recipe/plan.ts";
import type { Recipe } from "../../src/recipe/recipe.ts";
import { extend } from "../../src/recipe/sample_work.ts";
import { tinyChat } from "../testing/tiny_data.ts";
import { tinyFolder } from "../testing/tiny_model.ts";
import { cli, MODEL, withFolder } from "./support.ts";

const data = tinyChat(24);

async function estimate(recipe: Recipe, options: Parameters<typeof estimateRun>[2] = {}) {
  const open = await openFolder(tinyFolder());
  return await estimateRun(open, planRecipe(recipe, open.tensors), {
    threads: 1,
    data,
    ...options,
  });
}

Deno.test("every stage of every kind is tried", async () => {
  for (const name of ["rtn", "gptq", "fast", "sign-round", "speed-q"]) {
    const recipe = chooseRecipe({ recipe: name });
    const { stages, seconds, bytes, loadSeconds, dataSeconds } = await estimate(recipe);
    assertEquals(
      stages.map(({ part, method }) => ({ part, method })),
      recipe.stages.map((stage) => ({
        ...{ part: stage.part, method: stage.method },
      })),
    );
    const sum = stages.reduce((sum, { seconds }) => sum + seconds!, loadSeconds + dataSeconds);
    assert(Math.abs(seconds! - sum) < 1e-9 && sum > 0, name);
    assertEquals(bytes, Math.max(...stages.map(({ bytes }) => bytes!)));
    assert(bytes! > 100_000, `${name}: ${bytes}`);
  }
});

Deno.test("two samples make a line, one a proportion, and more data never takes less", () => {
  assertEquals(extend(3, 5, 100, 200, 1000), 3 + 2 * 9);
  assertEquals(extend(3, 2, 100, 200, 1000), 3);
  assertEquals(extend(3, 9, 100, 100, 1000), 30);
  assertEquals(extend(3, 5, 100, 200, 50), 3);
});

Deno.test("what does not fit, or would take too long to try, is said and not guessed", async () => {
  const recipe = chooseRecipe({ recipe: "speed-q-paper" });
  const late = await estimate(recipe, { budget: 0 });
  assertEquals(late.stages.map(({ seconds }) => seconds), [undefined, undefined, undefined]);
  assertEquals([late.seconds, late.bytes], [undefined, undefined]);
  assertStringIncludes(estimateText(late), "Stage 3, language: not tried");
  const { stages } = await estimate(recipe, { maxMemory: 3 * 2 ** 20 });
  const short = stages.filter(({ problem }) => problem?.includes("Cannot reserve"));
  assert(short.length > 0, JSON.stringify(stages));
  const signal = AbortSignal.abort();
  await assertRejects(() => estimate(recipe, { signal }), LobitError);
});

Deno.test("a dry run writes nothing and tells sizes, time and memory in text and JSON", async () => {
  await withFolder(async (folder) => {
    const before = Deno.cwd();
    const flags = ["quantize", MODEL, "-o", `${folder}/x.lobit`, "--bits", "3", "--dry-run"];
    const text = await cli(flags);
    assertEquals([text.code, text.err], [0, ""]);
    assertStringIncludes(text.out, "stage 3, language, rtn");
    assertStringIncludes(text.out, "Estimated from a sample of the work");
    const json = JSON.parse((await cli([...flags, "--json"])).out);
    assertEquals(json.estimate.stages.length, 3);
    assert(json.estimate.bytes > 24_000_000 && json.estimate.seconds > 0);
    assertEquals([...Deno.readDirSync(folder)], []);
    assertEquals(Deno.cwd(), before);
    const blind = await cli(["quantize", MODEL, "--recipe", "gptq", "--dry-run"]);
    assertEquals(blind.code, 0);
    assertStringIncludes(blind.out, "not estimated, since the recipe needs data");
    await Deno.writeTextFile(`${folder}/words.txt`, "One two.");
    const half = await cli([
      ...["quantize", MODEL, "--recipe", "gptq", "--dry-run", "--data", `${folder}/words.txt`],
    ]);
    assertEquals(half.code, 2);
    assertStringIncludes(half.err, "the vision stage (gptq) looks at data");
  });
});
