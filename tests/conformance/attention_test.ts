import { assert, assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Engine, kernels, offset } from "../../wasm/mod.ts";
import { attend, makeProblem, place, placeProblem, selves } from "./attention_cases.ts";
import { onEveryEngine } from "./engines.ts";
import { attention, type Problem } from "./reference/attention.ts";

const ragged = selves(1, 2, 7, 8, 9, 65, 130);
const caches = [
  { queries: 1, keys: 131, position: 130 },
  { queries: 0, keys: 5, position: 0 },
  { queries: 5, keys: 70, position: 65 },
  { queries: 3, keys: 0, position: 0 },
  { queries: 2, keys: 64, position: 10 },
  { queries: 1, keys: 1, position: 0 },
  { queries: 0, keys: 0, position: 0 },
];

function worstOf(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    if (got[i] !== expected[i]) {
      const off = Math.abs(got[i]! - expected[i]!) / (1 + Math.abs(expected[i]!));
      worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
    }
  }
  return worst;
}

const problems: [string, Problem][] = [
  ["ragged", makeProblem(1, ragged, [2, 2, 64], false)],
  ["ragged causal, groups of 2", makeProblem(2, ragged, [4, 2, 32], true)],
  ["ragged causal, groups of 7", makeProblem(3, ragged, [7, 1, 8], true)],
  ["caches, groups of 7", makeProblem(4, caches, [14, 2, 64], true)],
  ["caches, one head per kv head", makeProblem(5, caches, [3, 3, 128], true)],
  ["caches, not causal", makeProblem(6, caches, [4, 2, 8], false)],
  ["head dim 1", makeProblem(7, selves(3, 70), [2, 1, 1], true)],
  ["head dim 6", makeProblem(8, selves(3, 70), [2, 2, 6], false)],
  ["head dim 13", makeProblem(9, selves(1, 70), [3, 1, 13], true)],
  ["head dim 20", makeProblem(10, selves(1, 5, 67), [1, 1, 20], true)],
  ["head dim 256", makeProblem(11, selves(1, 66), [2, 1, 256], true)],
  ["many short sequences", makeProblem(12, selves(...Array(200).fill(3)), [2, 2, 8], true)],
  ["scores beyond 80", makeProblem(13, selves(9, 130), [2, 1, 32], true, 5)],
];

Deno.test("attention agrees with its definition, with the same bits on every build and thread count", async () => {
  const expected = problems.map(([, problem]) => attention(problem));
  const first: Float32Array[] = [];
  await onEveryEngine(({ name, engine }) => {
    problems.forEach(([what, problem], i) => {
      const { out, lse } = attend(engine, problem);
      const off = worstOf(out, expected[i]!.out), offLse = worstOf(lse, expected[i]!.lse);
      // Scores of size s carry s * 2^-24 of rounding, which the exponential turns into relative error.
      const limit = what.startsWith("scores") ? 4e-5 : 2e-6;
      assert(off < limit, `${name}, ${what}: output off by ${off}`);
      assert(offLse < 1e-6, `${name}, ${what}: log-sum-exp off by ${offLse}`);
      first[i] ??= out;
      assertEquals(out, first[i], `${name}, ${what}: bits differ from the first engine's`);
    });
  });
});

Deno.test("decoding, chunked prefill and prefill in one go give a row the same bits", async () => {
  const [total, heads, kvHeads, dim] = [150, 14, 2, 64];
  const whole = makeProblem(21, selves(total), [heads, kvHeads, dim], true);
  const engine = await Engine.create({ threads: 2 });
  try {
    const { out } = attend(engine, whole);
    const width = heads * dim;
    for (const [from, count] of [[0, 1], [149, 1], [64, 1], [63, 2], [100, 50], [3, 33]] as const) {
      const keys = from + count;
      const part = attend(engine, {
        ...whole,
        sequences: [{ queries: count, keys, position: from }],
        q: whole.q.slice(from * width, keys * width),
        k: whole.k.slice(0, keys * kvHeads * dim),
        v: whole.v.slice(0, keys * kvHeads * dim),
      });
      assertEquals(part.out, out.slice(from * width, keys * width), `rows ${from} to ${keys}`);
    }
  } finally {
    engine.close();
  }
});

Deno.test("attention is exact where the answer is plain: equal scores average, a dominating key is copied", async () => {
  const engine = await Engine.create({ threads: 1 });
  try {
    const [keys, dim] = [130, 8];
    const problem = makeProblem(31, [{ queries: 5, keys, position: 0 }], [1, 1, dim], false);
    const even = attend(engine, { ...problem, q: problem.q.map(() => 0) }).out;
    for (let d = 0; d < dim; d++) {
      let mean = 0;
      for (let key = 0; key < keys; key++) mean += problem.v[key * dim + d]! / keys;
      for (let row = 0; row < 5; row++) assert(Math.abs(even[row * dim + d]! - mean) < 1e-6);
    }
    for (const winner of [0, 63, 64, 129]) {
      const k = new Float32Array(keys * dim).fill(-80);
      k.fill(80, winner * dim, (winner + 1) * dim);
      const q = problem.q.map(() => 1);
      const { out, lse } = attend(engine, { ...problem, q, k, scale: 0.25 });
      for (let i = 0; i < out.length; i++) assertEquals(out[i], problem.v[winner * dim + i % dim]);
      assertEquals(lse, new Float32Array(5).fill(160));
    }
  } finally {
    engine.close();
  }
});

Deno.test("attention refuses shapes and tables that point outside", async () => {
  const engine = await Engine.create({ threads: 1 });
  try {
    const problem = makeProblem(41, selves(4, 4), [4, 2, 8], true);
    const good = placeProblem(engine, problem);
    const out = place(engine, problem.q);
    const words = engine.memory.i32(good.sequences, 12);
    const refused = (change: Partial<kernels.Attention>, message: string) => {
      const call = () => kernels.attend(engine, { ...good, out, ...change });
      assertThrows(call, LobitError, message);
    };
    refused({ kvHeads: 3 }, "divide");
    refused({ kvHeads: 0 }, "divide");
    refused({ headDim: 257 }, "head dimensions");
    refused({ headDim: 0 }, "head dimensions");
    refused({ queries: 7 }, "from row 4 of 7");
    for (
      const [at, value] of [[0, -1], [1, -1], [4, -1], [5, -1], [4, 2 ** 30], [2, -64]] as const
    ) {
      const before = words[at]!;
      words[at] = value;
      refused({}, "equence 0");
      words[at] = before;
    }
    kernels.attend(engine, { ...good, out });
    kernels.attend(engine, { ...good, out, sequenceCount: 0 });
  } finally {
    engine.close();
  }
});

Deno.test("appended rows arrive whole and leave their neighbours alone", async () => {
  await onEveryEngine(({ name, engine }) => {
    for (const [rows, width] of [[0, 8], [1, 1], [3, 7], [1000, 128]] as const) {
      const source = Float32Array.from({ length: rows * width }, (_, i) => i + 1);
      const cache = place(engine, new Float32Array(rows * width + 2).fill(-1));
      kernels.appendRows(engine, offset(cache, 4), place(engine, source), rows, width * 4);
      const expected = Float32Array.from([-1, ...source, -1]);
      assertEquals(engine.memory.f32(cache, expected.length), expected, name);
    }
  });
});
