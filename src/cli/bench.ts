// `lobit bench`: speed of a model or of a made-up one of a true shape, beside what the machine could do at best.
import { bench as benchmark, type BenchResult, type Subject } from "../bench/bench.ts";
import type { Measured } from "../bench/measure.ts";
import { architectureOf, SHAPES } from "../bench/shapes.ts";
import type { Speed, SpeedOptions } from "../bench/speed.ts";
import { badRequest } from "../base/errors.ts";
import { openModel } from "../models/open.ts";
import { chooseRecipe } from "../recipe/choose.ts";
import { formatFor } from "../recipe/recipe.ts";
import type { KvKind } from "../ops/kv_cache.ts";
import { type Arguments, KV_FLAG } from "./flags.ts";
import { bytesText, table } from "./text.ts";
import type { Verb } from "./verb.ts";

const BITS = ["2", "3", "4", "16"];

/** The verb. */
export const bench: Verb = {
  name: "bench",
  summary: "measure prefill, decode and vision speed, and what bounds them",
  usage: `[FILE|MODEL] [--shape ${SHAPES[0]}]`,
  positional: [0, 1],
  flags: [
    {
      name: "shape",
      kind: "text",
      value: "NAME",
      choices: SHAPES,
      help: `random weights of this shape instead of a model (default ${SHAPES[0]})`,
    },
    {
      name: "bits",
      kind: "number",
      value: "N",
      choices: BITS,
      help: "with a shape: bits of vision tower and language model (default 4)",
    },
    {
      name: "embedding-bits",
      kind: "number",
      value: "N",
      choices: ["4", "8", "16"],
      help: "with a shape: bits of embedding and head (default 4)",
    },
    { name: "threads", kind: "text", value: "N,N", help: "thread counts to measure, e.g. 1,2" },
    { name: "prefill", kind: "number", value: "N", help: "tokens of the prompt (default 512)" },
    { name: "decode", kind: "number", value: "N", help: "tokens to decode (default 64)" },
    { name: "depth", kind: "number", value: "N", help: "tokens before decoding (default 1)" },
    { name: "vision", kind: "number", value: "N", help: "tiles to encode at once (default 1)" },
    { name: "repeat", kind: "number", value: "N", help: "measurements of each (default 5)" },
    { name: "no-warm-up", kind: "switch", help: "measure the first run of each test, too" },
    KV_FLAG,
    { name: "profile", kind: "switch", help: "show where the time of one run goes" },
    { name: "markdown", kind: "switch", help: "print a Markdown table" },
    { name: "max-memory", kind: "size", value: "SIZE", help: "most memory (default: 4G)" },
  ],
  examples: [
    ["lobit bench", "InternVL3-1B's shape with random 4-bit weights; downloads nothing"],
    ["lobit bench model.lobit --threads 1,2", "a model on one and on two threads"],
    ["lobit bench --shape internvl3-2b --bits 2 --vision 0 --profile", "where decode's time goes"],
    ["lobit bench --bits 2 --markdown >> notes.md", "a table to keep"],
  ],
  async run({ args, console, say }) {
    const options = speedOptions(args, console.interrupt());
    const maxMemory = args.bytes("max-memory");
    const kvCache = args.text("kv") as KvKind | undefined;
    const subjectOf = await subjects(args);
    const results: BenchResult[] = [];
    for (const threads of threadCounts(args.text("threads"))) {
      const load = {
        ...(threads && { threads }),
        ...(maxMemory !== undefined && { maxMemory }),
        ...(kvCache && { kvCache }),
      };
      results.push(await benchmark(await subjectOf(), load, options));
    }
    const name = args.positional[0] ?? shapeName(args);
    say(args.has("markdown") ? markdown(name, results) : text(name, results));
    return { model: name, results };
  },
};

function speedOptions(args: Arguments, signal: AbortSignal): SpeedOptions {
  return {
    prefill: args.integer("prefill", 0) ?? 512,
    decode: args.integer("decode", 0) ?? 64,
    vision: args.integer("vision", 0) ?? 1,
    depth: args.integer("depth", 1) ?? 1,
    repeat: args.integer("repeat", 1) ?? 5,
    warmUp: !args.has("no-warm-up"),
    profile: args.has("profile"),
    signal,
  };
}

