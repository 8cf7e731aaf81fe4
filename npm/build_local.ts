// Builds the npm package into npm/dist with TypeScript alone, so that it needs nothing but the npm registry. Follows
// the exports of deno.json, rewrites specifiers (`./x.ts` -> `./x.js`, `npm:x@1.2.3/y` -> `x/y`, import map names ->
// linked files) and compiles the rewritten sources in memory. Types were checked by Deno; every export is annotated,
// so declarations can be emitted without the dependencies' types.
import ts from "npm:typescript@5.9.3";
import { BIN, type Config, copyTexts, DIST, manifest, NAME, readConfig, ROOT } from "./manifest.ts";

const OPTIONS: ts.CompilerOptions = {
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  target: ts.ScriptTarget.ES2022,
  declaration: true,
  isolatedModules: true,
  noLib: true,
  types: [],
};

/** A source file and where its output goes, both relative to their roots. */
interface Unit {
  source: string;
  output: string;
}

/** What a build made. */
export interface Build {
  /** Compiled source files, relative to the repository. */
  sources: string[];
  /** npm packages the package depends on, with exact versions. */
  dependencies: Record<string, string>;
}

/** Name, version and rest of `npm:name@version/rest`. */
function parseNpm(specifier: string): { name: string; version: string; rest: string } {
  const match = specifier.match(/^npm:((?:@[^/@]+\/)?[^/@]+)@([^/]+)(\/.*)?$/);
  if (!match) throw new Error(`${specifier} names no version.`);
  return { name: match[1]!, version: match[2]!, rest: match[3] ?? "" };
}

function directory(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}

/** Joins a folder and a relative path, both inside a root. */
function join(folder: string, path: string): string {
  const base = "file:///";
  return new URL(path, base + folder).href.slice(base.length);
}

/** The relative specifier by which one output file imports another. */
function relative(from: string, to: string): string {
  const up = directory(from).split("/").filter((part) => part !== "");
  const down = to.split("/");
  while (up.length > 0 && up[0] === down[0]) {
    up.shift();
    down.shift();
  }
  return (up.length === 0 ? "./" : "../".repeat(up.length)) + down.join("/");
}

/** Import map names that deno.json links to folders of this repository. */
async function linkedPackages(config: Config): Promise<Map<string, Unit>> {
  const linked = new Map<string, Unit>();
  for (const folder of config.links) {
    const path = join("", `${folder}/`);
    const { name, exports } = JSON.parse(
      await Deno.readTextFile(new URL(`${path}deno.json`, ROOT)),
    ) as { name: string; exports: Record<string, string> };
    const source = join(path, exports["."]!);
    linked.set(name, { source, output: `${name.slice(1)}/${source.slice(path.length)}` });
  }
  return linked;
}

/** String literals that name imported modules, in the order of the text. */
function specifiersIn(file: ts.SourceFile): ts.StringLiteral[] {
  const found: ts.StringLiteral[] = [];
  const visit = (node: ts.Node): void => {
    let name: ts.Node | undefined;
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) name = node.moduleSpecifier;
    else if (ts.isImportTypeNode(node)) name = node.argument.getChildAt(0, file);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      name = node.arguments[0];
    }
    if (name && ts.isStringLiteral(name)) found.push(name);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** Follows imports from the exports on and rewrites them. */
class Sources {
  /** Rewritten text by output path. */
  readonly texts: Map<string, string> = new Map();
  /** Declarations written by hand (`@ts-types`), by output path. */
  readonly declarations: Map<string, string> = new Map();
  readonly dependencies: Record<string, string> = {};
  readonly seen: Map<string, Unit> = new Map();
  readonly #queue: Unit[] = [];
  readonly #linked: Map<string, Unit>;

  constructor(linked: Map<string, Unit>) {
    this.#linked = linked;
  }

  add(unit: Unit): Unit {
    const known = this.seen.get(unit.source);
    if (known) return known;
    this.seen.set(unit.source, unit);
    this.#queue.push(unit);
    return unit;
  }

