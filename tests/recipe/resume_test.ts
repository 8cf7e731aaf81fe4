// A run that is stopped anywhere and resumed ends in the very file that an uninterrupted run writes.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import type { ChatItem } from "../../src/data/items.ts";
import { openFolder, type OpenModel } from "../../src/models/open.ts";
import type { Recipe } from "../../src/recipe/recipe.ts";
import { quantize, type QuantizeOptions } from "../../src/recipe/quantize.ts";
import { speedQPaperRecipe } from "../../src/recipe/speed_q.ts";
import { testPath } from "../testing/folders.ts";
import { tinyFolder } from "../testing/tiny_model.ts";

const recipe: Recipe = speedQPaperRecipe(
  { vision: 2, projector: 16, language: 2, embedding: 4 },
  {
    visionSteps: 4,
    projector: { steps: 6, batch: 4, lr: 1e-3 },
    language: { steps: 8, batch: 4, lr: 1e-3 },
  },
);

const picture = Deno.readFileSync(testPath("input/image/fixtures/chroma_411.png"));
const data: ChatItem[] = Array.from({ length: 12 }, (_, i): ChatItem => ({
  source: `item ${i}`,
  messages: [
    {
      role: "user",
      content: i % 3 === 0
        ? [{ type: "text", text: `hello ${i}` }]
        : [{ type: "image", image: 0 }, { type: "text", text: `hell ${i}` }],
    },
    { role: "assistant", content: `he ${i}` },
  ],
  images: i % 3 === 0 ? [] : [{ kind: "bytes", bytes: picture, name: "chroma_411.png" }],
}));

async function run(out: string, options: Partial<QuantizeOptions> = {}): Promise<void> {
  const open: OpenModel = await openFolder(tinyFolder());
  await quantize(open, out, { threads: 1, recipe, data, calibrationItems: 8, seed: 5, ...options });
}

/** Stops after so many progress calls. */
function stopAfter(calls: number): Partial<QuantizeOptions> & { readonly calls: () => number } {
  const controller = new AbortController();
  let seen = 0;
  return {
    signal: controller.signal,
    onProgress: () => {
      if (++seen === calls) controller.abort();
    },
    calls: () => seen,
  };
}

Deno.test("a speed-q run stopped at 20 random moments and resumed writes the same bytes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const whole = `${folder}/whole.lobit`;
    const counting = stopAfter(Infinity);
    await run(whole, counting);
    const expected = await Deno.readFile(whole);
    const total = counting.calls();
    assert(total > 30, `${total} moments`);
    const random = new Random(2);
    for (let trial = 0; trial < 20; trial++) {
      const out = `${folder}/trial-${trial}.lobit`;
      // Up to three stops: each run goes on from what the one before has left.
      for (let stops = 1 + random.integer(3), first = true; stops > 0; stops--, first = false) {
        const moment = stopAfter(1 + random.integer(total - 1));
        try {
          await run(out, { ...moment, resume: !first });
          break;
        } catch (error) {
          assert(error instanceof LobitError && error.code === "aborted", String(error));
        }
      }
      if (!await exists(out)) await run(out, { resume: true });
      assertEquals(await Deno.readFile(out), expected, `trial ${trial}`);
      assertEquals(await exists(`${out}.work`), false);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a resumed run with another seed is refused, and an unfinished one is not overwritten", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const out = `${folder}/model.lobit`;
    await assertRejects(() => run(out, stopAfter(20)), LobitError);
    await assertRejects(() => run(out), LobitError, "go on with --resume");
    await assertRejects(
      () => run(out, { resume: true, seed: 6 }),
      LobitError,
      "belongs to another run",
    );
    await run(out, { resume: true });
    assert(await exists(out));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("every mistake of a recipe that needs data is told before any work", async () => {
  await assertRejects(() => run("/nowhere/x.lobit", { data: [] }), LobitError, "looks at data");
});

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
