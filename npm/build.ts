// Builds the npm package for a release into npm/dist with dnt. dnt is on JSR only, so this needs a connected machine;
// npm/build_local.ts makes the same package without JSR and is what the tests install.
import { BIN, copyTexts, DIST, manifest, readConfig } from "./manifest.ts";

/** The part of dnt's options used here. */
interface BuildOptions {
  entryPoints: { kind?: "export" | "bin"; name: string; path: string }[];
  outDir: string;
  shims: Record<string, never>;
  esModule: true;
  scriptModule: false;
  test: false;
  typeCheck: "single" | false;
  declaration: "inline";
  importMap: string;
  compilerOptions: { target: "ES2022"; lib: string[] };
  package: object;
}

interface Dnt {
  build(options: BuildOptions): Promise<void>;
  emptyDir(path: string): Promise<void>;
}

// Not a literal: a machine without JSR still has to type-check this file.
const dntModule: string = "jsr:@deno/dnt@0.42.3";
const dnt = await import(dntModule) as Dnt;

const config = await readConfig();
await dnt.emptyDir(DIST.pathname);
await dnt.build({
  entryPoints: [
    ...Object.entries(config.exports).map(([name, path]) => ({ name, path })),
    { kind: "bin", name: BIN.name, path: config.exports[BIN.export]! },
  ],
  outDir: DIST.pathname,
  // Hosts are reached through node: modules already; dnt's shims would hide globalThis behind an object of their own.
  shims: {},
  esModule: true,
  scriptModule: false,
  test: false,
  typeCheck: false,
  declaration: "inline",
  importMap: "deno.json",
  compilerOptions: { target: "ES2022", lib: ["ESNext", "DOM"] },
  package: manifest(config),
});
await copyTexts();