function threadCounts(given: string | undefined): (number | undefined)[] {
  if (given === undefined) return [undefined];
  return given.split(",").map((part) => {
    if (!/^[1-9]\d?$/.test(part.trim())) {
      throw badRequest(`--threads takes numbers such as 2 or 1,2, found "${given}".`);
    }
    return Number(part);
  });
}

function shapeName(args: Arguments): string {
  const bits = `${args.number("bits") ?? 4} bits`;
  return `${args.text("shape") ?? SHAPES[0]}, random weights, ${bits}, ` +
    `embedding and head ${args.number("embedding-bits") ?? 4} bits`;
}

/** Gives the subject anew for each thread count: a loaded model is closed with its engine. */
async function subjects(args: Arguments): Promise<() => Promise<Subject>> {
  const path = args.positional[0];
  if (path !== undefined) {
    for (const flag of ["shape", "bits", "embedding-bits"]) {
      if (args.text(flag) !== undefined) throw badRequest(`--${flag} is for shapes, not models.`);
    }
    (await openModel(path)).close();
    return async () => ({ open: await openModel(path) });
  }
  const architecture = architectureOf(args.text("shape") ?? SHAPES[0]!);
  const recipe = chooseRecipe({
    bits: args.number("bits"),
    embedding: args.number("embedding-bits"),
  });
  const formatOf = (name: string) => {
    const part = architecture.partOf(name);
    const stage = recipe.stages.find((stage) => stage.part === part);
    return stage && formatFor(stage, name);
  };
  return () => Promise.resolve({ architecture, formatOf });
}

const HEADERS = ["threads", "test", "per second", "GB/s", "of read", "GMAC/s", "of dots"];

function rowsOf(results: readonly BenchResult[]): string[][] {
  return results.flatMap(({ threads, ceilings, speeds }) =>
    speeds.map((speed) => [
      String(threads),
      speed.test,
      `${around(speed.rate)} ${speed.unit}`,
      giga(speed.bytesPerSecond),
      share(speed.bytesPerSecond, ceilings.read),
      giga(speed.macsPerSecond),
      share(speed.macsPerSecond, ceilings.dots),
    ])
  );
}

function text(name: string, results: readonly BenchResult[]): string {
  const parts = [`${name}\n\n`, table([HEADERS, ...rowsOf(results)], [0, 2, 3, 4, 5, 6]), "\n"];
  for (const result of results) {
    parts.push(limits(result), "\n");
    for (const speed of result.speeds) parts.push(profileText(speed));
  }
  return parts.join("");
}

function markdown(name: string, results: readonly BenchResult[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  return [
    `**${name}**\n\n`,
    line(HEADERS),
    line(HEADERS.map((_, i) => i === 1 ? "---" : "---:")),
    ...rowsOf(results).map(line),
    "\n",
    ...results.map((result) => `- ${limits(result)}\n`),
    ...results.flatMap(({ speeds }) => speeds.map(profileText)),
  ].join("");
}

function limits({ threads, build, ceilings, memory }: BenchResult): string {
  return `${threads} ${threads === 1 ? "thread" : "threads"}, ${build} build: ` +
    `reads ${giga(ceilings.read.median)} GB/s, ` +
    `${giga(ceilings.multiplyAdds.median)} G f32 multiply-adds/s, ` +
    `${giga(ceilings.dots.median)} G int8 products/s; weights ${bytesText(memory.weights)}, ` +
    `${memory.kvCache} cache ${bytesText(memory.cachePerToken)} a token, peak ${
      bytesText(memory.peak)
    }`;
}

function profileText({ test, profile }: Speed): string {
  if (!profile) return "";
  const whole = profile.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const rows = profile.filter(({ milliseconds }) => milliseconds > whole / 1000).map((
    { op, calls, milliseconds },
  ) => [
    `  ${op}`,
    String(calls),
    `${milliseconds.toFixed(1)} ms`,
    `${(100 * milliseconds / whole).toFixed(1)} %`,
  ]);
  return `\n${test}\n${table(rows, [1, 2, 3])}`;
}

function around({ mean, deviation }: Measured): string {
  const digits = mean < 10 ? 2 : 1;
  return `${mean.toFixed(digits)} ± ${deviation.toFixed(digits)}`;
}

function giga(value: number): string {
  return (value / 1e9).toFixed(1);
}

function share(value: number, ceiling: Measured): string {
  return `${Math.round(100 * value / ceiling.median)} %`;
}
