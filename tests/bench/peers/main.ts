// lobit beside its peers on InternVL3-1B's shape: contestants are processes that take turns, test by test, so that a busy
// machine disturbs all alike. Prints medians and ratios as Markdown.
//   deno run -A tests/bench/peers/main.ts [--rounds 5] [--tests decode,prefill,vision,matvec,gemm] [--threads 1,2] [--no-browser]
// LOBIT_BENCH_PREFILL and LOBIT_BENCH_DECODE change how many tokens a round has.
import { parseArgs } from "@std/cli";
import { summarize } from "../../../src/bench/measure.ts";
import { Contestant, type Taken } from "./child.ts";
import { installPeers } from "./install.ts";
import { DECODE, PREFILL } from "./sizes.ts";

const here = new URL("./", import.meta.url).pathname;
const given = parseArgs(Deno.args, {
  string: ["tests", "threads", "rounds", "cache"],
  boolean: ["no-browser"],
});
const text = (flag: "tests" | "threads" | "rounds" | "cache", otherwise: string): string =>
  String(given[flag] ?? otherwise);
const rounds = Number(text("rounds", "5"));
const wanted = text("tests", "decode,prefill,vision,matvec,gemm").split(",");
const threads = text("threads", "1,2").split(",").map(Number);
const browser = !given["no-browser"];
const peers = await installPeers(
  text("cache", new URL("../../.cache", import.meta.url).pathname),
);

type Starter = () => Promise<Contestant>;

const deno = Deno.execPath();
const lobit = (bits: number, threads: number): Starter => () =>
  Contestant.start(`lobit ${bits} bits, ${threads} T`, deno, [
    ...["run", "-A", "--v8-flags=--no-liftoff", `${here}lobit_child.ts`, `${bits}`, `${threads}`],
  ]);
const llama = (kind: "full" | "narrow", quant: "q4" | "q2", threads: number): Starter => () => {
  const folder = peers[kind];
  const name = `llama.cpp ${quant === "q4" ? "Q4_0" : "Q2_K"}${kind === "full" ? "" : " 128-bit"}`;
  return Contestant.start(`${name}, ${threads} T`, deno, [
    ...["run", "-A", "--no-config", "--node-modules-dir=manual", `${here}llama_child.ts`],
    ...[folder, peers[quant], peers.tower, `${threads}`],
  ], folder);
};
const wllama = (threads: number): Starter => () =>
  Contestant.start(`wllama Q4_0, ${threads} T`, deno, [
    ...[
      "run",
      "-A",
      "--no-lock",
      `${here}wllama_child.ts`,
      `${peers.full}/node_modules/@wllama/wllama`,
    ],
    ...[peers.q4, `${threads}`],
  ]);
const ort = (): Promise<Contestant> =>
  Contestant.start("onnxruntime-web 4 bits, 1 T", deno, [
    "run",
    "-A",
    "--no-lock",
    `${here}ort_child.ts`,
  ]);

interface Plan {
  title: string;
  unit: string;
  /** Divides rates. */
  scale: number;
  tests: string[];
  starters: Starter[];
}