  async follow(): Promise<void> {
    for (let unit = this.#queue.shift(); unit; unit = this.#queue.shift()) {
      const path = unit.source;
      let text = await Deno.readTextFile(new URL(path, ROOT));
      const types = text.match(/^\/\/ @ts-types="(\.\/[^"]+\.d\.ts)"$/m)?.[1];
      if (types) {
        this.declarations.set(
          unit.output.replace(/\.ts$/, ".d.ts"),
          await Deno.readTextFile(new URL(types, new URL(path, ROOT))),
        );
      }
      const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true);
      for (const literal of specifiersIn(file).toReversed()) {
        const [start, end] = [literal.getStart(file) + 1, literal.getEnd() - 1];
        text = text.slice(0, start) + this.#resolve(literal.text, unit) + text.slice(end);
      }
      // Examples in comments import the package by its name on JSR.
      text = text.replace(/^#!.*\n/, "").replaceAll('from "@lobit/lobit', `from "${NAME}`);
      this.texts.set(unit.output, text);
    }
  }

  #resolve(specifier: string, from: Unit): string {
    if (specifier.startsWith("node:")) return specifier;
    if (specifier.startsWith("npm:")) {
      const { name, version, rest } = parseNpm(specifier);
      if ((this.dependencies[name] ??= version) !== version) {
        throw new Error(
          `${from.source} imports ${specifier}, other files ${this.dependencies[name]}.`,
        );
      }
      return name + rest;
    }
    const unit = specifier.startsWith(".")
      ? {
        source: join(directory(from.source), specifier),
        output: join(directory(from.output), specifier),
      }
      : this.#linked.get(specifier);
    if (!unit) {
      throw new Error(`${from.source} imports ${specifier}, which deno.json does not link.`);
    }
    return relative(from.output, this.add(unit).output.replace(/\.ts$/, ".js"));
  }
}

/** Compiles texts that exist in memory only; answers .js and .d.ts texts by path. */
function compile(texts: Map<string, string>): Map<string, string> {
  const outputs = new Map<string, string>();
  const inside = (name: string) => name.slice("/package/".length);
  const host: ts.CompilerHost = {
    getSourceFile: (name, target) => {
      const text = texts.get(inside(name));
      return text === undefined ? undefined : ts.createSourceFile(name, text, target, true);
    },
    fileExists: (name) => texts.has(inside(name)),
    readFile: (name) => texts.get(inside(name)),
    writeFile: (name, text) => void outputs.set(inside(name), text),
    getDefaultLibFileName: () => "",
    getCurrentDirectory: () => "/package",
    getCanonicalFileName: (name) => name,
    useCaseSensitiveFileNames: () => true,
    getNewLine: () => "\n",
  };
  const program = ts.createProgram([...texts.keys()].map((name) => `/package/${name}`), {
    ...OPTIONS,
    rootDir: "/package",
  }, host);
  const { diagnostics, emitSkipped } = program.emit();
  const problems = [...program.getSyntacticDiagnostics(), ...diagnostics];
  if (emitSkipped || problems.length > 0) {
    throw new Error(ts.formatDiagnostics(problems, host));
  }
  for (const [name, text] of outputs) {
    // The sources have no `any`: one in a declaration is a type that could not be inferred here.
    const lost = name.endsWith(".d.ts") && text.match(/^ *(?!\*|\/[/*]).*[:<|] ?any\b.*$/m);
    if (lost) throw new Error(`${name} needs an annotation: ${lost[0].trim()}`);
  }
  return outputs;
}

/** Builds the package; `dist` is emptied first. */
export async function build(): Promise<Build> {
  const config = await readConfig();
  const sources = new Sources(await linkedPackages(config));
  const exported = Object.entries(config.exports).map(([name, path]) => {
    const source = join("", path);
    return { name, output: sources.add({ source, output: source }).output };
  });
  await sources.follow();
  const outputs = compile(sources.texts);
  for (const [name, text] of sources.declarations) outputs.set(name, text);

  const js = (path: string) => path.replace(/\.ts$/, ".js");
  const bin = js(exported.find(({ name }) => name === BIN.export)!.output);
  outputs.set(bin, `#!/usr/bin/env node\n${outputs.get(bin)}`);
  const packageJson = {
    ...manifest(config),
    type: "module",
    exports: Object.fromEntries(exported.map(({ name, output }) => [name, {
      types: `./${output.replace(/\.ts$/, ".d.ts")}`,
      default: `./${js(output)}`,
    }])),
    bin: { [BIN.name]: bin },
    dependencies: Object.fromEntries(Object.entries(sources.dependencies).sort()),
  };
  outputs.set("package.json", JSON.stringify(packageJson, null, 2) + "\n");

  await Deno.remove(DIST, { recursive: true }).catch(() => {});
  for (const [name, text] of outputs) {
    const url = new URL(name, DIST);
    await Deno.mkdir(new URL("./", url), { recursive: true });
    await Deno.writeTextFile(url, text);
  }
  await copyTexts();
  return { sources: [...sources.seen.keys()].sort(), dependencies: sources.dependencies };
}

if (import.meta.main) {
  const { sources, dependencies } = await build();
  console.log(`${sources.length} files into npm/dist`, dependencies);
}
