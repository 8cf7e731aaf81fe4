// What calibration looks at, by kind of data: folders of pictures, plain text, conversations, and what is missing or bad.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import type { BadRecord, ChatItem, ImageRef } from "../../src/data/items.ts";
import { bufferSink } from "../../src/io/bytes.ts";
import { loadModel } from "../../src/generate/model.ts";
import { openFolder } from "../../src/models/open.ts";
import { openCalibration } from "../../src/recipe/calibration_data.ts";
import { chooseRecipe } from "../../src/recipe/choose.ts";
import { planRecipe } from "../../src/recipe/plan.ts";
import { readRecipe } from "../../src/recipe/read.ts";
import type { Recipe, Stage } from "../../src/recipe/recipe.ts";
import { quantize, type QuantizeOptions } from "../../src/recipe/quantize.ts";
import { speedQPaperRecipe } from "../../src/recipe/speed_q.ts";
import { testPath } from "../testing/folders.ts";
import { tinyFolder } from "../testing/tiny_model.ts";

const FIXTURES = testPath("input/image/fixtures");
const names = ["chroma_411.png", "cmyk.png", "rgb.png", "orientation_1.png"];
const pictures = names.map((name): ImageRef => ({ kind: "path", path: `${FIXTURES}/${name}` }));
const NOISE: ImageRef = { kind: "bytes", bytes: Uint8Array.of(1, 2, 3), name: "noise" };
const texts = ["hello there", "the quick brown fox ".repeat(60), "jumps"];
const item = (i: number, images: readonly ImageRef[]): ChatItem => ({
  source: `item ${i}`,
  messages: [
    {
      role: "user",
      content: [
        ...images.map((_, image) => ({ type: "image" as const, image })),
        { type: "text", text: `hello ${i}` },
      ],
    },
    { role: "assistant", content: `he ${i}` },
  ],
  images,
});
const data = Array.from({ length: 6 }, (_, i) => item(i, i % 3 === 0 ? [] : [pictures[i % 4]!]));

const BITS = { vision: 4, projector: 16, language: 4, embedding: 4 };
const gptq = chooseRecipe({ recipe: "gptq" });
const withText = (recipe: Recipe): Recipe => ({
  ...recipe,
  stages: recipe.stages.map((stage): Stage =>
    stage.part === "language" ? { ...stage, calibrate: "text" } : stage
  ),
});

async function bytesOf(options: Partial<QuantizeOptions>): Promise<Uint8Array> {
  const sink = bufferSink("tiny");
  await quantize(await openFolder(tinyFolder()), sink, { threads: 1, recipe: gptq, ...options });
  return sink.bytes();
}

Deno.test("pictures serve the vision part, text the language part, conversations both", async () => {
  const model = await loadModel(await openFolder(tinyFolder()), { threads: 1 });
  try {
    const open = (given: Partial<QuantizeOptions>, recipe = gptq) =>
      openCalibration(recipe, given, model.open.assets, model.vlm, { count: 320, seed: 0 })!;
    const all = open({ data, pictures, texts });
    assertEquals(all.requests.length, 6);
    assertEquals(all.pictures!.map(({ images }) => images.length), [1, 1, 1, 1]);
    assertEquals(all.texts, undefined);
    assertEquals(open({ data }).pictures, undefined);

    const both = open({ pictures, texts });
    assertEquals(both.requests, []);
    // The long paragraph is cut so that every piece fits the model's context of 256.
    const lengths = both.texts!.map(({ prompt }) => prompt.ids.length);
    assert(lengths.length > 3 && Math.max(...lengths) === 256, String(lengths));
    const { tokenizer } = model.open.assets;
    assertEquals(
      both.texts!.flatMap(({ prompt }) => [...prompt.ids]),
      texts.flatMap((text) => [
        ...tokenizer.encode(text),
      ]),
    );

    const spoken = open({ data, texts }, withText(gptq));
    assertEquals([spoken.requests.length, spoken.texts!.length], [6, lengths.length]);
    const wordsOnly = open({ data }, withText(gptq));
    assertEquals(wordsOnly.texts!.length, 2);
    assert(wordsOnly.texts!.every(({ images }) => images.length === 0));
    assertEquals(
      openCalibration(
        chooseRecipe({}),
        { data },
        model.open.assets,
        model.vlm,
        { count: 1, seed: 0 },
      ),
      undefined,
    );
  } finally {
    model.close();
  }
});

