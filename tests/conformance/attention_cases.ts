// Ragged attention problems and their operands in an engine's memory, with guard words around every output.
import { Random } from "../../src/base/random.ts";
import { type Engine, kernels, offset, type Ptr } from "../../wasm/mod.ts";
import type { Problem } from "./reference/attention.ts";

const GUARD = 16;
const MARK = -12345.5;

/** An output between guard words. */
export class Guarded {
  readonly ptr: Ptr;
  readonly #all: Float32Array;

  constructor(engine: Engine, length: number) {
    const start = engine.memory.allocate((length + 2 * GUARD) * 4);
    this.#all = engine.memory.f32(start, length + 2 * GUARD).fill(MARK);
    this.ptr = offset(start, GUARD * 4);
  }

  /** What was written. Throws if a guard word was. */
  read(): Float32Array {
    const end = this.#all.length - GUARD;
    for (let i = 0; i < GUARD; i++) {
      if (this.#all[i] !== MARK || this.#all[end + i] !== MARK) {
        throw new Error("A kernel wrote outside its output.");
      }
    }
    return this.#all.slice(GUARD, end);
  }
}

/** A problem with normal entries; `spread` is the standard deviation of q and k. */
export function makeProblem(
  seed: number,
  sequences: Problem["sequences"],
  [heads, kvHeads, headDim]: readonly [number, number, number],
  causal: boolean,
  spread = 1,
): Problem {
  const random = new Random(seed);
  const [queries, keys] = sequences.reduce(
    ([q, k], s) => [q + s.queries, k + s.keys],
    [0, 0] as [number, number],
  );
  const normal = (length: number, size: number) =>
    Float32Array.from({ length }, () => random.normal() * size);
  return {
    ...{ sequences, heads, kvHeads, headDim, causal, scale: 1 / Math.sqrt(headDim) },
    q: normal(queries * heads * headDim, spread),
    k: normal(keys * kvHeads * headDim, spread),
    v: normal(keys * kvHeads * headDim, 1),
  };
}

/** Copies values into fresh memory. */
export function place(engine: Engine, values: Float32Array): Ptr {
  const ptr = engine.memory.allocate(values.byteLength);
  engine.memory.f32(ptr, values.length).set(values);
  return ptr;
}

/** A problem's inputs in memory, as the kernels take them. */
export function placeProblem(
  engine: Engine,
  problem: Problem,
): kernels.AttentionShape & { q: Ptr; k: Ptr; v: Ptr; keys: number } {
  const { memory } = engine;
  const { sequences, kvHeads, heads, headDim, causal, scale } = problem;
  const [q, k, v] = [problem.q, problem.k, problem.v].map((x) => place(engine, x)) as [
    Ptr,
    Ptr,
    Ptr,
  ];
  const table = memory.allocate(sequences.length * 24);
  const words = memory.i32(table, sequences.length * kernels.SEQUENCE_WORDS);
  let [row, key] = [0, 0];
  sequences.forEach((s, i) => {
    const bytes = key * kvHeads * headDim * 4;
    const at = (ptr: Ptr) => offset(ptr, bytes) as unknown as number;
    words.set([row, s.queries, at(k), at(v), s.keys, s.position], i * kernels.SEQUENCE_WORDS);
    row += s.queries;
    key += s.keys;
  });
  return {
    ...{ q, k, v, keys: key, sequences: table, sequenceCount: sequences.length, queries: row },
    ...{ heads, kvHeads, headDim, causal, scale },
  };
}

/** Runs the forward kernel. */
export function attend(
  engine: Engine,
  problem: Problem,
): { out: Float32Array; lse: Float32Array } {
  const operands = placeProblem(engine, problem);
  const out = new Guarded(engine, problem.q.length);
  const lse = new Guarded(engine, problem.q.length / problem.headDim);
  kernels.attend(engine, { ...operands, out: out.ptr, lse: lse.ptr });
  return { out: out.read(), lse: lse.read() };
}

/** Sequences of plain self-attention. */
export function selves(...lengths: number[]): Problem["sequences"] {
  return lengths.map((n) => ({ queries: n, keys: n, position: 0 }));
}
