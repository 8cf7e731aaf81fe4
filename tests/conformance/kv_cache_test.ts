import { assert, assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { Engine, kernels, offset } from "../../wasm/mod.ts";
import { Guarded, makeProblem, place, selves } from "./attention_cases.ts";
import { onEveryEngine } from "./engines.ts";
import { attention, type Problem } from "./reference/attention.ts";
import { decodedRow, putRow } from "./reference/kv_cache.ts";

const KINDS = ["f32", "int8"] as const;
const GUARD = 64;
const MARK = 0xff;

/** A cache between guard bytes; all of it NaN (f32, scales) or -1 (codes) before anything is written. */
function emptyCache(
  engine: Engine,
  kind: kernels.KvKind,
  kvHeads: number,
  dim: number,
  capacity: number,
) {
  const size = kernels.kvCacheBytes(kind, kvHeads, dim, capacity);
  const make = (bytes: number) => {
    const start = engine.memory.allocate(bytes + 2 * GUARD);
    const all = engine.memory.u8(start, bytes + 2 * GUARD).fill(MARK);
    return { ptr: offset(start, GUARD), all };
  };
  return {
    keys: make(size.keys),
    values: make(size.values),
    capacity,
    kind,
    kvHeads,
    headDim: dim,
  };
}

function append(
  engine: Engine,
  cache: ReturnType<typeof emptyCache>,
  position: number,
  k: Float32Array,
  v: Float32Array,
): void {
  const { kind, capacity, kvHeads, headDim } = cache;
  kernels.appendKeysValues(engine, {
    ...{ keys: cache.keys.ptr, values: cache.values.ptr, capacity, kind, position },
    ...{ k: place(engine, k), v: place(engine, v), rows: k.length / (kvHeads * headDim) },
    ...{ kvHeads, headDim },
  });
}

const shapes: [kvHeads: number, headDim: number, position: number, rows: number, size: number][] = [
  [1, 1, 0, 1, 1],
  [2, 64, 0, 200, 1],
  [2, 64, 63, 1, 1],
  [2, 64, 64, 1, 0],
  [3, 5, 60, 9, 1e37],
  [1, 8, 127, 66, 1e-20],
  [2, 13, 7, 121, 1e-32],
  [1, 256, 3, 62, 1e-40],
  [4, 36, 0, 64, 300],
  [2, 20, 10, 0, 1],
];

Deno.test("keys and values join a cache as the reference puts them, byte for byte, and touch nothing else", async () => {
  const random = new Random(7);
  const cases = shapes.map(([kvHeads, headDim, position, rows, size]) => {
    const make = () =>
      Float32Array.from({ length: rows * kvHeads * headDim }, () => random.normal() * size);
    return { kvHeads, headDim, position, rows, k: make(), v: make() };
  });
  await onEveryEngine(({ name, engine }) => {
    for (const kind of KINDS) {
      for (const { kvHeads, headDim, position, rows, k, v } of cases) {
        const cache = emptyCache(engine, kind, kvHeads, headDim, position + rows);
        append(engine, cache, position, k, v);
        for (const [values, x, got] of [[false, k, cache.keys], [true, v, cache.values]] as const) {
          const expected = new Uint8Array(got.all.length).fill(MARK);
          const width = kvHeads * headDim;
          for (let row = 0; row < rows; row++) {
            const side = { kind, values, kvHeads, headDim };
            const numbers = x.subarray(row * width, (row + 1) * width);
            putRow(expected.subarray(GUARD), side, position + row, numbers);
          }
          const what = `${name}, ${kind} ${values ? "values" : "keys"} of ${kvHeads} x ${headDim}`;
          assert(got.all.every((byte, i) => byte === expected[i]), what);
        }
      }
    }
  });
});

/** Runs attention on caches, appending a sequence's keys in pieces; with room to split spans or without. */
function attendCached(engine: Engine, problem: Problem, kind: kernels.KvKind, split: boolean) {
  const { sequences, heads, kvHeads, headDim, causal, scale } = problem;
  const words = kernels.SEQUENCE_WORDS;
  const table = engine.memory.allocate(4 * words * sequences.length);
  const width = kvHeads * headDim;
  let [row, key] = [0, 0];
  sequences.forEach(({ queries, keys, position }, i) => {
    const cache = emptyCache(engine, kind, kvHeads, headDim, keys);
    for (let at = 0; at < keys;) {
      const end = Math.min(keys, at + 1 + at % 90);
      const rows = (x: Float32Array) => x.slice((key + at) * width, (key + end) * width);
      append(engine, cache, at, rows(problem.k), rows(problem.v));
      at = end;
    }
    kernels.writeSequence(engine.memory.i32(table, words * sequences.length), i, {
      ...{ firstQuery: row, queries, keys: cache.keys.ptr, values: cache.values.ptr },
      ...{ keyCount: keys, firstPosition: position },
    });
    row += queries;
    key += keys;
  });
  const shape = {
    ...{ sequences: table, sequenceCount: sequences.length, queries: row },
    ...{ heads, kvHeads, headDim, causal, scale },
  };
  const out = new Guarded(engine, problem.q.length);
  const lse = new Guarded(engine, problem.q.length / headDim);
  const bytes = split ? kernels.attendRoom(engine, shape, kind) : 0;
  const room = bytes > 0 ? new Guarded(engine, bytes / 4) : undefined;
  const q = place(engine, problem.q);
  kernels.attend(engine, {
    ...{ ...shape, q, out: out.ptr, lse: lse.ptr, cached: kind, ...(room && { room: room.ptr }) },
  });
  room?.read();
  return { out: out.read(), lse: lse.read(), split: bytes > 0 };
}

/** Largest difference, relative to 1 or the expected number, whichever is larger. */
function worstOf(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    if (got[i] === expected[i]) continue;
    const off = Math.abs(got[i]! - expected[i]!) / (1 + Math.abs(expected[i]!));
    worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
  }
  return worst;
}

