// `lobit demo`: quantizes the shipped pocket model to 2 bits, by rounding and by SPEED-Q in a hurry, and shows what is lost
// and what is kept. Works in a clone, where the model, the questions and the pictures lie under tests/.
import type * as NodeFs from "node:fs";
import type * as NodeOs from "node:os";
import type * as NodeUrl from "node:url";
import { badRequest } from "../base/errors.ts";
import { openChatData, openEvalData } from "../data/files.ts";
import type { EvalItem } from "../data/tsv.ts";
import { evaluate, type Evaluation } from "../eval/evaluate.ts";
import { loadModel } from "../generate/model.ts";
import { bufferSink, bufferSource } from "../io/bytes.ts";
import { joinPath, kindOf } from "../io/host.ts";
import { inspectModel } from "../models/inspect.ts";
import { type OpenModel, openModel, openPacked } from "../models/open.ts";
import { quantize } from "../recipe/quantize.ts";
import type { Progress } from "../recipe/run.ts";
import type { EngineOptions } from "../../wasm/mod.ts";
import type { Console } from "./console.ts";
import { ENGINE_FLAGS } from "./flags.ts";
import { startProgress, startStages } from "./progress.ts";
import { bytesText, table } from "./text.ts";
import { engineOptions, type Verb } from "./verb.ts";

/** Bits of the packed models. */
const BITS = 2;
/** What is shown besides what rounding takes away. */
const RECIPE = "speed-q";
/** By default every so manyth dev item is asked. */
const EVERY = 8;
/** Questions shown with the models' answers. */
const SHOWN = 6;

/** The verb. */
export const demo: Verb = {
  name: "demo",
  summary: "quantize and question the shipped pocket model (in a clone)",
  usage: "",
  positional: [0, 0],
  flags: [
    {
      name: "every",
      kind: "number",
      value: "N",
      help: `ask every Nth dev item (default ${EVERY})`,
    },
    {
      name: "recipe",
      kind: "text",
      value: "NAME",
      help: `how the second 2-bit model is made (default ${RECIPE})`,
    },
    ...ENGINE_FLAGS,
  ],
  examples: [
    [
      "lobit demo",
      "trains 2 bits: accuracy and answers before and after, in about three minutes",
    ],
    ["lobit demo --recipe fast", "the same without training, in about a minute"],
  ],
  async run({ args, console, say }) {
    const every = args.integer("every", 1) ?? EVERY;
    const { model, data, calibration } = shippedFiles();
    const options = engineOptions(args);
    const { items } = await openEvalData(data);
    const asked = items.filter((_, i) => i % every === 0);
    const signal = console.interrupt();
    const work = { asked, calibration, options, console, signal };
    const folder = temporaryFolder();
    try {
      say(
        `The pocket model: ${model}\n${asked.length} questions of ${data}\n\n`,
      );
      const results = [await measure("16 bits", await openModel(model), work)];
      for (const recipe of ["rtn", args.text("recipe") ?? RECIPE]) {
        const packed = await pack(model, recipe, folder, work);
        results.push(await measure(`${BITS} bits, ${recipe}`, packed, work));
      }
      say(resultText(results));
      say(answerText(asked, results));
      return {
        items: asked.length,
        models: results.map(({ name, bytes, bitsPerWeight, scores }) => {
          const { average, categories } = scores;
          return { name, bytes, bitsPerWeight, average, categories };
        }),
      };
    } finally {
      if (folder !== undefined) removeFolder(folder);
    }
  },
};

interface Work {
  asked: readonly EvalItem[];
  /** Path of the calibration data. */
  calibration: string;
  options: EngineOptions;
  console: Console;
  signal: AbortSignal;
}

interface Result {
  name: string;
  bytes: number;
  bitsPerWeight: number;
  scores: Evaluation;
}

/** Quantizes into the temporary folder, or in memory where there is none. */
async function pack(
  model: string,
  recipe: string,
  folder: string | undefined,
  { calibration, options, console, signal }: Work,
): Promise<OpenModel> {
  const name = `pocket-${recipe}-${BITS}bit.lobit`;
  const label = `${BITS} bits, ${recipe}`;
  const progress = startStages(
    console,
    label,
    ({ place }, stage) => `${label}, stage ${place}, ${stage}`,
  );
  const how = {
    ...options,
    ...{ bits: BITS, recipe, signal, quick: true },
    ...(recipe !== "rtn" && { data: openChatData(calibration).items, journal: false }),
    onProgress: (done: Progress) => progress.update(done, done.name),
  };
  try {
    if (folder !== undefined) {
      const path = joinPath(folder, name);
      await quantize(model, path, how);
      return await openModel(path);
    }
    const sink = bufferSink(name);
    await quantize(model, sink, how);
    return await openPacked(bufferSource(sink.bytes(), sink.name));
  } finally {
    progress.end();
  }
}

