// The quality table: accuracy and cost of every recipe on the shipped model, through packed integer inference.
// deno run -A --v8-flags=--no-liftoff tests/bench/quality/main.ts [--rows PATTERN] [--seeds 0,1,2] [--tune] [--threads N]
// Any run may be stopped (Ctrl-C) and the same command goes on where it was. Runs that are known are not repeated; one
// whose recipe, seed, model or data changed is. --list shows the rows, --table prints what is known and runs nothing,
// --recipe NAME=FILE.json adds a row, --every N asks every Nth item, --out FOLDER is where results are kept.
// Code is no part of a fingerprint: after a change of the quantizer remove the folder, or name another.
import { parseArgs } from "node:util";
import { parseJson } from "../../../src/io/bytes.ts";
import { matches } from "../../../src/recipe/recipe.ts";
import { readRecipe } from "../../../src/recipe/read.ts";
import {
  digest,
  digestFolder,
  isComplete,
  type Job,
  type Questions,
  readRecord,
  writeJson,
} from "./records.ts";
import { allRows, ownRow, type Row } from "./rows.ts";
import { categoryTable, type Entry, qualityTable } from "./table.ts";

const CALIBRATION_ITEMS = 320;
const here = (file: string) => decodeURIComponent(new URL(file, import.meta.url).pathname);
const text = { type: "string" } as const, flag = { type: "boolean" } as const;
const { values: args } = parseArgs({
  args: Deno.args,
  options: {
    ...{ rows: text, seeds: text, threads: text, every: text, out: text },
    ...{ tune: flag, list: flag, table: flag },
    recipe: { type: "string", multiple: true },
  },
});

function fail(text: string): never {
  console.error(text);
  Deno.exit(2);
}

function whole(text: string | undefined, name: string, least: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value) || value < least) {
    fail(`--${name} must be a whole number from ${least}, not ${text}.`);
  }
  return value;
}

const out = args.out ?? here("../../.cache/quality");
const records = `${out}/runs`;
const seeds = (args.seeds ?? "0,1,2").split(",").map((text) => whole(text, "seeds", 0)!);
const threads = whole(args.threads, "threads", 1);
const every = whole(args.every, "every", 1) ?? 1;
const rows = [...allRows(), ...(args.recipe ?? []).map(readRow)];
const patterns = (args.rows ?? "*").split(",");
// A recipe's name stands for it at all bits.
const chosen = rows.filter(({ id }) =>
  patterns.some((pattern) => matches(pattern, id) || matches(pattern, id.replace(/-[234]$/, "")))
);
if (chosen.length === 0) fail(`No row is called ${args.rows}; --list shows all.`);

function readRow(text: string): Row {
  const [, id, file] = /^([\w.-]+)=(.+)$/.exec(text) ??
    fail(`--recipe takes NAME=FILE.json, not ${text}.`);
  return ownRow(id!, readRecipe(parseJson(Deno.readTextFileSync(file!), file!), file!));
}

Deno.mkdirSync(`${records}/stages`, { recursive: true });
const model = here("../../models/pocket-internvl");
const calibration = here("../../data/calib");
const common = {
  model,
  data: `${calibration}/calib.jsonl`,
  calibrationItems: CALIBRATION_ITEMS,
  folder: records,
  threads,
};
const content = [await digestFolder(model), await digestFolder(calibration), CALIBRATION_ITEMS];

async function questionsOf(name: "dev" | "tune"): Promise<Questions> {
  const path = here(`../../data/pocketvqa_${name}.tsv`);
  return {
    name,
    path,
    every,
    fingerprint: await digest([await digest(Deno.readFileSync(path)), every]),
  };
}
const asked = [await questionsOf("dev"), ...(args.tune ? [await questionsOf("tune")] : [])];

async function jobOf(row: Row, seed: number): Promise<Job> {
  const recipe = row.recipe?.(seed) ?? null;
  // What a recipe is called does not change what it does.
  const own = row.begun ? 0 : seed;
  const fingerprint = await digest([recipe?.stages ?? null, recipe ? own : 0, content]);
  const title = row.seeded ? `${row.id}, seed ${seed}` : row.id;
  return { ...common, title, fingerprint, recipe, seed: own, questions: asked };
}

/** The runs in the order in which they are made: all rows once before any row again. */
const jobs: { row: Row; seed: number; job: Job }[] = [];
for (const seed of seeds) {
  for (const row of chosen) {
    if (!row.seeded && seed !== seeds[0]) continue;
    const own = row.seeded ? seed : 0;
    jobs.push({ row, seed: own, job: await jobOf(row, own) });
  }
}

if (args.list) {
  for (const { row, job } of jobs) {
    const record = readRecord(records, job.fingerprint);
    const state = isComplete(record, job) ? "done" : record?.making ? "begun" : "open";
    const stages = job.recipe?.stages.map(({ part, method }) => `${part} ${method}`) ?? [];
    console.log([state, job.title, job.fingerprint, row.section, stages.join(", ")].join("\t"));
  }
  Deno.exit(0);
}

const controller = new AbortController();
let child: Deno.ChildProcess | undefined;
const failed: string[] = [];
if (!args.table) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      controller.abort();
      // A terminal tells the child, too; it does not mind being told twice.
      child?.kill(signal);
    });
  }
  for (const [i, { row, seed, job }] of jobs.entries()) {
    if (controller.signal.aborted) break;
    if (!isComplete(readRecord(records, job.fingerprint), job)) {
      console.error(`[${i + 1} of ${jobs.length}] ${job.title}`);
      child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--v8-flags=--no-liftoff", here("child.ts"), JSON.stringify(job)],
        stdin: "null",
      }).spawn();
      const { code } = await child.status;
      child = undefined;
      if (controller.signal.aborted) break;
      if (code !== 0) {
        failed.push(job.title);
        continue;
      }
    }
    const record = readRecord(records, job.fingerprint)!;
    const { id, name, section, bits } = row;
    writeJson(`${out}/${id}.seed-${seed}.json`, { id, name, section, bits, ...record });
  }
}

/** What is known of a row, whether it was chosen now or not. */
async function entryOf(row: Row, questions: Questions): Promise<Entry> {
  const runs: Entry["runs"][number][] = [];
  for (const seed of row.seeded ? seeds : [0]) {
    const { fingerprint } = await jobOf(row, seed);
    const { making, evaluations } = readRecord(records, fingerprint) ?? {};
    const evaluated = evaluations?.[questions.fingerprint];
    if (making?.done && evaluated) runs.push({ hits: evaluated.hits, making });
  }
  return { row, runs };
}

for (const questions of asked) {
  const entries: Entry[] = [];
  for (const row of rows) entries.push(await entryOf(row, questions));
  const part = every === 1 ? "" : `, every ${every}th item`;
  console.log(`\n### ${questions.name}${part}\n\n${qualityTable(entries)}`);
  console.log(`Accuracy per category, percent:\n\n${categoryTable(entries)}`);
}
if (controller.signal.aborted) console.error("Stopped; the same command goes on from here.");
for (const title of failed) console.error(`Failed: ${title}`);
Deno.exit(controller.signal.aborted ? 130 : failed.length > 0 ? 1 : 0);
