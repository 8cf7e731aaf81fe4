// A whole run on the pocket model, its process killed in each of three stages: the packed file is the one of an
// undisturbed run, byte for byte.
import { assert, assertEquals } from "@std/assert";
import { quantize } from "../../src/recipe/quantize.ts";
import { readRecipe } from "../../src/recipe/read.ts";
import { killedRun, resumeOptions } from "../recipe/resumed_run.ts";

/** Two blocks of tower and language model and few steps, so that the run takes seconds; all three stages train. */
const RECIPE = {
  name: "speed-q, a little of it",
  stages: [
    {
      part: "vision",
      method: "sign-round",
      steps: 2,
      rules: [
        { layers: "*", format: "keep" },
        { layers: "*.layer.0.attention.*", format: "w2" },
        { layers: "*.layer.5.attention.*", format: "w2" },
      ],
    },
    {
      part: "projector",
      method: "train",
      training: { steps: 3, batch: 2 },
      rules: [{ layers: "*", format: "keep" }],
    },
    {
      part: "language",
      method: "train",
      training: { steps: 4, batch: 2 },
      clip: ["*.layers.1.self_attn.v_proj"],
      rules: [
        { layers: "*", format: "w2" },
        { layers: "*.embed_tokens", format: "s4" },
        { layers: "*.lm_head", format: "s4" },
      ],
    },
  ],
};

Deno.test("a whole run on the pocket model, killed in every stage, ends in the same file", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const own = `${folder}/own.json`;
    await Deno.writeTextFile(own, JSON.stringify(RECIPE));
    const recipe = readRecipe(RECIPE, own);
    const run = async (out: string, resume: boolean): Promise<Uint8Array> => {
      const { open, options } = await resumeOptions("pocket");
      try {
        await quantize(open, out, { ...options, recipe, resume });
      } finally {
        open.close();
      }
      return await Deno.readFile(out);
    };
    const out = `${folder}/killed.lobit`;
    for (const [stage, times] of [[1, 5], [2, 1], [3, 4]] as const) {
      const args = [out, own, "pocket", ...(stage > 1 ? ["resume"] : [])];
      assert(await killedRun(args, stage, times), `stage ${stage}`);
    }
    const resumed = await run(out, true);
    const whole = await run(`${folder}/whole.lobit`, false);
    assert(whole.length > 4_000_000);
    assertEquals(resumed.length, whole.length);
    assertEquals(resumed.findIndex((byte, i) => byte !== whole[i]), -1);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
