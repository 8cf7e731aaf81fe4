// Holds the repository to ARCHITECTURE.md: layers, tree and source rules. Both tables are read from the document, so
// it cannot drift from what is checked.
import { assert, assertEquals } from "@std/assert";

const root = new URL("../", import.meta.url);
const document = await Deno.readTextFile(new URL("ARCHITECTURE.md", root));

/** Files of the working tree that git tracks or would track. */
async function repositoryFiles(): Promise<string[]> {
  const { code, stdout, stderr } = await new Deno.Command("git", {
    // A clone that belongs to another user, as CI may have it, is as good as any.
    args: [
      ...["-c", "safe.directory=*"],
      ...["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    ],
    cwd: root,
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const names = new TextDecoder().decode(stdout).split("\0").filter((name) => name !== "");
  const present = await Promise.all(
    names.map((name) => Deno.lstat(new URL(name, root)).then(() => true, () => false)),
  );
  return [...new Set(names.filter((_, i) => present[i]))].sort();
}

const files = await repositoryFiles();
const isSource = (name: string) =>
  /\.(ts|wat)$/.test(name) && /^(mod\.ts|(src|wasm|kernels|tests|npm)\/)/.test(name);
const sources = new Map(
  await Promise.all(
    files.filter(isSource).map(async (name) =>
      [name, await Deno.readTextFile(new URL(name, root))] as const
    ),
  ),
);
const shipped = [...sources.keys()].filter((name) =>
  /^(mod\.ts$|src\/|wasm\/)/.test(name) && name !== "wasm/build.ts" && name.endsWith(".ts")
);

interface Layer {
  rank: number;
  folder: string;
}

/** The rows of the document's layer table, and the imports it allows besides those to a lower rank. */
function layers(): { table: Layer[]; extra: Set<string> } {
  const table: Layer[] = [];
  const extra = new Set<string>();
  const rows = document.matchAll(/^\| *(\d+) *\|([^|]*)\|([^|]*)\|$/gm);
  for (const [, rank, folders, allowed] of rows) {
    const names = [...folders!.matchAll(/`([^`]+)`/g)].map((match) => match[1]!);
    for (const folder of names) table.push({ rank: Number(rank), folder });
    const whole = (short: string) => names.find((name) => name.split("/").at(-1) === short) ?? "";
    for (const [, from, to] of allowed!.matchAll(/`(\w+)` (?:also|->) `(\w+)`/g)) {
      assert(whole(from!) && whole(to!), `the table names ${from} and ${to} in a row without them`);
      extra.add(`${whole(from!)} ${whole(to!)}`);
    }
    const highest = Number(rank) - 1;
    const range = highest < 0 ? /nothing/ : new RegExp(`^ *(0-)?${highest}\\b|anything`);
    assert(range.test(allowed!), `rank ${rank} may import "${allowed!.trim()}"?`);
  }
  return { table, extra };
}

interface Dependency {
  specifier: string;
  /** Where an `import type` leads. */
  type?: { specifier?: string };
  code?: { specifier?: string; error?: string };
}

/** Each shipped file's imports, as Deno resolves them. */
async function moduleGraph(): Promise<Map<string, Dependency[]>> {
  const entry = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      entry,
      shipped.map((name) => `import "${new URL(name, root)}";\n`).join(""),
    );
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", "--config", new URL("deno.json", root).pathname, entry],
      env: { NO_COLOR: "1" },
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
      modules: { specifier: string; dependencies?: Dependency[] }[];
    };
    const graph = new Map<string, Dependency[]>();
    for (const { specifier, dependencies } of modules) {
      if (!specifier.startsWith(root.href)) continue;
      graph.set(specifier.slice(root.href.length), dependencies ?? []);
    }
    return graph;
  } finally {
    await Deno.remove(entry);
  }
}

const graph = await moduleGraph();

/** Code lines of a file: comments and JSDoc examples left out. */
function code(name: string): { line: number; text: string }[] {
  return sources.get(name)!.split("\n")
    .map((text, i) => ({ line: i + 1, text }))
    .filter(({ text }) => !/^\s*(\/\/|\/?\*)/.test(text));
}

Deno.test("Every folder has a rank and imports point to a lower one", () => {
  const { table, extra } = layers();
  assert(table.length > 15, `the layer table has only ${table.length} folders`);
  const layerOf = (name: string): Layer | undefined =>
    table.find(({ folder }) => name === folder || name.startsWith(`${folder}/`));
  const wrong: string[] = [];
  for (const name of shipped) {
    const from = layerOf(name);
    if (!from) {
      wrong.push(`${name} belongs to no folder of the layer table`);
      continue;
    }
    for (const { specifier, code, type } of graph.get(name) ?? []) {
      const url = code?.specifier ?? type?.specifier;
      if (!url?.startsWith(root.href)) continue;
      const target = url.slice(root.href.length);
      if (target.startsWith("tests/std/cli/") && from.folder === "src/cli") continue;
      const to = layerOf(target);
      const allowed = to && (to.folder === from.folder || to.rank < from.rank ||
        extra.has(`${from.folder} ${to.folder}`) || (from.rank === 8 && to.rank === 8));
      if (!allowed) wrong.push(`${name} (${from.folder}, rank ${from.rank}) imports ${specifier}`);
    }
  }
  assertEquals(wrong, []);
  const seen = shipped.filter((name) => (graph.get(name) ?? []).length > 0);
  assert(seen.length > 10, "the module graph is empty");
});

Deno.test("Shipped code imports relative files, pinned npm packages and @std/cli only", () => {
  const wrong: string[] = [];
  for (const name of shipped) {
    for (const { specifier, code } of graph.get(name) ?? []) {
      if (code?.error) wrong.push(`${name}: ${code.error}`);
      const fine = /^\.\.?\/.*\.ts$/.test(specifier) ||
        /^npm:(@[\w.-]+\/)?[\w.-]+@\d+\.\d+\.\d+(\/.*)?$/.test(specifier) ||
        (specifier === "@std/cli" && name.startsWith("src/cli/")) ||
        (specifier.startsWith("node:") && code === undefined);
      if (!fine) wrong.push(`${name} imports ${specifier}`);
    }
  }
  assertEquals(wrong, [], "hosts are reached through process.getBuiltinModule, not by import");
});

Deno.test("Shipped code never names the Deno namespace", () => {
  const wrong: string[] = [];
  for (const name of shipped) {
    for (const { line, text } of code(name)) {
      if (/(?<!\w)Deno\??\.\w|(?<!\w)Deno\[/.test(text)) {
        wrong.push(`${name}:${line} ${text.trim()}`);
      }
    }
  }
  assertEquals(wrong, []);
});

Deno.test("Randomness comes from src/base/random.ts", () => {
  const wrong = shipped.filter((name) =>
    code(name).some(({ text }) => /Math\.random|getRandomValues|randomUUID/.test(text))
  );
  assertEquals(wrong, []);
});

Deno.test("The top level is the one fixed in the issue", () => {
  const top = [...new Set(files.map((name) => name.split("/")[0]!))]
    .filter((name) => !name.startsWith("."));
  assertEquals(
    top.sort(),
    [
      ...["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md"],
      ...["deno.json", "deno.lock", "kernels", "mod.ts", "npm", "src", "tests", "wasm"],
    ],
  );
});

/** Paths of the document's tree block; a folder ends with a slash. */
function documentedPaths(): string[] {
  const block = document.match(/^## Tree\n+```\n([\s\S]*?)^```/m)?.[1] ?? "";
  const paths: string[] = [];
  const open: string[] = [];
  for (const line of block.split("\n")) {
    const match = line.match(/^( *)(\S+(?: \S+)*)(?: {2}|$)/);
    if (!match) continue;
    const depth = match[1]!.length / 2;
    for (const name of match[2]!.split(" ")) {
      paths.push([...open.slice(0, depth), name].join(""));
      if (name.endsWith("/")) open.splice(depth, open.length, name);
    }
  }
  return paths;
}

Deno.test("The documented tree is the real one", () => {
  const documented = documentedPaths();
  assert(documented.length > 20, "the tree block of ARCHITECTURE.md was not found");
  const missing = documented.filter((path) =>
    !files.some((name) => path.endsWith("/") ? name.startsWith(path) : name === path)
  );
  assertEquals(missing, [], "documented, but not there");

  // A folder whose content the document lists is listed completely.
  const parents = new Set(
    documented.map((path) => path.replace(/[^/]+\/?$/, "")).filter((path) => path !== ""),
  );
  const real = new Set<string>();
  for (const name of files) {
    for (const parent of parents) {
      if (!name.startsWith(parent)) continue;
      const [child, ...rest] = name.slice(parent.length).split("/");
      real.add(parent + child + (rest.length > 0 ? "/" : ""));
    }
  }
  assertEquals(
    [...real].filter((path) => !documented.includes(path)),
    [],
    "there, but undocumented",
  );
});

Deno.test("A file over 300 lines states its reason in its header", () => {
  const reason = "Longer than 300 lines because";
  const wrong = [...sources]
    .filter(([name]) => !name.startsWith("wasm/generated/"))
    .filter(([, text]) => text.trimEnd().split("\n").length > 300)
    .filter(([, text]) => !text.split("\n").slice(0, 12).join("\n").includes(reason))
    .map(([name, text]) => `${name}: ${text.trimEnd().split("\n").length} lines`);
  assertEquals(wrong, [], `a header comment has to say "${reason} ..."`);
});

Deno.test("Sources hold no notes about unfinished work", () => {
  const marks = new RegExp(["TO" + "DO", "FIX" + "ME", "X" + "XX\\b", "HA" + "CK\\b"].join("|"));
  const wrong = [...sources]
    .filter(([name]) => !name.startsWith("wasm/generated/"))
    .flatMap(([name, text]) =>
      text.split("\n").flatMap((line, i) => marks.test(line) ? [`${name}:${i + 1}`] : [])
    );
  assertEquals(wrong, []);
});
