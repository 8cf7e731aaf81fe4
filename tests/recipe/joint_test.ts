// The joint recipe from its name to the file: what it plans, what it may change, how mistakes are told, and that a run
// stopped in its only stage ends in the same bytes.
import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import type { ChatItem } from "../../src/data/items.ts";
import { formatName } from "../../src/formats/format.ts";
import { bufferSource } from "../../src/io/bytes.ts";
import { isPacked } from "../../src/generate/model.ts";
import { openFolder, openPacked } from "../../src/models/open.ts";
import { chooseRecipe } from "../../src/recipe/choose.ts";
import { planRecipe } from "../../src/recipe/plan.ts";
import { quantize, type QuantizeOptions } from "../../src/recipe/quantize.ts";
import { readRecipe } from "../../src/recipe/read.ts";
import type { Recipe, Stage } from "../../src/recipe/recipe.ts";
import { Engine } from "../../wasm/mod.ts";
import { testPath } from "../testing/folders.ts";
import { tinyFolder } from "../testing/tiny_model.ts";
import { contentOf } from "../train/tiny_model.ts";

const picture = Deno.readFileSync(testPath("input/image/fixtures/chroma_411.png"));
const data: ChatItem[] = Array.from({ length: 12 }, (_, i): ChatItem => ({
  source: `item ${i}`,
  messages: [
    { role: "user", content: [{ type: "image", image: 0 }, { type: "text", text: `hell ${i}` }] },
    { role: "assistant", content: `he ${i}` },
  ],
  images: [{ kind: "bytes", bytes: picture, name: "chroma_411.png" }],
}));

/** The recipe with few steps; `change` edits its language stage. */
function joint(change: (stage: Stage) => Stage = (stage) => stage): Recipe {
  const recipe = chooseRecipe({ recipe: "joint", bits: 2 });
  const stages = recipe.stages.map((stage) =>
    change({ ...stage, training: { ...stage.training!, steps: 8, batch: 4, lr: 1e-3 } })
  );
  return { ...recipe, stages };
}

async function run(
  out: string,
  recipe: Recipe,
  more: Partial<QuantizeOptions> = {},
): Promise<void> {
  const open = await openFolder(tinyFolder());
  await quantize(open, out, { threads: 1, recipe, data, calibrationItems: 8, seed: 5, ...more });
}

Deno.test("joint is one stage with speed-q's language training, in which the tower learns along", async () => {
  const recipe = chooseRecipe({ recipe: "joint", bits: 2, vision: 3, seed: 4 });
  const staged = chooseRecipe({ recipe: "speed-q-paper", bits: 2, vision: 3, seed: 4 });
  assertEquals(recipe.stages.length, 1);
  const [{ training }] = recipe.stages as [Stage];
  assertEquals(training, { ...staged.stages.at(-1)!.training!, scales: "range" });
  assertEquals(readRecipe(JSON.parse(JSON.stringify(recipe)), "own.json"), recipe);
  const { tensors } = await openFolder(tinyFolder());
  const formats = (of: Recipe) =>
    planRecipe(of, tensors).weights.map(({ name, format }) =>
      `${name} ${format ? formatName(format) : "kept"}`
    );
  assertEquals(formats(recipe), formats(staged));
});

Deno.test("a joint run changes what the plan names in all three parts, and nothing else", async () => {
  const folder = await Deno.makeTempDir();
  const engine = await Engine.create({ threads: 1 });
  try {
    const before = contentOf(engine, await (await openFolder(tinyFolder())).load(engine));
    await run(`${folder}/joint.lobit`, joint());
    const packed = await openPacked(
      bufferSource(await Deno.readFile(`${folder}/joint.lobit`), "joint"),
    );
    const after = contentOf(engine, await packed.load(engine));
    assertEquals([...after.keys()].sort(), [...before.keys()].sort());
    const stays = /patch_embeddings|cls_token|position_embeddings/;
    for (const [name, bytes] of after) {
      if (stays.test(name)) assertEquals(bytes, before.get(name), `${name} changed`);
      else assertNotEquals(bytes, before.get(name), `${name} stayed`);
    }
    packed.close();
  } finally {
    engine.close();
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a joint run stopped at random moments and resumed writes the same bytes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    let moments = 0;
    await run(`${folder}/whole.lobit`, joint(), { onProgress: () => void moments++ });
    const expected = await Deno.readFile(`${folder}/whole.lobit`);
    assert(moments > 20, `${moments} moments`);
    const random = new Random(6);
    for (let trial = 0; trial < 6; trial++) {
      const out = `${folder}/trial-${trial}.lobit`;
      const controller = new AbortController();
      let left = 1 + random.integer(moments - 1);
      const onProgress = () => void (--left === 0 && controller.abort());
      await run(out, joint(), { signal: controller.signal, onProgress }).catch((error) =>
        assertEquals((error as LobitError).code, "aborted")
      );
      // Stopped after the last step there is nothing left to resume.
      const done = await Deno.stat(out).then(() => true, () => false);
      if (!done) await run(out, joint(), { resume: true });
      assertEquals(await Deno.readFile(out), expected, `trial ${trial}`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a part that learns along where nothing trains, or without a linear, is a mistake of the plan", async () => {
  const { tensors } = await openFolder(tinyFolder());
  const refused = (recipe: Recipe) =>
    assertThrows(() => planRecipe(recipe, tensors), LobitError).message;
  assert(refused(joint((stage) => ({ ...stage, method: "rtn" }))).includes("language part trains"));
  const wrong = joint((stage) => ({
    ...stage,
    along: [{ part: "vision", rules: [{ layers: "x", format: "w2" }] }],
  }));
  assert(refused(wrong).includes('no linear matches the rule "x"'));
  const along = [{ part: "language", rules: [{ layers: "*", format: "w9" }] }];
  const own = { stages: [{ part: "language", method: "train", along }] };
  const { message } = assertThrows(() => readRecipe(own, "own.json"), LobitError);
  assert(message.includes("stages[0].along[0].part") && message.includes("9 were asked"), message);
});

Deno.test("a recipe that keeps everything trains at full precision and writes a model of floats", async () => {
  const folder = await Deno.makeTempDir();
  const engine = await Engine.create({ threads: 1 });
  try {
    const keep = [{ layers: "*", format: "keep" }];
    const [{ training } = joint().stages[0]!] = joint().stages;
    const recipe: Recipe = {
      name: "control",
      stages: [{
        part: "language",
        method: "train",
        rules: keep,
        training: { ...training!, label: 1, distill: 0 },
      }],
    };
    await assertRejects(() => run(`${folder}/x.lobit`, recipe, { data: [] }), LobitError);
    await run(`${folder}/control.lobit`, recipe);
    const before = contentOf(engine, await (await openFolder(tinyFolder())).load(engine));
    const open = await openPacked(
      bufferSource(await Deno.readFile(`${folder}/control.lobit`), "control"),
    );
    const vlm = await open.load(engine);
    assert(!isPacked(vlm));
    const trained = /^(multi_modal_projector\.|language_model\.model\.(layers\.|norm))/;
    for (const [name, bytes] of contentOf(engine, vlm)) {
      if (trained.test(name)) assertNotEquals(bytes, before.get(name), `${name} stayed`);
      else assertEquals(bytes, before.get(name), `${name} changed`);
    }
    open.close();
  } finally {
    engine.close();
    await Deno.remove(folder, { recursive: true });
  }
});
