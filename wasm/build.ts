// Compiles kernels/ with asc, once plain and once with relaxed SIMD, and writes both as base64 TypeScript.
// `--check` compiles and compares instead of writing; the compiler is deterministic, so equal sources give equal bytes.
import asc from "npm:assemblyscript@0.28.20/asc";
import { TABLES } from "./abi.ts";

const root = new URL("../", import.meta.url).pathname;

/** What each build of the kernels may use. */
export const builds: readonly { name: string; features: string[] }[] = [
  { name: "simd", features: ["simd", "threads"] },
  { name: "relaxed", features: ["simd", "threads", "relaxed-simd"] },
];

/** The kernels as a module; `more` goes to asc, e.g. `--debug`, which adds names and changes no code. */
export async function compile(features: string[], more: string[] = []): Promise<Uint8Array> {
  const outputs = new Map<string, Uint8Array | string>();
  const stderr = asc.createMemoryStream();
  const { error } = await asc.main([
    "kernels/index.ts",
    ...["--outFile", "kernels.wasm"],
    ...["-O3", "--noAssert", "--runtime", "stub", "--use", "abort="],
    ...["--importMemory", "--sharedMemory", "--zeroFilledMemory", "--noExportMemory"],
    ...["--initialMemory", "1", "--maximumMemory", "65536", "--memoryBase", `${TABLES}`],
    ...features.flatMap((feature) => ["--enable", feature]),
    ...more,
  ], {
    readFile: (name) => {
      try {
        return Deno.readTextFileSync(root + name);
      } catch {
        return null;
      }
    },
    writeFile: (name, content) => void outputs.set(name, content),
    listFiles: () => [],
    stdout: asc.createMemoryStream(),
    stderr,
  });
  if (error) throw new Error(`asc failed: ${stderr.toString()}`, { cause: error });
  return outputs.get("kernels.wasm") as Uint8Array;
}

function source(name: string, bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return `// Built from kernels/ by \`deno task kernels\`: do not edit.\n` +
    `/** The ${name} build of the kernels, base64. */\n` +
    `export const ${name}: string =\n  "${btoa(binary)}";\n`;
}

if (import.meta.main) {
  const check = Deno.args.includes("--check");
  for (const { name, features } of builds) {
    const bytes = await compile(features);
    const path = `${root}wasm/generated/${name}.ts`;
    const text = source(name, bytes);
    if (!check) Deno.writeTextFileSync(path, text);
    else if (Deno.readTextFileSync(path) !== text) {
      console.error(
        `${path} is not what kernels/ compiles to: run \`deno task kernels\` and commit the result.`,
      );
      Deno.exit(1);
    }
    console.log(`${name}: ${bytes.length} bytes${check ? ", unchanged" : ""}`);
  }
}