Deno.test("each kind of data decides the codes of its parts, and equal data gives equal files", async () => {
  const base = await bytesOf({ data });
  assertEquals(await bytesOf({ data }), base);
  const others = await Promise.all([
    bytesOf({ data, pictures }),
    bytesOf({ pictures, texts }),
    bytesOf({ pictures: pictures.slice(1), texts }),
    bytesOf({ data, texts, recipe: withText(gptq) }),
    bytesOf({ pictures, texts, calibrationItems: 1, seed: 1 }),
  ]);
  const distinct = new Set([base, ...others].map((bytes) => bytes.join()));
  assertEquals(distinct.size, 6);
  // Where conversations are there, text is looked at only if the stage says so.
  assertEquals(await bytesOf({ data, texts }), base);
});

Deno.test("SPEED-Q's clip search can look at text alone", async () => {
  const recipe = speedQPaperRecipe(BITS, {
    visionSteps: 1,
    projector: { steps: 0 },
    language: { steps: 0 },
  });
  const asked = await bytesOf({ data, texts, recipe });
  const text = await bytesOf({ data, texts, recipe: withText(recipe) });
  assert(asked.some((byte, i) => byte !== text[i]));
});

Deno.test("bad pictures are left out and told up to a share, and fatal above it", async () => {
  const told: [string, readonly BadRecord[], number][] = [];
  const mixed = [pictures[0]!, NOISE, ...pictures.slice(1)];
  const expected = await bytesOf({ pictures, texts });
  const found = await bytesOf({
    ...{ pictures: mixed, texts, maxBadShare: 0.2 },
    onLeftOut: (...told_) => told.push(told_),
  });
  // The recipe is the same and so are the pictures that remain.
  assertEquals(found, expected);
  assertEquals(told.map(([what, bad, total]) => [what, bad.length, total]), [
    ["pictures to calibrate on", 1, 5],
  ]);
  assertEquals(told[0]![1][0]!.line, 2);
  await assertRejects(() => bytesOf({ pictures: mixed, texts }), LobitError, "1 of 5 records");
});

Deno.test("all that a recipe needs and was not given is told at once, before any work", async () => {
  const missing = async (recipe: Recipe, given: Partial<QuantizeOptions>) =>
    (await assertRejects(() => bytesOf({ recipe, ...given }), LobitError)).message;
  const speedQ = await missing(withText(speedQPaperRecipe(BITS)), { pictures: [] });
  for (const words of ["vision stage (ada-round)", "projector stage (train)", "looks at text"]) {
    assert(speedQ.includes(words), speedQ);
  }
  const noPictures = await missing(gptq, { texts });
  assert(noPictures.includes("vision stage (gptq) looks at data"), noPictures);
  assert(!noPictures.includes("language"), noPictures);
  const noWords = await missing(gptq, { pictures });
  assert(noWords.includes("language stage (gptq) looks at data"), noWords);
});

Deno.test("a recipe says what its language stage is calibrated on, and nothing else can", async () => {
  const recipe = withText(speedQPaperRecipe(BITS));
  assertEquals(readRecipe(JSON.parse(JSON.stringify(recipe)), "own.json"), recipe);
  const stage = (part: string, calibrate: string) => ({
    part,
    method: "gptq",
    rules: [],
    calibrate,
  });
  assertThrows(
    () => readRecipe({ stages: [stage("language", "poems")] }, "own.json"),
    LobitError,
    "stages[0].calibrate",
  );
  const open = await openFolder(tinyFolder());
  const wrong = readRecipe({ stages: [stage("vision", "text")] }, "own.json");
  assertThrows(() => planRecipe(wrong, open.tensors), LobitError, "cannot be calibrated on text");
});
