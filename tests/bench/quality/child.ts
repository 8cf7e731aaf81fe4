// One run of the quality table in a process of its own, so that its memory and processor time are its own: quantizes, or
// goes on where it was stopped, then asks the questions that are not answered yet. What is known is written as it comes.
// Exit code 130: stopped by a signal. Argument: a Job as JSON.
import process from "node:process";
import { LobitError } from "../../../src/base/errors.ts";
import { startProgress } from "../../../src/cli/progress.ts";
import { openChatData, openEvalData } from "../../../src/data/files.ts";
import { evaluate } from "../../../src/eval/evaluate.ts";
import { loadModel } from "../../../src/generate/model.ts";
import { quantize } from "../../../src/recipe/quantize.ts";
import {
  type Evaluated,
  type Job,
  type Making,
  modelPath,
  type Questions,
  readRecord,
  type RunRecord,
  writeRecord,
} from "./records.ts";

/** Milliseconds between two writings of the time spent, so that a kill loses little of it. */
const KEPT_MS = 10_000;

const job = JSON.parse(Deno.args[0]!) as Job;
const controller = new AbortController();
const { signal } = controller;
const stop = () => controller.abort();
Deno.addSignalListener("SIGINT", stop);
Deno.addSignalListener("SIGTERM", stop);
const screen = {
  err: (text: string) => void Deno.stderr.writeSync(new TextEncoder().encode(text)),
  errIsTerminal: Deno.stderr.isTerminal(),
  width: 100,
};
const engine = { ...(job.threads !== undefined && { threads: job.threads }) };
let record: RunRecord = readRecord(job.folder, job.fingerprint) ?? {
  ...{ fingerprint: job.fingerprint, recipe: job.recipe, seed: job.seed, evaluations: {} },
};

/** Notes what is known. */
function keep(change: Partial<RunRecord>): void {
  record = { ...record, ...change };
  writeRecord(job.folder, record);
}

/** Seconds on the clock and of all threads' processor time since this was called. */
function stopwatch(): () => { wall: number; cpu: number } {
  const start = performance.now();
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return { wall: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 };
  };
}

/** The process's peak, where the system tells. */
function resident(): number | undefined {
  try {
    const [, kib] = Deno.readTextFileSync("/proc/self/status").match(/VmHWM:\s+(\d+) kB/) ?? [];
    return kib === undefined ? undefined : 1024 * Number(kib);
  } catch {
    return undefined;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function make(recipe: NonNullable<Job["recipe"]>, out: string): Promise<void> {
  const { sittings = 0, wall = 0, cpu = 0, resident: peak = 0 } = record.making ?? {};
  const time = stopwatch();
  const spent = (): Making => {
    const now = time();
    return {
      ...{ done: false, sittings: sittings + 1, wall: wall + now.wall, cpu: cpu + now.cpu },
      resident: Math.max(peak, resident() ?? 0) || undefined,
    };
  };
  const progress = startProgress(screen, job.title);
  let kept = performance.now();
  try {
    const { stages, fileBytes, peakMemory } = await quantize(job.model, out, {
      ...engine,
      ...{ recipe, seed: job.seed, signal, calibrationItems: job.calibrationItems },
      data: openChatData(job.data).items,
      shelf: `${job.folder}/stages`,
      resume: exists(`${out}.work`),
      onProgress({ stage, name, done, total, step }) {
        if (step) progress.update(step.step, step.steps, `${stage}, loss ${step.loss.toFixed(3)}`);
        else progress.update(done, total, name);
        if (performance.now() - kept < KEPT_MS) return;
        kept = performance.now();
        keep({ making: spent() });
      },
    });
    const made = spent();
    const taken = stages.filter(({ shared }) => shared);
    keep({
      making: {
        ...made,
        ...{ done: true, fileBytes, kernels: peakMemory },
        wall: made.wall + taken.reduce((sum, { seconds }) => sum + seconds, 0),
        stages: stages.map(({ part, method, seconds, shared = false }) => ({
          ...{ part, method, seconds, shared },
        })),
      },
    });
  } catch (error) {
    keep({ making: spent() });
    throw error;
  } finally {
    progress.end();
  }
}

async function ask(path: string, { path: tsv, every, name }: Questions): Promise<Evaluated> {
  const items = (await openEvalData(tsv)).items.filter((_, i) => i % every === 0);
  const time = stopwatch();
  const progress = startProgress(screen, `${job.title}, ${name}`);
  const model = await loadModel(path, engine);
  try {
    const { average, items: answered } = await evaluate(model, items, {
      signal,
      onProgress: (done, total) => progress.update(done, total, `${done} of ${total} items`),
    });
    const hits: Record<string, string> = {};
    answered.forEach(({ correct }, i) => {
      const { category } = items[i]!;
      hits[category] = (hits[category] ?? "") + Number(correct);
    });
    return { average, hits, ...time() };
  } finally {
    progress.end();
    model.close();
  }
}

try {
  const out = modelPath(job.folder, job.fingerprint);
  if (job.recipe && !(record.making?.done && exists(out))) await make(job.recipe, out);
  if (!job.recipe) {
    const weights = [...Deno.readDirSync(job.model)].filter(({ name }) =>
      name.endsWith(".safetensors")
    ).map(({ name }) => Deno.statSync(`${job.model}/${name}`).size);
    const fileBytes = weights.reduce((sum, size) => sum + size, 0);
    keep({ making: { ...{ done: true, sittings: 1, wall: 0, cpu: 0 }, fileBytes } });
  }
  for (const questions of job.questions) {
    if (questions.fingerprint in record.evaluations) continue;
    const answers = await ask(job.recipe ? out : job.model, questions);
    keep({ evaluations: { ...record.evaluations, [questions.fingerprint]: answers } });
  }
} catch (error) {
  if (!(error instanceof LobitError)) throw error;
  if (error.code !== "aborted") screen.err(`${job.title}: ${error.message}\n`);
  Deno.exit(error.code === "aborted" ? 130 : 1);
} finally {
  Deno.removeSignalListener("SIGINT", stop);
  Deno.removeSignalListener("SIGTERM", stop);
}
