// A quantize run as a process of its own, for tests that kill it: prints the stage's number for every progress.
// Arguments: the packed file, a JSON file with a recipe, "tiny" or "pocket", and "resume" to go on.
import { quantize } from "../../src/recipe/quantize.ts";
import { readRecipe } from "../../src/recipe/read.ts";
import { resumeOptions } from "./resumed_run.ts";

const [out, recipe, model, resume] = Deno.args;
const text = await Deno.readTextFile(recipe!);
const { open, options } = await resumeOptions(model === "tiny" ? "tiny" : "pocket");
const line = new TextEncoder();
await quantize(open, out!, {
  ...options,
  recipe: readRecipe(JSON.parse(text), recipe!),
  resume: resume === "resume",
  onProgress: ({ at }) => void Deno.stdout.writeSync(line.encode(`${at.place}\n`)),
});
