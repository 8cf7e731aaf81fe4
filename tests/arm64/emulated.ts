// lobit on emulated arm64 cores: `deno task arm64 [--cpu=cortex-a72] [--suites-only | --logits-only]`. The suites compare
// kernels with their definitions, on both builds and one to three threads; then the pocket model, quantized here at 2
// and 4 bits, has to give the very bytes of logits there. Not part of the gate: it needs Debian's qemu (machine.ts says
// which packages) and takes a quarter of an hour.
import { CPUS, type Machine, machine, ROOT, run } from "./machine.ts";

/** What inference of packed models runs. */
const SUITES = [
  "conformance/packed_test.ts",
  "conformance/attention_test.ts",
  "conformance/norm_test.ts",
  "conformance/pointwise_test.ts",
  "conformance/rope_test.ts",
  "conformance/rows_test.ts",
  "conformance/checksum_test.ts",
  "conformance/dense_test.ts",
  "wasm/memory_test.ts",
  "wasm/engine_test.ts",
].map((path) => `tests/${path}`);
/** Builds and threads of the emulated runs; the native ones are relaxed on one thread. */
const WAYS = [["simd", "1"], ["relaxed", "1"], ["relaxed", "3"]] as const;
/** Types are checked natively; the lock file is left alone. */
const FLAGS = ["-A", "--no-check", "--no-lock", "--v8-flags=--no-liftoff"];

/** Tests that start a Deno of their own, which an emulated process cannot: their failure says nothing. */
const OUT_OF_REACH = /lets the process end/;

const failures: string[] = [];

/** Runs one step, says how it went and how long it took. */
async function step(name: string, body: () => Promise<string>): Promise<void> {
  const start = performance.now();
  const seconds = () => `${((performance.now() - start) / 1000).toFixed(0)} s`;
  try {
    console.log(`ok      ${name}: ${await body()} (${seconds()})`);
  } catch (error) {
    failures.push(name);
    console.log(
      `FAILED  ${name} (${seconds()})\n${error instanceof Error ? error.message : error}`,
    );
  }
}

async function suites(arm64: Machine, cpu: string): Promise<void> {
  for (const suite of SUITES) {
    await step(`${cpu}, ${suite}`, async () => {
      const output = await arm64.deno(cpu, ["test", ...FLAGS, suite])
        .catch((error: Error) => error.message);
      const [, passed, count] = output.match(/^(?:ok|FAILED) \| (\d+) passed.*\| (\d+) failed/m) ??
        [];
      const failed = [...output.matchAll(/^(.+) \.\.\. FAILED/gm)].map((match) => match[1]!);
      const known = failed.length === Number(count) &&
        failed.every((name) => OUT_OF_REACH.test(name));
      if (!passed || !known) throw new Error(output);
      return `${passed} passed${failed.length > 0 ? `, ${failed.length} out of reach` : ""}`;
    });
  }
}

async function logits(arm64: Machine, cpus: readonly string[]): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lobit-arm64-" });
  try {
    for (const bits of ["2", "4"]) {
      const [file, here, there] = ["lobit", "x64", "arm64"].map((end) =>
        `${folder}/p${bits}.${end}`
      );
      const lobit = ["run", ...FLAGS, "src/cli/bin.ts"];
      const model = "tests/models/pocket-internvl";
      await run(Deno.execPath(), [...lobit, "quantize", model, "-o", file!, "--bits", bits]);
      const script = ["run", ...FLAGS, `${ROOT}tests/arm64/logits.ts`, file!];
      await run(Deno.execPath(), [...script, here!, "relaxed", "1"]);
      const expected = await Deno.readFile(here!);
      for (const cpu of cpus) {
        for (const [build, threads] of WAYS) {
          await step(`${cpu}, logits at ${bits} bits, ${build}, ${threads} threads`, async () => {
            await arm64.deno(cpu, [...script, there!, build, threads]);
            const got = await Deno.readFile(there!);
            const at = got.findIndex((byte, i) => byte !== expected[i]);
            if (got.length !== expected.length || at >= 0 || got.length === 0) {
              throw new Error(
                `${got.length} of ${expected.length} bytes, first difference at ${at}`,
              );
            }
            return `${got.length} bytes as on ${Deno.build.arch}`;
          });
        }
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const arm64 = await machine();
const wanted = Deno.args.filter((arg) => arg.startsWith("--cpu=")).map((arg) => arg.slice(6));
const cpus = wanted.length > 0 ? wanted : CPUS;
console.log(`deno ${Deno.version.deno} here; emulated: ${cpus.join(", ")}`);
if (!Deno.args.includes("--suites-only")) await logits(arm64, cpus);
if (!Deno.args.includes("--logits-only")) {
  for (const cpu of cpus) await suites(arm64, cpu);
}
console.log(failures.length > 0 ? `failed: ${failures.join("; ")}` : "everything passed");
Deno.exit(failures.length > 0 ? 1 : 0);