/** What is compared with what; the first contestant is the one that ratios are taken of. */
function plans(): Plan[] {
  const each = <T>(make: (threads: number) => T) => threads.map(make);
  // A prompt takes it minutes, so it takes part with most threads only.
  const slow = browser ? [wllama(Math.max(...threads))] : [];
  const all: Record<string, Plan> = {
    decode: {
      title: `decode ${DECODE} tokens`,
      ...{ unit: "tokens/s", scale: 1, tests: ["decode"] },
      starters: [
        ...each((t) => lobit(2, t)),
        ...each((t) => lobit(4, t)),
        ...each((t) => llama("full", "q4", t)),
        ...each((t) => llama("narrow", "q4", t)),
        ...slow,
      ],
    },
    prefill: {
      title: `prefill ${PREFILL} tokens`,
      ...{ unit: "tokens/s", scale: 1, tests: ["prefill"] },
      starters: [
        ...each((t) => lobit(4, t)),
        ...each((t) => llama("full", "q4", t)),
        ...each((t) => llama("narrow", "q4", t)),
        ...slow,
      ],
    },
    vision: {
      title: "one 448x448 tile through the tower (llama.cpp: an encoder of the same size)",
      ...{ unit: "tiles/s", scale: 1, tests: ["vision"] },
      starters: [
        ...each((t) => lobit(4, t)),
        ...each((t) => llama("full", "q4", t)),
        ...each((t) => llama("narrow", "q4", t)),
      ],
    },
    matvec: {
      title: "products with 4-bit weights",
      ...{ unit: "GMAC/s", scale: 1e9 },
      tests: ["matvec 4864x896", "matvec 896x4864", "matmul 4864x896"],
      starters: [lobit(4, 1), lobit(2, 1), ort],
    },
    gemm: {
      title: "f32 products 1024³ and multiply-adds in registers",
      ...{ unit: "GMAC/s", scale: 1e9, tests: ["gemm", "multiply"] },
      starters: each((t) => lobit(4, t)),
    },
  };
  return wanted.map((name) => all[name]!);
}

async function compare({ title, unit, scale, tests, starters }: Plan): Promise<void> {
  const contestants: Contestant[] = [];
  try {
    for (const start of starters) contestants.push(await start());
    for (const test of tests) {
      const taken = contestants.map((): Taken[] => []);
      // The first round warms up.
      for (let round = -1; round < rounds; round++) {
        for (const [i, contestant] of contestants.entries()) {
          const result = await contestant.run(test);
          if (round >= 0) taken[i]!.push(result);
        }
      }
      const rates = taken.map((list) => summarize(list.map((t) => t.count / t.seconds / scale)));
      const onCpu = taken.map((list) => summarize(list.map((t) => t.count / t.cpu / scale)));
      console.log(`\n${title}${tests.length > 1 ? `: ${test}` : ""}\n`);
      console.log(`| | ${unit}, median ± deviation | per CPU second | first : this | on the CPU |`);
      console.log("|---|---:|---:|---:|---:|");
      contestants.forEach(({ name }, i) => {
        // A browser's CPU time is its own processes', which are not counted here.
        const counted = !name.startsWith("wllama");
        const cells = [
          name,
          `${digits(rates[i]!.median)} ± ${digits(rates[i]!.deviation)}`,
          counted ? digits(onCpu[i]!.median) : "",
          (rates[0]!.median / rates[i]!.median).toFixed(2),
          counted ? (onCpu[0]!.median / onCpu[i]!.median).toFixed(2) : "",
        ];
        console.log(`| ${cells.join(" | ")} |`);
      });
    }
  } finally {
    for (const contestant of contestants) await contestant.stop();
  }
}

function digits(value: number): string {
  return value.toFixed(value < 1 ? 3 : value < 10 ? 2 : 1);
}

const info = await Deno.readTextFile("/proc/cpuinfo").catch(() => "");
const cpu = info.match(/^model name\s*: (.*)$/m)?.[1] ?? "unknown CPU";
const flags = (info.match(/^flags\s*: (.*)$/m)?.[1] ?? "").split(" ").filter((flag) =>
  /^(ssse3|sse4_2|fma|avx|avx2|avx512[a-z_]*|avx_vnni|amx.*)$/.test(flag)
);
console.log(
  `\n### ${new Date().toISOString().slice(0, 10)}, ${cpu}, ` +
    `${navigator.hardwareConcurrency} cores, Deno ${Deno.version.deno}, V8 ${Deno.version.v8}\n`,
);
console.log(
  `CPU flags: ${flags.join(" ")}. Load at start: ${Deno.loadavg().map((x) => x.toFixed(1))}.`,
);
console.log(`Medians of ${rounds} rounds, contestants taking turns.`);
for (const plan of plans()) await compare(plan);
