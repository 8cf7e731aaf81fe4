// The npm package as a user gets it: built, packed, installed into an empty project, and run by Node 20 (no relaxed
// SIMD) and Node 22. The Node binaries and npm's downloads are kept in tests/.cache.
import { assert, assertEquals } from "@std/assert";
import ts from "npm:typescript@5.9.3";
import { build } from "../../npm/build_local.ts";
import { DIST } from "../../npm/manifest.ts";

const cache = new URL("../.cache/", import.meta.url);
/** One release of each line that lobit supports; Node 20 knows no relaxed SIMD. */
const NODES = ["20.20.0", "22.22.0"];

async function run(command: string, args: string[], cwd: string | URL): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    stdin: "null",
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(240_000),
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals(code, 0, `${command} ${args.join(" ")}\n${text(stdout)}\n${text(stderr)}`);
  return text(stdout).trim();
}

function npm(args: string[], cwd: string | URL): Promise<string> {
  const quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
  return run("npm", [...args, ...quiet, "--prefer-offline", `--cache=${cache.pathname}npm`], cwd);
}

/** Whether npm can reach its registry; a machine that cannot has no way to install anything. */
async function registryAnswers(): Promise<boolean> {
  try {
    await npm(["view", "deno-std@1.4.0", "version"], cache);
    return true;
  } catch (error) {
    console.log(`skipped, because the npm registry does not answer: ${error}`);
    return false;
  }
}

/** A Node of the given version: the PATH's if its major version fits, else from npm. */
async function findNode(version: string): Promise<string> {
  const major = version.split(".")[0];
  const own = await run("node", ["-p", "process.versions.node + ' ' + process.execPath"], cache);
  if (own.split(".")[0] === major) return own.slice(own.indexOf(" ") + 1);
  const os = Deno.build.os;
  const name = `node-${os}-${Deno.build.arch === "aarch64" ? "arm64" : "x64"}`;
  const folder = new URL(`node-${version}/`, cache);
  const path = new URL(`node_modules/${name}/bin/node`, folder).pathname;
  try {
    await Deno.stat(path);
  } catch {
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeTextFile(new URL("package.json", folder), "{}");
    await npm(["install", "--no-save", `${name}@${version}`], folder);
  }
  return path;
}

await Deno.mkdir(cache, { recursive: true });
const ignore = !await registryAnswers();

/** Builds and packs the package, installs it into a new project and answers the project's folder. */
async function install(): Promise<string> {
  await build();
  const project = await Deno.makeTempDir({ prefix: "lobit-npm-" });
  const [packed] = JSON.parse(await npm(["pack", "--json", "--pack-destination", project], DIST));
  const paths = (packed.files as { path: string }[]).map(({ path }) => path);
  const unwanted = paths.filter((path) =>
    !/^(mod|src\/.*|wasm\/.*|std\/cli\/.*)\.(js|d\.ts)$|^(package\.json|README\.md|LICENSE)$/
      .test(path) || path.startsWith("wasm/build.")
  );
  assertEquals(unwanted, [], "the package holds more than it should");
  assert(paths.includes("README.md") && paths.includes("LICENSE"), paths.join());
  await Deno.writeTextFile(`${project}/package.json`, '{ "type": "module" }');
  await npm(["install", `./${packed.filename}`], project);
  return project;
}

interface Sample {
  /** What the command answers in Deno, by verb. */
  expected: Map<string, string>;
  /** The quantized file as Deno writes it. */
  packed: Uint8Array;
}

/** Arguments of the commands that every host has to answer in the same way. */
function commands(folder: string): Map<string, string[]> {
  const file = `${folder}/deno.lobit`;
  return new Map([
    ["run", ["run", file, "--image", `${folder}/coffee.png`, "What is in the picture?"]],
    ["eval", ["eval", file, `${folder}/items.tsv`, "--json"]],
    ["inspect", ["inspect", file, "--json"]],
  ]);
}

/** Quantizes the shipped model and uses it in Deno, with the least permissions that do. */
async function sampleInDeno(folder: string): Promise<Sample> {
  const from = (path: string) => new URL(`../${path}`, import.meta.url);
  await Deno.copyFile(from("images/coffee.png"), `${folder}/coffee.png`);
  const [header, ...rows] = (await Deno.readTextFile(from("data/pocketvqa_dev.tsv")))
    .trimEnd().split("\n");
  const items = rows.filter((_, i) => i % 64 === 0);
  await Deno.writeTextFile(`${folder}/items.tsv`, [header, ...items, ""].join("\n"));

  const cli = from("../src/cli/bin.ts").pathname;
  const model = from("models/pocket-internvl").pathname;
  const deno = (permissions: string[], args: string[]) =>
    run(Deno.execPath(), ["run", "--no-prompt", "--quiet", ...permissions, cli, ...args], folder);
  await deno(
    [`--allow-read=${model},${folder}`, `--allow-write=${folder}`],
    ["quantize", model, "-o", `${folder}/deno.lobit`, "--bits", "4"],
  );
  const expected = new Map<string, string>();
  for (const [verb, args] of commands(folder)) {
    expected.set(verb, await deno([`--allow-read=${folder}`], args));
  }
  return { expected, packed: await Deno.readFile(`${folder}/deno.lobit`) };
}

