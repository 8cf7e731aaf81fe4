// What must and must not be in the two shipped modules, read from their disassembly (wabt).
import { assert, assertEquals } from "@std/assert";
import wabtInit from "npm:wabt@1.0.39";
import { CONTROL, Op, TABLES } from "../../wasm/abi.ts";
import { relaxed } from "../../wasm/generated/relaxed.ts";
import { simd } from "../../wasm/generated/simd.ts";

const FEATURES = { threads: true, simd: true, relaxed_simd: true, bulk_memory: true };

/** A module as WebAssembly text: one instruction per line. */
async function disassemble(base64: string): Promise<string> {
  const wabt = await wabtInit();
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const module = wabt.readWasm(bytes, { readDebugNames: true, ...FEATURES });
  try {
    module.applyNames();
    return module.toText({ foldExprs: false, inlineExport: false });
  } finally {
    module.destroy();
  }
}

const builds = { simd: await disassemble(simd), relaxed: await disassemble(relaxed) };

/** Instructions and how often each occurs. */
function instructions(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [, name] of text.matchAll(/^\s+([a-z][a-z0-9_.]*)/gm)) {
    counts.set(name!, (counts.get(name!) ?? 0) + 1);
  }
  return counts;
}

/** Bytes in a string literal of the text format, where `\hh` stands for one. */
function literalLength(literal: string): number {
  return literal.replace(/\\[0-9a-f]{2}|\\./gi, ".").length;
}

for (const [build, text] of Object.entries(builds)) {
  Deno.test(`${build}: the one import is a shared memory env.memory`, () => {
    const imports = text.match(/^ *\(import .*$/gm) ?? [];
    assertEquals(imports.length, 1, imports.join("\n"));
    assert(
      /^ *\(import "env" "memory" \(memory \(;0;\) 1 65536 shared\)\)/.test(imports[0]!),
      imports[0],
    );
  });

  Deno.test(`${build}: nothing runs by itself and nothing but the shared memory is changed`, () => {
    assert(!/^ *\(start /m.test(text), "there is a start function");
    // Globals are per instance: threads would disagree about them. asc's sine and cosine return more than one value
    // through four of their own within one call, which is harmless; the kernels may have none.
    const mutable = [...text.matchAll(/^ *\(global .*\(mut (\w+)\)/gm)].map((match) => match[1]);
    if (mutable.length > 0) assertEquals(mutable.toSorted(), ["f64", "f64", "f64", "i64"]);
    for (const banned of ["memory.grow", "call_indirect", "memory.init"]) {
      assert(!instructions(text).has(banned), `${banned} has no place in a kernel`);
    }
  });

  Deno.test(`${build}: constant tables stay between TABLES and CONTROL`, () => {
    const data = [...text.matchAll(/^ *\(data .*$/gm)].map(([line]) => line);
    for (const line of data) {
      const match = line.match(/\(i32\.const (\d+)\) "(.*)"\)/);
      assert(match, `not a table at a fixed place: ${line.slice(0, 80)}`);
      const start = Number(match[1]), end = start + literalLength(match[2]!);
      assert(start >= TABLES && end <= CONTROL, `a table lies at ${start} to ${end}`);
    }
  });

  Deno.test(`${build}: the exports are what the engine and its workers call`, async () => {
    const engine = await Deno.readTextFile(new URL("../../wasm/engine.ts", import.meta.url));
    const worker = await Deno.readTextFile(new URL("../../wasm/worker.ts", import.meta.url));
    const declared = engine.match(/interface Exports \{([^}]*)\}/)?.[1] ?? "";
    const called = [
      ...[...declared.matchAll(/^\s*(\w+)\(/gm)].map((match) => match[1]!),
      ...[...worker.matchAll(/exports\.(\w+)/g)].map((match) => match[1]!),
    ];
    const exported = [...text.matchAll(/\(export "([^"]+)" \(func/g)].map((match) => match[1]!);
    assert(called.length >= 3, called.join());
    assertEquals(exported.sort(), called.sort());
    assertEquals([...text.matchAll(/\(export "/g)].length, exported.length, "more than functions");
  });
}

Deno.test("The kernels' sources declare no variables outside functions", async () => {
  const sources = new URL("../../kernels/", import.meta.url);
  const found: string[] = [];
  const visit = async (folder: URL): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (isDirectory) await visit(new URL(`${name}/`, folder));
      else if (name.endsWith(".ts")) {
        const text = await Deno.readTextFile(new URL(name, folder));
        found.push(...(text.match(/^(export )?(let|var) .*$/gm) ?? []).map((l) => `${name}: ${l}`));
      }
    }
  };
  await visit(sources);
  assertEquals(found, []);
});

Deno.test("The base build runs where relaxed SIMD is unknown", () => {
  const found = [...instructions(builds.simd).keys()].filter((name) => name.includes("relaxed"));
  assertEquals(found, []);
  assert(instructions(builds.simd).has("f32x4.mul"), "the disassembly shows no SIMD at all");
});

Deno.test("The relaxed build multiplies with the relaxed instructions", () => {
  const counts = instructions(builds.relaxed);
  const names = Object.keys(Op).filter((name) => isNaN(Number(name)));
  const packed = names.filter((name) => /packed/i.test(name));
  const has = (part: string) => [...counts.keys()].some((name) => name.includes(part));
  assert(has("f32x4.relaxed_madd"), "dense products without fused multiply-add");
  if (packed.length > 0) assert(has("relaxed_dot_i8x16_i7x16"), `${packed} without relaxed dots`);
});
