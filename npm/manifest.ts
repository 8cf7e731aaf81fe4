// What the npm package says about itself. Both builds use it, so that the package built for a release and the one the
// tests install differ in nothing but who compiled it.

/** The repository's root. */
export const ROOT: URL = new URL("../", import.meta.url);
/** Where a build goes; git ignores it. */
export const DIST: URL = new URL("dist/", import.meta.url);

/** The parts of deno.json that the builds read. */
export interface Config {
  version: string;
  license: string;
  exports: Record<string, string>;
  imports: Record<string, string>;
  links: string[];
}

/** Reads deno.json. */
export async function readConfig(): Promise<Config> {
  return JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT))) as Config;
}

/** Name of the npm package. */
export const NAME = "lobit";
/** The command that the package installs, and the export that holds it. */
export const BIN = { name: "lobit", export: "./cli" } as const;

/** package.json without what depends on the compiler: entry points and dependencies. */
export function manifest(config: Config): {
  name: string;
  version: string;
  description: string;
  license: string;
  keywords: string[];
  engines: Record<string, string>;
} {
  return {
    name: NAME,
    version: config.version,
    description:
      "Quantizes vision-language models to 2-4 bits and runs them on CPUs through WebAssembly SIMD.",
    license: config.license,
    keywords: ["vlm", "internvl", "quantization", "webassembly", "simd", "on-device"],
    engines: { node: ">=20" },
  };
}

/** Copies the texts that belong to a package. */
export async function copyTexts(): Promise<void> {
  for (const name of ["README.md", "LICENSE"]) {
    await Deno.copyFile(new URL(name, ROOT), new URL(name, DIST));
  }
}