/** Size, accuracy and answers of one model; closes it. */
async function measure(
  name: string,
  open: OpenModel,
  { asked, options, console, signal }: Work,
): Promise<Result> {
  const model = await loadModel(open, options);
  const progress = startProgress(console, name);
  try {
    const { bytes, bitsPerWeight } = inspectModel(open);
    const scores = await evaluate(model, asked, {
      signal,
      onProgress: (done, total) => progress.update(done, total, `${done} of ${total} questions`),
    });
    return { name, bytes, bitsPerWeight, scores };
  } finally {
    progress.end();
    model.close();
  }
}

/** Up to `count` asked items, one per category, that the full-precision model answers right. */
function rightlyAnswered(items: readonly EvalItem[], { scores }: Result, count: number): number[] {
  const first = new Map<string, number>();
  items.forEach(({ category }, i) => {
    if (scores.items[i]!.correct && !first.has(category)) first.set(category, i);
  });
  return [...first.values()].slice(0, count);
}

function resultText(results: readonly Result[]): string {
  const categories = Object.keys(results[0]!.scores.categories);
  const rows = [["model", "size", "bits/weight", "accuracy", "kept", ...categories]];
  const full = results[0]!.scores.average;
  for (const { name, bytes, bitsPerWeight, scores } of results) {
    rows.push([
      name,
      bytesText(bytes),
      bitsPerWeight.toFixed(2),
      `${scores.average.toFixed(1)} %`,
      `${(100 * scores.average / full).toFixed(0)} %`,
      ...categories.map((category) => scores.categories[category]!.toFixed(0)),
    ]);
  }
  return table(rows, rows[0]!.map((_, i) => i).slice(1)) + "\n";
}

function answerText(items: readonly EvalItem[], results: readonly Result[]): string {
  const shown = rightlyAnswered(items, results[0]!, SHOWN).map((i) => {
    const { index, question, category, options } = items[i]!;
    const choices = options.map(({ letter, text }) => `${letter}. ${text}`).join("  ");
    const rows = results.map(({ name, scores }) => [`  ${name}`, scores.items[i]!.answer.trim()]);
    return `${category} ${index}: ${question}${choices && `  ${choices}`}\n${table(rows)}\n`;
  });
  return `Questions that the full-precision model answers right:\n\n${shown.join("")}`;
}

interface Builtins {
  getBuiltinModule(name: "node:fs"): typeof NodeFs;
  getBuiltinModule(name: "node:os"): typeof NodeOs;
  getBuiltinModule(name: "node:url"): typeof NodeUrl;
}

function builtins(): Builtins {
  return (globalThis as unknown as { process: Builtins }).process;
}

/** The model and questions of the clone that this file is part of. */
function shippedFiles(): { model: string; data: string; calibration: string } {
  const outside = badRequest(
    "The demo needs the model and pictures of a clone: git clone the repository and run " +
      "`deno task demo` in it.",
  );
  if (!import.meta.url.startsWith("file:")) throw outside;
  const { fileURLToPath } = builtins().getBuiltinModule("node:url");
  const path = (file: string) => fileURLToPath(new URL(`../../tests/${file}`, import.meta.url));
  const model = path("models/pocket-internvl");
  const data = path("data/pocketvqa_dev.tsv");
  const calibration = path("data/calib/calib.jsonl");
  const there = kindOf(model) === "folder" &&
    [data, calibration].every((file) => kindOf(file) === "file");
  if (!there) throw outside;
  return { model, data, calibration };
}

/** A new folder for packed files; nothing where none may be made. */
function temporaryFolder(): string | undefined {
  try {
    const { tmpdir } = builtins().getBuiltinModule("node:os");
    return builtins().getBuiltinModule("node:fs").mkdtempSync(joinPath(tmpdir(), "lobit-demo-"));
  } catch {
    return undefined;
  }
}

function removeFolder(folder: string): void {
  try {
    builtins().getBuiltinModule("node:fs").rmSync(folder, { recursive: true, force: true });
  } catch {
    // A left-over in the system's temporary folder does no harm; an error here would hide the one that led here.
  }
}
