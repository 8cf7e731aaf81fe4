// A model folder in, a packed file out: opens, plans, loads, runs the recipe and writes.
import { badRequest, throwIfAborted } from "../base/errors.ts";
import type { ByteSink } from "../io/bytes.ts";
import { type AsideFile, folderOf, writeAside } from "../io/host.ts";
import { isSameFile, kindIfAllowed } from "../io/host_folder.ts";
import { type OpenModel, openModel } from "../models/open.ts";
import { writePacked } from "../models/packed_file.ts";
import { Engine, type EngineOptions } from "../../wasm/mod.ts";
import { type Plan, planRecipe } from "./plan.ts";
import { type Recipe, rtnRecipe, type Rule } from "./recipe.ts";
import { type Progress, runPlan } from "./run.ts";

/** What to do to a model: the name of a recipe with its bits, or a recipe of your own. */
export interface RecipeChoice {
  /** A recipe, or the name of a known one; default `rtn`. */
  readonly recipe?: string | Recipe | undefined;
  /** Bits of the linears of vision tower and language model: 2, 3, 4 or 16; default 4. */
  readonly bits?: number | undefined;
  /** Bits of the vision tower, if others. */
  readonly vision?: number | undefined;
  /** Bits of the projector: 4, 8 or 16; default 16. */
  readonly projector?: number | undefined;
  /** Bits of the language model, if others. */
  readonly language?: number | undefined;
  /** Bits of embedding and head: 4, 8 or 16; default 4. */
  readonly embedding?: number | undefined;
  /** Whether each group's range first shrinks to the least weight error. */
  readonly clip?: boolean | undefined;
  /** Formats by linear name, applied last. */
  readonly rules?: readonly Rule[] | undefined;
}

/** How to quantize. */
export interface QuantizeOptions extends RecipeChoice, EngineOptions {
  /** Stops the work; no file is left then. */
  readonly signal?: AbortSignal | undefined;
  /** Called with the whole plan before any work. */
  readonly onPlan?: (plan: Plan) => void;
  /** Called after each linear. */
  readonly onProgress?: (progress: Progress) => void;
}

/** What was done. */
export interface QuantizeReport {
  /** What became of each weight. */
  readonly plan: Plan;
  /** Bytes of the packed file. */
  readonly fileBytes: number;
  /** Most bytes of shared memory in use at any time. */
  readonly peakMemory: number;
}

/** Recipes that can be asked for by name. */
export const RECIPES: readonly string[] = ["rtn"];

/** The recipe that a choice stands for. Throws `bad-request` on unknown names and impossible bits. */
export function chooseRecipe(choice: RecipeChoice): Recipe {
  const { recipe = "rtn", bits = 4, projector = 16, embedding = 4 } = choice;
  if (typeof recipe !== "string") return recipe;
  if (!RECIPES.includes(recipe)) {
    throw badRequest(`There is no recipe "${recipe}"; known are: ${RECIPES.join(", ")}.`);
  }
  const all = {
    vision: choice.vision ?? bits,
    language: choice.language ?? bits,
    projector,
    embedding,
  };
  const allowed = { vision: [2, 3, 4, 16], language: [2, 3, 4, 16], projector: [4, 8, 16] };
  for (const [part, value] of Object.entries(all)) {
    const known = allowed[part as keyof typeof allowed] ?? allowed.projector;
    if (!known.includes(value)) {
      throw badRequest(
        `The ${part} bits can be ${known.slice(0, -1).join(", ")} or ${known.at(-1)}, ` +
          `not ${value}.`,
      );
    }
  }
  return rtnRecipe(all, choice.clip, choice.rules);
}

/**
 * Quantizes a Hugging Face folder into a packed file, given by its path or as a sink. The file is written aside and
 * renamed when it is complete. The whole plan is checked before any work.
 */
export async function quantize(
  model: string | OpenModel,
  out: string | ByteSink,
  options: QuantizeOptions = {},
): Promise<QuantizeReport> {
  const recipe = chooseRecipe(options);
  const open = typeof model === "string" ? await openModel(model) : model;
  let engine: Engine | undefined;
  try {
    const plan = planRecipe(recipe, open.tensors);
    options.onPlan?.(plan);
    if (typeof out === "string") checkOutput(open, out);
    engine = await Engine.create(options);
    const vlm = await open.load(engine);
    throwIfAborted(options.signal);
    await runPlan(engine.memory, vlm, plan, options);
    throwIfAborted(options.signal);
    const write = (sink: ByteSink) => writePacked(sink, engine!, vlm, open.assets.texts, recipe);
    let fileBytes: number;
    if (typeof out === "string") {
      const file = writeAside(out);
      try {
        await write(file);
        fileBytes = file.size;
        file.commit();
      } finally {
        file.abort();
      }
    } else {
      const before = out.size;
      await write(out);
      fileBytes = out.size - before;
    }
    return { plan, fileBytes, peakMemory: engine.memory.peak };
  } finally {
    engine?.close();
    if (typeof model === "string") open.close();
  }
}

/** Finds out before the work whether its result can be written, and that it does not replace the input. */
function checkOutput(open: OpenModel, out: string): void {
  if (isSameFile(out, open.name)) {
    throw badRequest(`${out} is the model itself; give the packed file another name.`);
  }
  const kind = kindIfAllowed(out);
  if (kind === "folder") throw badRequest(`${out} is a folder; name a file in it.`);
  if (open.kind === "folder" && isSameFile(folderOf(out), open.name) && kind !== "none") {
    throw badRequest(
      `${out} exists in the model's own folder; write the packed file under a new name or elsewhere.`,
    );
  }
  // An older file at this path stays as it is until the new one is complete.
  const probe: AsideFile = writeAside(out);
  probe.abort();
}
