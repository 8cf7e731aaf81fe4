// `lobit quantize`: a Hugging Face folder in, one packed file out.
import { openModel } from "../models/open.ts";
import { planRecipe } from "../recipe/plan.ts";
import { chooseRecipe, type RecipeChoice, RECIPES } from "../recipe/choose.ts";
import { quantize as quantizeModel } from "../recipe/quantize.ts";
import { parseRule } from "../recipe/recipe.ts";
import { type Arguments, ENGINE_FLAGS } from "./flags.ts";
import { duration, startStages } from "./progress.ts";
import { ownRecipe, readData, tellBad } from "./data.ts";
import { estimateOf, estimateText } from "./estimate.ts";
import { adjustedTexts, planJson, planText, reportPlan } from "./plan_text.ts";
import { Reporter } from "./report.ts";
import { REPORT_FLAGS, reportWanted } from "./report_flags.ts";
import { bytesText } from "./text.ts";
import { engineOptions, required, type Verb } from "./verb.ts";

const BITS = ["2", "3", "4", "16"];
const WIDE_BITS = ["4", "8", "16"];

/** The verb. */
export const quantize: Verb = {
  name: "quantize",
  summary: "turn a Hugging Face folder into one packed file of 2 to 4 bits",
  usage: "MODEL -o FILE --bits 2|3|4",
  positional: [1, 1],
  flags: [
    { name: "output", letter: "o", kind: "text", value: "FILE", help: "the packed file to write" },
    {
      name: "bits",
      kind: "number",
      value: "N",
      choices: BITS,
      help: "bits of the linears of vision tower and language model (default 4)",
    },
    {
      name: "vision-bits",
      kind: "number",
      value: "N",
      choices: BITS,
      help: "bits of the vision tower, if others; 16 keeps it",
    },
    {
      name: "projector-bits",
      kind: "number",
      value: "N",
      choices: WIDE_BITS,
      help: "bits of the projector (default 16: kept)",
    },
    {
      name: "language-bits",
      kind: "number",
      value: "N",
      choices: BITS,
      help: "bits of the language model, if others; 16 keeps it",
    },
    {
      name: "embedding-bits",
      kind: "number",
      value: "N",
      choices: WIDE_BITS,
      help: "bits of embedding and head (default 4)",
    },
    {
      name: "clip",
      kind: "switch",
      help: "shrink each group's range to where its weights' error is least",
    },
    {
      name: "set",
      kind: "list",
      value: "'PATTERN=FORMAT'",
      help:
        "format of the linears whose names match, e.g. '*.v_proj=w4g32q128' or '*.lm_head=keep'",
    },
    {
      name: "recipe",
      kind: "text",
      value: "NAME",
      help: `how codes are found: ${RECIPES.join(", ")} (default rtn), or a JSON file of your own`,
    },
    {
      name: "data",
      kind: "list",
      value: "PATH",
      help:
        "what to calibrate and train on: conversations with pictures (LLaVA style JSONL, or a TSV with answers), a " +
        "folder of pictures for the vision part, a .txt for the language part; may be repeated",
    },
    {
      name: "bad-share",
      kind: "number",
      value: "X",
      help: "largest share of unusable records that is told but not fatal (default 0.01)",
    },
    {
      name: "calibration-items",
      kind: "number",
      value: "N",
      help:
        "records of each kind that calibration looks at (default 320, quick 96); training takes all",
    },
    { name: "seed", kind: "number", value: "N", help: "seed of every random choice (default 0)" },
    { name: "quick", kind: "switch", help: "speed-q in a few minutes, for a first look" },
    { name: "equalize", kind: "switch", help: "calibrated recipes: scale channels before" },
    {
      name: "save-every",
      kind: "number",
      value: "N",
      help: "training steps between two saved states (default 20)",
    },
    { name: "resume", kind: "switch", help: "go on from what a stopped run has left in FILE.work" },
    {
      name: "dry-run",
      kind: "switch",
      help: "print the plan, with time and memory by a measured sample, and stop",
    },
    ...REPORT_FLAGS,
    ...ENGINE_FLAGS,
  ],
  examples: [
    [
      "lobit quantize ./InternVL3-1B -o model.lobit --bits 4",
      "4 bits everywhere but the projector",
    ],
    [
      "lobit quantize ./InternVL3-1B --bits 2 --dry-run",
      "sizes that 2 bits would give, and about how long it would take here",
    ],
    [
      "lobit quantize ./InternVL3-1B -o model.lobit --bits 2 --vision-bits 4 --clip",
      "a finer vision tower, clipped ranges",
    ],
    [
      "lobit quantize ./InternVL3-1B -o model.lobit --bits 2 --recipe speed-q --data calib.jsonl",
      "trained at 2 bits; stop it any time and go on with --resume",
    ],
    [
      "lobit quantize ./InternVL3-1B -o model.lobit --recipe gptq --data photos/ --data novel.txt",
      "calibrated on a folder of pictures and on plain text",
    ],
    [
      "lobit quantize ./InternVL3-1B -o model.lobit --bits 2 --set '*.down_proj=w4'",
      "single linears finer than the others",
    ],
    [
      "lobit quantize ./InternVL3-1B -o model.lobit --bits 2 --report run.html --eval dev.tsv",
      "a page with sizes, errors, accuracy and answers before and after",
    ],
  ],
  async run({ args, console, say }) {
    const model = args.positional[0]!;
    const choice = choiceOf(args);
    const paths = args.list("data");
    const maxBadShare = args.number("bad-share");
    const recipe = chooseRecipe(choice);
    const dry = args.has("dry-run");
    const output = dry ? undefined : required(args, "output", "-o FILE names the packed file.");
    const options = engineOptions(args);
    const signal = console.interrupt();
    const wanted = await reportWanted(args, output);
    const open = await openModel(model);
    try {
      if (output === undefined) {
        const plan = planRecipe(recipe, open.tensors);
        say(planText(model, plan, open.tensors));
        const given = await readData(paths, say, maxBadShare);
        const calibrationItems = args.integer("calibration-items", 1);
        const { seed, quick } = choice;
        const how = { ...options, ...given, seed, quick, calibrationItems, signal };
        const estimate = await estimateOf(open, plan, how, paths.length > 0);
        say(estimateText(estimate));
        return { model, ...planJson(plan, open.tensors), estimate };
      }
      const start = performance.now();
      const progress = startStages(
        console,
        "loading",
        ({ place, places }, stage) => `stage ${place} of ${places}, ${stage}`,
      );
      const reporter = wanted &&
        new Reporter(wanted, { open, recipe, engine: options, console, signal });
      try {
        const work = async () =>
          await quantizeModel(open, output, {
            ...options,
            recipe,
            seed: choice.seed,
            calibrationItems: args.number("calibration-items"),
            resume: args.has("resume"),
            saveEvery: args.integer("save-every", 1),
            ...await readData(paths, say, maxBadShare),
            maxBadShare,
            onLeftOut: (what, bad, total) => tellBad(what, bad, total, say),
            signal,
            onPlan(plan) {
              say(planText(model, plan, open.tensors));
              reporter?.plan(reportPlan(plan, open.tensors), adjustedTexts(plan));
            },
            onProgress(done) {
              const { name, step, memory } = done;
              const note = step ? `${name}, loss ${step.loss.toFixed(3)}` : name;
              progress.update(done, `${note}, ${bytesText(memory)}`);
            },
          });
        const done = await (reporter ? reporter.run(work) : work());
        const { plan, fileBytes, peakMemory } = done;
        progress.end();
        const ms = performance.now() - start;
        say(
          `\nWrote ${output}: ${bytesText(fileBytes)} in ${duration(ms)}, ` +
            `at most ${bytesText(peakMemory)} for weights and activations.\n`,
        );
        const report = await reporter?.finish(output, done);
        if (wanted) say(`Wrote ${wanted.html} and ${wanted.json}.\n`);
        return {
          model,
          file: output,
          fileBytes,
          peakMemory,
          seconds: ms / 1000,
          ...planJson(plan, open.tensors),
          ...report,
        };
      } finally {
        progress.end();
      }
    } finally {
      open.close();
    }
  },
};

function choiceOf(args: Arguments): RecipeChoice {
  return {
    recipe: ownRecipe(args.text("recipe")),
    seed: args.number("seed"),
    quick: args.has("quick"),
    equalize: args.has("equalize"),
    bits: args.number("bits"),
    vision: args.number("vision-bits"),
    projector: args.number("projector-bits"),
    language: args.number("language-bits"),
    embedding: args.number("embedding-bits"),
    clip: args.has("clip"),
    rules: args.list("set").map(parseRule),
  };
}