const decodes = (...keys: number[]) =>
  keys.map((n) => ({ queries: 1, keys: n, position: Math.max(0, n - 1) }));

const problems: [string, Problem][] = [
  ["decode, groups of 7", makeProblem(81, decodes(1, 64, 65, 256, 257, 900), [14, 2, 64], true)],
  ["decode, one head per kv head", makeProblem(82, decodes(700), [3, 3, 64], true)],
  ["decode, groups of 5", makeProblem(83, decodes(513), [5, 1, 40], true)],
  ["prefill, groups of 7", makeProblem(84, selves(1, 7, 300), [7, 1, 64], true)],
  ["pieces", makeProblem(85, [{ queries: 40, keys: 300, position: 260 }], [4, 2, 20], true)],
  ["not causal", makeProblem(86, [{ queries: 3, keys: 270, position: 0 }], [2, 2, 13], false)],
  ["head dim 1", makeProblem(87, selves(70), [2, 1, 1], true)],
  ["head dim 256", makeProblem(88, selves(66), [2, 1, 256], true)],
  ["nothing to see", makeProblem(89, [{ queries: 2, keys: 0, position: 0 }], [2, 1, 8], true)],
];

/** The problem with keys and values as int8 keeps them. */
function rounded(problem: Problem): Problem {
  const each = (x: Float32Array) => {
    const to = new Float32Array(x.length);
    for (let i = 0; i < x.length; i += problem.headDim) {
      to.set(decodedRow(x.subarray(i, i + problem.headDim)), i);
    }
    return to;
  };
  return { ...problem, k: each(problem.k), v: each(problem.v) };
}

Deno.test("attention on caches agrees with its definition on what they hold, bits equal on every build and thread count", async () => {
  const expected = problems.map(([, problem]) => ({
    f32: attention(problem),
    int8: attention(rounded(problem)),
  }));
  const first = new Map<string, Float32Array>();
  let splits = 0;
  await onEveryEngine(({ name, engine }) => {
    problems.forEach(([what, problem], i) => {
      for (const kind of KINDS) {
        for (const split of [false, true]) {
          const got = attendCached(engine, problem, kind, split);
          if (got.split) splits++;
          const wanted = expected[i]![kind];
          const limit = kind === "f32" ? 2e-6 : 1e-4;
          for (const side of ["out", "lse"] as const) {
            const off = worstOf(got[side], wanted[side]);
            assert(off < limit, `${name}, ${what}, ${kind}: ${side} off by ${off}`);
          }
          const key = `${what} ${kind}`;
          if (!first.has(key)) first.set(key, got.out);
          assertEquals(got.out, first.get(key), `${name}, ${key}, split ${split}: bits differ`);
        }
      }
    });
  });
  assert(splits > 0, "no call was split into spans");
});

