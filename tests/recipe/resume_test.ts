// A run that is stopped anywhere and resumed ends in the very file that an uninterrupted run writes: stopped by a signal,
// by an error out of nowhere, and by the system, which asks nobody.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import type { Recipe } from "../../src/recipe/recipe.ts";
import { quantize, type QuantizeOptions } from "../../src/recipe/quantize.ts";
import { speedQPaperRecipe, speedQRecipe } from "../../src/recipe/speed_q.ts";
import { killedRun, resumeOptions } from "./resumed_run.ts";

const BITS = { vision: 2, projector: 16, language: 2, embedding: 4 };
const recipe = speedQPaperRecipe(BITS, {
  visionSteps: 3,
  projector: { steps: 5, batch: 2, lr: 1e-3 },
  language: { steps: 5, batch: 2, lr: 1e-3 },
});
const RECIPES: readonly Recipe[] = [
  recipe,
  speedQRecipe(BITS, { language: { steps: 5, batch: 2, lr: 1e-3 } }),
];
/** Moments in each stage at which runs are stopped. */
const MOMENTS = 20;

async function run(out: string, other: Partial<QuantizeOptions> = {}): Promise<void> {
  const { open, options } = await resumeOptions("tiny");
  await quantize(open, out, { recipe, ...options, ...other });
}

/** How often each stage of a whole run reports, by its number. */
async function wholeRun(out: string, recipe: Recipe): Promise<Map<number, number>> {
  const calls = new Map<number, number>();
  await run(out, {
    recipe,
    onProgress: ({ at: { place } }) => void calls.set(place, (calls.get(place) ?? 0) + 1),
  });
  return calls;
}

/** Stops a run when a stage has reported so often: by a signal, which lets it save, or by an error. */
async function stopped(
  out: string,
  other: Partial<QuantizeOptions>,
  stage: number,
  times: number,
  kill: boolean,
): Promise<boolean> {
  const controller = new AbortController();
  let seen = 0;
  const onProgress: QuantizeOptions["onProgress"] = ({ at }) => {
    if (at.place !== stage || ++seen !== times) return;
    if (kill) throw new Error("killed");
    controller.abort();
  };
  try {
    await run(out, { ...other, onProgress, signal: controller.signal });
    return false;
  } catch (error) {
    const aborted = error instanceof LobitError && error.code === "aborted";
    assert(aborted || (error as Error).message === "killed", String(error));
    return true;
  }
}

for (const recipe of RECIPES) {
  Deno.test(`${recipe.name}, stopped at ${MOMENTS} random moments of every stage, writes the same bytes`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const whole = `${folder}/whole.lobit`;
      const calls = await wholeRun(whole, recipe);
      const expected = await Deno.readFile(whole);
      // What fits a part in closed form is one moment and reports nothing.
      const tellers = recipe.stages.flatMap(({ method }, i) => method === "refit" ? [] : [i + 1]);
      assertEquals([...calls.keys()].sort(), tellers);
      const random = new Random(2);
      const left = new Map(tellers.map((stage) => [stage, MOMENTS]));
      for (let trial = 0; [...left.values()].some((count) => count > 0); trial++) {
        assert(trial < 200, "the stages are not reached");
        const out = `${folder}/trial-${trial}.lobit`;
        // Up to six stops: each run goes on from what the one before has left.
        let done = false;
        for (let stops = 0; stops < 6 && !done; stops++) {
          const open = [...left].filter(([, count]) => count > 0);
          if (open.length === 0) break;
          const [stage, count] = open[random.integer(open.length)]!;
          const times = 1 + random.integer(calls.get(stage)!);
          const other = { recipe, resume: stops > 0 };
          if (await stopped(out, other, stage, times, random.uniform() < 0.5)) {
            left.set(stage, count - 1);
          } else done = true;
        }
        if (!await exists(out)) await run(out, { recipe, resume: true });
        assertEquals(await Deno.readFile(out), expected, `trial ${trial}`);
        assertEquals(await exists(`${out}.work`), false);
        await Deno.remove(out);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("a process killed in every stage goes on to the same bytes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const whole = `${folder}/whole.lobit`;
    const calls = await wholeRun(whole, recipe);
    const own = `${folder}/own.json`;
    await Deno.writeTextFile(own, JSON.stringify(recipe));
    const out = `${folder}/killed.lobit`;
    const random = new Random(3);
    for (const [stage, count] of calls) {
      // Not its last report, after which the process may be too quick to be killed.
      const times = 1 + random.integer(Math.max(1, count / 2));
      const args = [out, own, "tiny", ...(stage > 1 ? ["resume"] : [])];
      assert(await killedRun(args, stage, times), `stage ${stage}`);
      assertEquals(await exists(out), false);
    }
    await run(out, { resume: true });
    assertEquals(await Deno.readFile(out), await Deno.readFile(whole));
    assertEquals(await exists(`${out}.work`), false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a resumed run with another seed is refused, and an unfinished one is not overwritten", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const out = `${folder}/model.lobit`;
    assert(await stopped(out, {}, 1, 5, false));
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
  await assertRejects(() => run("/nowhere/x.lobit", { saveEvery: 0 }), LobitError, "from 1");
});

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
