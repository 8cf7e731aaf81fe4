import { assert, assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { Engine, kernels } from "../../wasm/mod.ts";
import { Guarded, makeProblem, place, placeProblem, selves } from "./attention_cases.ts";
import { onEveryEngine } from "./engines.ts";
import { attention, attentionGradient, type Problem } from "./reference/attention.ts";

const ragged = selves(1, 2, 0, 7, 8, 9, 65, 130);
const prefixed = [
  { queries: 5, keys: 70, position: 65 },
  { queries: 0, keys: 9, position: 0 },
  { queries: 66, keys: 80, position: 3 },
  { queries: 2, keys: 0, position: 0 },
];

const problems: [string, Problem][] = [
  ["ragged", makeProblem(51, ragged, [2, 2, 64], false)],
  ["ragged causal, groups of 2", makeProblem(52, ragged, [4, 2, 32], true)],
  ["ragged causal, groups of 7", makeProblem(53, ragged, [7, 1, 8], true)],
  ["prefixes, groups of 7", makeProblem(54, prefixed, [14, 2, 16], true)],
  ["prefixes, not causal", makeProblem(55, prefixed, [2, 2, 128], false)],
  ["head dim 5", makeProblem(56, selves(1, 70), [2, 1, 5], true)],
  ["head dim 256", makeProblem(57, selves(66), [1, 1, 256], true)],
  ["scores beyond 80", makeProblem(58, selves(9, 70), [2, 1, 32], true, 5)],
];

function gradientFor(problem: Problem): Float32Array {
  const random = new Random(problem.q.length);
  return Float32Array.from(problem.q, () => random.normal());
}

function backward(engine: Engine, problem: Problem, dout: Float32Array): Float32Array[] {
  const operands = placeProblem(engine, problem);
  const out = new Guarded(engine, problem.q.length);
  const lse = new Guarded(engine, problem.q.length / problem.headDim);
  kernels.attend(engine, { ...operands, out: out.ptr, lse: lse.ptr });
  const [dq, dk, dv] = [problem.q, problem.k, problem.v].map((x) =>
    new Guarded(engine, x.length)
  ) as [Guarded, Guarded, Guarded];
  kernels.attendBackward(engine, {
    ...{ ...operands, out: out.ptr, lse: lse.ptr, dout: place(engine, dout) },
    ...{ dq: dq.ptr, dk: dk.ptr, dv: dv.ptr },
  });
  return [dq.read(), dk.read(), dv.read()];
}

Deno.test("the reference gradient of attention is the slope of its definition", () => {
  const problem = makeProblem(61, [{ queries: 4, keys: 6, position: 2 }], [4, 2, 3], true);
  const dout = gradientFor(problem);
  const gradient = attentionGradient(problem, dout);
  const value = (changed: Partial<Problem>) =>
    attention({ ...problem, ...changed }).out.reduce((sum, x, i) => sum + x * dout[i]!, 0);
  const step = 2 ** -9;
  for (const name of ["q", "k", "v"] as const) {
    for (let i = 0; i < problem[name].length; i++) {
      const [up, down] = [step, -step].map((by) => {
        const values = problem[name].slice();
        values[i]! += by;
        return { by: values[i]! - problem[name][i]!, value: value({ [name]: values }) };
      }) as [{ by: number; value: number }, { by: number; value: number }];
      const slope = (up.value - down.value) / (up.by - down.by);
      const off = Math.abs(slope - gradient[`d${name}`][i]!);
      assert(off < 3e-5, `d${name}[${i}]: slope ${slope}, off by ${off}`);
    }
  }
});

Deno.test("attention's gradients agree with the reference, with the same bits on every thread count", async () => {
  const first = new Map<string, Float32Array[]>();
  const cases = problems.map(([what, problem]) => {
    const dout = gradientFor(problem);
    return { what, problem, dout, expected: attentionGradient(problem, dout) };
  });
  await onEveryEngine(({ name, engine }) => {
    for (const { what, problem, dout, expected } of cases) {
      const got = backward(engine, problem, dout);
      (["dq", "dk", "dv"] as const).forEach((which, j) => {
        const exact = expected[which];
        const size = Math.sqrt(exact.reduce((sum, x) => sum + x * x, 0) / exact.length);
        let worst = 0;
        exact.forEach((x, i) => {
          worst = Math.max(worst, Math.abs(got[j]![i]! - x) / (size + Math.abs(x)));
        });
        const limit = what.startsWith("scores") ? 2e-4 : 1e-5;
        assert(worst <= limit, `${name}, ${what}: ${which} off by ${worst}`);
      });
      const key = `${engine.build} ${what}`;
      if (!first.has(key)) first.set(key, got);
      assertEquals(got, first.get(key), `${name}, ${what}: bits depend on the thread count`);
    }
  });
});

Deno.test("the attention backward refuses keys that are not rows of k, or shared", async () => {
  const engine = await Engine.create({ threads: 1 });
  try {
    const problem = makeProblem(71, selves(4, 4), [2, 1, 8], true);
    const operands = placeProblem(engine, problem);
    const other = () => place(engine, problem.q);
    const call = {
      ...{ ...operands, out: other(), lse: other(), dout: other() },
      ...{ dq: other(), dk: other(), dv: other() },
    };
    const words = engine.memory.i32(operands.sequences, 12);
    for (const [at, by] of [[2, 32], [3, 32], [8, 4], [8, 32], [2, -32], [9, 128]] as const) {
      words[at]! += by;
      assertThrows(() => kernels.attendBackward(engine, call), LobitError, "whole rows of k and v");
      words[at]! -= by;
    }
    kernels.attendBackward(engine, call);
  } finally {
    engine.close();
  }
});
