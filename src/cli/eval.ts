// `lobit eval`: accuracy on a VLMEvalKit TSV.
import { openEvalData } from "../data/files.ts";
import type { EvalItem } from "../data/tsv.ts";
import { evaluate } from "../eval/evaluate.ts";
import { loadModel } from "../generate/model.ts";
import { ENGINE_FLAGS, MODEL_FLAGS } from "./flags.ts";
import { duration, startProgress } from "./progress.ts";
import { table } from "./text.ts";
import { loadOptions, type Verb } from "./verb.ts";

/** The verb. */
export const evaluateVerb: Verb = {
  name: "eval",
  summary: "measure accuracy on a TSV of questions with pictures",
  usage: "FILE|MODEL DATA.tsv",
  positional: [2, 2],
  flags: [
    {
      name: "limit",
      kind: "number",
      value: "N",
      help: "take N items, evenly spread over the file (default: all)",
    },
    { name: "batch", kind: "number", value: "N", help: "items answered at once (default 16)" },
    { name: "max-tokens", kind: "number", value: "N", help: "longest answer (default 32)" },
    ...MODEL_FLAGS,
    { name: "items", kind: "switch", help: "with --json: every answer, too" },
    ...ENGINE_FLAGS,
  ],
  examples: [
    ["lobit eval model.lobit dev.tsv", "accuracy per category, and their mean"],
    ["lobit eval ./InternVL3-1B dev.tsv --limit 200", "the full-precision model on 200 items"],
    ["lobit eval model.lobit dev.tsv --json", '{"average":…,"categories":{…},"counts":{…}}'],
  ],
  async run({ args, console, say }) {
    const [from, data] = args.positional as [string, string];
    const signal = console.interrupt();
    const limit = args.integer("limit", 1);
    const settings = {
      batch: args.integer("batch", 1),
      maxTokens: args.integer("max-tokens", 1),
      maxTiles: args.integer("max-tiles", 1),
    };
    const { items, bad } = await openEvalData(data);
    if (bad.length > 0) {
      const [{ line, problem }] = bad as [typeof bad[0]];
      console.err(`${data}: ${bad.length} bad rows left out, e.g. line ${line}: ${problem}\n`);
    }
    const chosen = spread(items, limit ?? items.length);
    const model = await loadModel(from, loadOptions(args));
    try {
      const start = performance.now();
      const progress = startProgress(console, "evaluating");
      const result = await evaluate(model, chosen, {
        ...settings,
        signal,
        onProgress: (done, total) => progress.update(done, total, `${done} of ${total} items`),
      }).finally(() => progress.end());
      const { average, categories, counts } = result;
      const rows = [["category", "items", "accuracy"]];
      for (const [category, percent] of Object.entries(categories)) {
        rows.push([category, String(counts[category]), `${percent.toFixed(2)} %`]);
      }
      rows.push(["average", String(chosen.length), `${average.toFixed(2)} %`]);
      say(table(rows, [1, 2]));
      console.err(`${chosen.length} items in ${duration(performance.now() - start)}\n`);
      return { average, categories, counts, ...(args.has("items") && { items: result.items }) };
    } finally {
      model.close();
    }
  },
};

/** `count` items at equal distances, so that a file sorted by category is still covered. */
export function spread(items: readonly EvalItem[], count: number): readonly EvalItem[] {
  if (count >= items.length) return items;
  return Array.from({ length: count }, (_, i) => items[Math.floor(i * items.length / count)]!);
}