const USE_KERNELS = `
import * as lobit from "lobit";
import * as formats from "lobit/formats";
import { Engine, kernels } from "lobit/kernels";

const engine = await Engine.create({ threads: 2 });
const [tokens, dim] = [1000, 4];
const x = engine.memory.allocate(16 * tokens);
const weight = engine.memory.allocate(16);
engine.memory.f32(x, 4 * tokens).fill(8);
engine.memory.f32(weight, 4).set([1, 2, 3, 4]);
kernels.rmsNorm(engine, x, x, weight, tokens, dim, 0);
const result = engine.memory.f32(x, 4 * tokens);

const lost = await Engine.create({ threads: 3 });
let trap = "none";
try {
  lost.call(9999, 64, 1, []);
} catch (error) {
  trap = error.code;
}

console.log(JSON.stringify({
  threads: engine.threads,
  build: engine.build,
  right: result.every((value, i) => value === 1 + i % 4),
  trap,
  exports: [Object.keys(lobit).length > 0, Object.keys(formats).length > 0],
}));
engine.close();
`;

Deno.test({
  name: "The npm package installs and runs in Node 20 and Node 22",
  ignore,
  async fn(test) {
    const project = await install();
    try {
      const sample = await sampleInDeno(project);
      await test.step("The sample is answered in Deno, reading one folder only", () => {
        assert(sample.expected.get("run")!.length > 0, "no answer");
        const { average } = JSON.parse(sample.expected.get("eval")!);
        assert(average > 50, `the packed model answers ${average} % of the items`);
      });
      await Deno.writeTextFile(`${project}/use.js`, USE_KERNELS);
      for (const version of NODES) {
        const major = version.split(".")[0];
        const node = await findNode(version);
        await test.step(`Node ${major} runs kernels on two threads and ends by itself`, async () => {
          const answer = JSON.parse(await run(node, ["use.js"], project));
          const expected = {
            threads: 2,
            build: major === "20" ? "simd" : "relaxed",
            right: true,
            trap: "internal",
            exports: [true, true],
          };
          assertEquals(answer, expected);
        });
        await test.step(`Node ${major} starts the command through its link`, async () => {
          const printed = await run(node, ["node_modules/.bin/lobit", "--version"], project);
          const { version } = JSON.parse(
            await Deno.readTextFile(`${project}/node_modules/lobit/package.json`),
          );
          assert(printed.includes(version), printed);
        });
        await test.step(`Node ${major} quantizes to the bytes that Deno wrote`, async () => {
          const model = new URL("../models/pocket-internvl", import.meta.url).pathname;
          const file = `${project}/node.lobit`;
          await run(
            node,
            ["node_modules/.bin/lobit", "quantize", model, "-o", file, "--bits", "4"],
            project,
          );
          const bytes = await Deno.readFile(file);
          assertEquals(bytes.length, sample.packed.length);
          assert(bytes.every((byte, i) => byte === sample.packed[i]), "the files differ");
          await Deno.remove(file);
        });
        for (const [verb, args] of commands(project)) {
          await test.step(`Node ${major} answers as Deno does: ${verb}`, async () => {
            const answer = await run(node, ["node_modules/.bin/lobit", ...args], project);
            assertEquals(answer, sample.expected.get(verb));
          });
        }
      }
      await test.step("npx finds the command", async () => {
        assert((await npm(["exec", "--offline", "lobit", "--", "--version"], project)).length > 0);
      });
      await test.step("A strict TypeScript project compiles against the declarations", async () => {
        await Deno.writeTextFile(
          `${project}/use.ts`,
          `import * as lobit from "lobit";
           import * as formats from "lobit/formats";
           import { Engine, kernels, type Ptr } from "lobit/kernels";
           export const engine: Promise<Engine> = Engine.create({ threads: 2 });
           export const norm: (e: Engine, o: Ptr, x: Ptr, w: Ptr, t: number, d: number, eps: number) => void =
             kernels.rmsNorm;
           // @ts-expect-error: declarations that were lost would be \`any\` and accept this
           export const wrong: number = kernels.rmsNorm;
           export { formats, lobit };`,
        );
        const program = ts.createProgram([`${project}/use.ts`], {
          module: ts.ModuleKind.NodeNext,
          moduleResolution: ts.ModuleResolutionKind.NodeNext,
          target: ts.ScriptTarget.ES2022,
          lib: ["lib.esnext.d.ts", "lib.dom.d.ts"],
          types: [],
          strict: true,
          noEmit: true,
        });
        const problems = ts.getPreEmitDiagnostics(program);
        const host = {
          getCurrentDirectory: () => project,
          getNewLine: () => "\n",
          getCanonicalFileName: (name: string) => name,
        };
        assertEquals(ts.formatDiagnostics(problems, host), "");
      });
    } finally {
      await Deno.remove(project, { recursive: true });
    }
  },
});
