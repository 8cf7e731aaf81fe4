import { assertEquals } from "@std/assert";
import { Random } from "../../src/base/random.ts";
import { kernels, type Memory } from "../../wasm/mod.ts";
import { onEveryEngine } from "./engines.ts";

function put(memory: Memory, values: Float32Array) {
  const ptr = memory.allocate(values.byteLength);
  memory.f32(ptr, values.length).set(values);
  return ptr;
}

Deno.test("rmsNorm agrees with its definition on every build and thread count", async () => {
  const f = Math.fround;
  await onEveryEngine(({ name, engine }) => {
    for (const [tokens, dim] of [[1, 4], [3, 7], [9, 256], [70, 896], [1, 1]] as const) {
      const random = new Random(tokens * 1000 + dim);
      const x = Float32Array.from({ length: tokens * dim }, () => random.normal() * 3);
      const weight = Float32Array.from({ length: dim }, () => random.normal());
      const [px, pw] = [put(engine.memory, x), put(engine.memory, weight)];
      const out = put(engine.memory, new Float32Array(tokens * dim));
      kernels.rmsNorm(engine, out, px, pw, tokens, dim, 1e-6);
      const got = engine.memory.f32(out, tokens * dim);
      let worst = 0;
      for (let t = 0; t < tokens; t++) {
        let squares = 0;
        for (let i = 0; i < dim; i++) squares += x[t * dim + i]! ** 2;
        const inverse = 1 / Math.sqrt(squares / dim + 1e-6);
        for (let i = 0; i < dim; i++) {
          const expected = f(x[t * dim + i]! * inverse * weight[i]!);
          worst = Math.max(worst, Math.abs(got[t * dim + i]! - expected));
        }
      }
      assertEquals(worst < 4e-6, true, `${name}: ${tokens}x${dim} is off by ${worst}`);
    }
  });
});