Deno.test("a cache in f32 gives the bits of plain rows, and decoding from int8 those of its prefill", async () => {
  const engine = await Engine.create({ threads: 3 });
  try {
    const [total, heads, kvHeads, dim] = [600, 14, 2, 64];
    const whole = makeProblem(91, selves(total), [heads, kvHeads, dim], true);
    const plain = attendRows(engine, whole);
    assertEquals(attendCached(engine, whole, "f32", false).out, plain);
    for (const kind of KINDS) {
      const { out } = attendCached(engine, whole, kind, false);
      for (const [from, count] of [[0, 1], [255, 1], [256, 1], [599, 1], [300, 50]] as const) {
        const keys = from + count, width = heads * dim;
        const part = attendCached(
          engine,
          {
            ...whole,
            sequences: [{ queries: count, keys, position: from }],
            q: whole.q.slice(from * width, keys * width),
            k: whole.k.slice(0, keys * kvHeads * dim),
            v: whole.v.slice(0, keys * kvHeads * dim),
          },
          kind,
          true,
        );
        assertEquals(part.out, out.slice(from * width, keys * width), `${kind}, from ${from}`);
      }
    }
  } finally {
    engine.close();
  }
});

function attendRows(engine: Engine, problem: Problem): Float32Array {
  const { sequences: [{ queries, keys, position }], heads, kvHeads, headDim } = problem as
    & Problem
    & {
      sequences: [Problem["sequences"][0]];
    };
  const table = engine.memory.allocate(4 * kernels.SEQUENCE_WORDS);
  kernels.writeSequence(engine.memory.i32(table, kernels.SEQUENCE_WORDS), 0, {
    ...{ firstQuery: 0, queries, keys: place(engine, problem.k), values: place(engine, problem.v) },
    ...{ keyCount: keys, firstPosition: position },
  });
  const out = new Guarded(engine, problem.q.length);
  kernels.attend(engine, {
    ...{ out: out.ptr, q: place(engine, problem.q), sequences: table, sequenceCount: 1, queries },
    ...{ heads, kvHeads, headDim, causal: problem.causal, scale: problem.scale },
  });
  return out.read();
}

Deno.test("int8 attention stays finite and right for huge and for tiny keys and values", async () => {
  await onEveryEngine(({ name, engine }) => {
    const base = makeProblem(95, decodes(130), [7, 1, 16], true);
    for (const [kSize, vSize] of [[1e-36, 1e-36], [1, 1e36], [1, 1e-34], [30, 1]] as const) {
      const problem = { ...base, k: base.k.map((x) => x * kSize), v: base.v.map((x) => x * vSize) };
      const wanted = attention(rounded(problem)).out;
      const { out } = attendCached(engine, problem, "int8", true);
      // Weights of values below 2^-100 count as 0.
      const unit = Math.max(vSize, 1e-26);
      out.forEach((value, i) => {
        const off = Math.abs(value - wanted[i]!) / unit;
        assert(off < 2e-3, `${name}, keys of ${kSize}, values of ${vSize}: ${value}, ${wanted[i]}`);
      });
    }
  });
});

Deno.test("a cache refuses rows that do not fit", async () => {
  const engine = await Engine.create({ threads: 1 });
  try {
    const cache = emptyCache(engine, "int8", 1, 8, 70);
    const rows = new Float32Array(16);
    assertThrows(() => append(engine, cache, 69, rows, rows), LobitError, "cannot take 2 from 69");
    assertThrows(() => append(engine, cache, -1, rows, rows), LobitError, "cannot take");
    append(engine, cache, 68, rows, rows);
  } finally {
    engine.close();
  }
});
