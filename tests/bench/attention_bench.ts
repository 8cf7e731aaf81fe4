// Attention of one block: K and V as rows, as an f32 cache and as an int8 cache, in turns, beside the peak of plain
// multiplications and additions: `deno run -A --v8-flags=--no-liftoff tests/bench/attention_bench.ts [WASM_MOD_OF_ANOTHER_CHECKOUT]`.
// Another checkout's kernels take turns with these, on rows.
import { Random } from "../../src/base/random.ts";
import { Engine, kernels, type Ptr } from "../../wasm/mod.ts";

interface Case {
  readonly name: string;
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal: boolean;
}

const CASES: readonly Case[] = [
  ["vision, 200 of 1025", 200, 1025, 1, 1, 64, false],
  ["prefill of 128", 128, 128, 14, 2, 64, true],
  ["decode at 2,044", 1, 2044, 14, 2, 64, true],
  ["decode at 4,096", 1, 4096, 14, 2, 64, true],
  ["decode at 2,044, 12 of 128", 1, 2044, 12, 2, 128, true],
  ["decode at 4,096, 16 on 16", 1, 4096, 16, 16, 64, true],
].map(([name, queries, keys, heads, kvHeads, headDim, causal]) => (
  { name, queries, keys, heads, kvHeads, headDim, causal } as Case
));
const ROUNDS = 41;

/** Random f32 numbers in an engine's memory. */
function place(engine: Engine, length: number): Ptr {
  const random = new Random(length);
  const ptr = engine.memory.allocate(4 * length);
  engine.memory.f32(ptr, length).forEach((_, i, all) => all[i] = random.normal());
  return ptr;
}

/** A run of the kernel on rows, or on a cache. */
function runOf(
  engine: Engine,
  module: typeof kernels,
  c: Case,
  cached?: kernels.KvKind,
): () => void {
  const { queries, keys: capacity, heads, kvHeads, headDim, causal } = c;
  const rows = capacity * kvHeads * headDim;
  let [keys, values] = [place(engine, rows), place(engine, rows)];
  if (cached) {
    const [k, v] = [keys, values];
    const size = module.kvCacheBytes(cached, kvHeads, headDim, capacity);
    [keys, values] = [engine.memory.allocate(size.keys), engine.memory.allocate(size.values)];
    module.appendKeysValues(engine, {
      ...{ keys, values, capacity, kind: cached, position: 0, k, v, rows: capacity },
      ...{ kvHeads, headDim },
    });
  }
  const table = engine.memory.allocate(4 * module.SEQUENCE_WORDS);
  module.writeSequence(engine.memory.i32(table, module.SEQUENCE_WORDS), 0, {
    ...{ firstQuery: 0, queries, keys, values, keyCount: capacity },
    firstPosition: capacity - queries,
  });
  const out = engine.memory.allocate(4 * queries * heads * headDim);
  const q = place(engine, queries * heads * headDim);
  const shape = { sequences: table, sequenceCount: 1, queries, heads, kvHeads, headDim, causal };
  const scale = 1 / Math.sqrt(headDim);
  return () => module.attend(engine, { ...shape, scale, out, q, cached });
}

function quartile(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 2]!;
}

const engine = await Engine.create({ threads: 1 });
const plain = await Engine.create({ threads: 1, build: "simd" });
const other = Deno.args[0] && await import(new URL(Deno.args[0], `file://${Deno.cwd()}/`).href);
const otherEngine = other && await other.Engine.create({ threads: 1 });
for (const c of CASES) {
  const runs = new Map<string, () => number>();
  const seen = c.causal ? c.keys - (c.queries - 1) / 2 : c.keys;
  const macs = 2 * c.queries * c.heads * c.headDim * seen;
  const add = (name: string, run: () => void) => runs.set(name, () => (run(), macs));
  if (other) add("other, rows", runOf(otherEngine, other.kernels, c));
  add("rows", runOf(engine, kernels, c));
  add("f32", runOf(engine, kernels, c, "f32"));
  add("int8", runOf(engine, kernels, c, "int8"));
  runs.set("peak", () => kernels.multiplyPeak(plain, 64));
  const rates = new Map([...runs.keys()].map((name) => [name, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, run] of runs) {
      run();
      const start = performance.now();
      const done = run();
      rates.get(name)!.push((performance.now() - start) / done);
    }
  }
  const peak = quartile(rates.get("peak")!);
  const texts = [...rates].map(([name, all]) => {
    const time = quartile(all);
    return `${name} ${(1e-6 / time).toFixed(1)} GMAC/s (${(100 * peak / time).toFixed(0)} %)`;
  });
  console.log(`${c.name.padEnd(28)}${texts.join("  ")}`);
}
for (const one of [engine, plain, otherEngine]) one?.close();
