// Instructions per MAC that V8 makes of the packed kernels' inner loops on arm64: `deno run -A
// tests/arm64/instructions.ts [--listing FUNCTION] [--cpu=...]`. V8 has no disassembler in releases, but writes the
// machine code down (--perf-prof); objdump (binutils-aarch64-linux-gnu) reads it. Where llvm-mca is found, its model of
// the core adds cycles: perfect branches, every load from the first-level cache.
import wabtInit from "npm:wabt@1.0.39";
import { builds, compile } from "../../wasm/build.ts";
import { readWasmCode } from "./jitdump.ts";
import { count, dotLoop, type Instruction, parseListing } from "./loops.ts";
import { type Machine, machine, run } from "./machine.ts";

/** A core, llvm's name for its timing (none for Cortex-A76: Neoverse N1 is its twin for servers), instructions decoded
 * per cycle, which the models leave out. */
const CORES = [["cortex-a72", "cortex-a72", 3], ["cortex-a76", "neoverse-n1", 4]] as const;
const FUNCTIONS = [
  ...["pairs2_banded16", "pairs2_chunks", "quads2_chunks", "pairs3_banded16"],
  ...["pairs4_banded32", "quads4_banded32", "pairs4_symmetric32", "quads4_symmetric32"],
  ...["pairs8_chunks", "quads8_chunks", "matrix_pairs", "matrix_quads", "matrix_slabs"],
];

/** Function names of the relaxed build by index. */
async function functionNames(): Promise<string[]> {
  const { features } = builds.find(({ name }) => name === "relaxed")!;
  const bytes = await compile(features, ["--debug"]);
  const wabt = await wabtInit();
  const module = wabt.readWasm(bytes, {
    ...{ readDebugNames: true, threads: true, simd: true, relaxed_simd: true, bulk_memory: true },
  });
  module.applyNames();
  const text = module.toText({ foldExprs: false });
  return [...text.matchAll(/^ {2}\(func \$(\S+)/gm)].map((match) => match[1]!);
}

async function compiledOn(arm64: Machine, cpu: string, folder: string) {
  const before = new Set([...Deno.readDirSync(folder)].map(({ name }) => name));
  const script = new URL("compiled.ts", import.meta.url).pathname;
  const v8 = "--v8-flags=--no-liftoff,--no-wasm-lazy-compilation,--perf-prof,--perf-prof-path=.";
  await arm64.deno(cpu, ["run", "--no-check", "--no-lock", "--no-config", v8, script], folder);
  const dump = [...Deno.readDirSync(folder)].find(({ name }) =>
    name.startsWith("jit-") && !before.has(name)
  );
  if (!dump) throw new Error(`V8 wrote no machine code into ${folder}.`);
  return readWasmCode(await Deno.readFile(`${folder}/${dump.name}`));
}

async function disassemble(code: Uint8Array, path: string): Promise<Instruction[]> {
  await Deno.writeFile(path, code);
  const flags = ["-D", "-b", "binary", "-m", "aarch64", "--no-show-raw-insn"];
  return parseListing(await run("aarch64-linux-gnu-objdump", [...flags, path]));
}

/** Cycles of one round of a loop, if an llvm-mca is there; Neoverse N1 has a model of its own only in newer ones. */
async function cycles(
  loop: Instruction[],
  core: string,
  width: number,
  path: string,
): Promise<number> {
  await Deno.writeTextFile(path, loop.map(({ text }) => text).join("\n") + "\n");
  for (const tool of ["llvm-mca-19", "llvm-mca"]) {
    const args = ["-mtriple=aarch64", `-mcpu=${core}`, "-mattr=+dotprod", "-iterations=200", path];
    const report = await run(tool, args).catch(() => "");
    const total = report.match(/Total Cycles:\s+(\d+)/)?.[1];
    if (total) return Math.max(Number(total) / 200, loop.length / width);
  }
  return NaN;
}

const listing = Deno.args.includes("--listing") ? Deno.args.at(-1) : undefined;
const folder = await Deno.makeTempDir({ prefix: "lobit-instructions-" });
try {
  const [arm64, names] = [await machine(), await functionNames()];
  for (const [cpu, model, width] of CORES) {
    const code = await compiledOn(arm64, cpu, folder);
    console.log(
      `\n${cpu}\n| loop | MAC | instructions | dots | vector | loads | constants | spills | scalar | checks |` +
        ` instructions/MAC | cycles (${model}) | MAC/cycle |\n|---|${"--:|".repeat(12)}`,
    );
    for (const name of FUNCTIONS) {
      const index = names.findIndex((full) => full.endsWith(`/${name}`));
      const bytes = code.get(index);
      if (!bytes) throw new Error(`V8 compiled no function ${name}; is wasm/generated up to date?`);
      const loop = dotLoop(await disassemble(bytes, `${folder}/code.bin`));
      if (name === listing) console.log(loop.map(({ text }) => text).join("\n"));
      const c = count(loop);
      const time = await cycles(loop, model, width, `${folder}/loop.s`);
      const numbers = [c.macs, c.instructions, c.dots, c.vectors, c.loads, c.constants, c.spills];
      const ratio = (c.instructions / c.macs).toFixed(2);
      console.log(
        `| \`${name}\` | ${[...numbers, c.scalars, c.checks, ratio].join(" | ")} | ` +
          `${time.toFixed(0)} | ${(c.macs / time).toFixed(2)} |`,
      );
    }
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
