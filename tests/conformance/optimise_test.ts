import { assertEquals } from "@std/assert";
import { kernels } from "../../wasm/mod.ts";
import { assertNear, Buffers, SameBits, samples } from "./buffers.ts";
import { onEveryEngine } from "./engines.ts";

Deno.test("adamw follows its formula over several steps", async () => {
  const bits = new SameBits();
  await onEveryEngine(({ name, engine }) => {
    for (const n of [1, 5, 1024, 5003]) {
      const start = samples(n, n);
      const param = Float64Array.from(start), m = new Float64Array(n), v = new Float64Array(n);
      const buffers = new Buffers(engine);
      const [pp, pm, pv] = [buffers.put(start), buffers.room(n, 0), buffers.room(n, 0)];
      const base = { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.1, gradScale: 0.5 };
      for (let step = 1; step <= 5; step++) {
        const grad = samples(n, n + step);
        const correction1 = 1 - 0.9 ** step, correction2 = 1 - 0.999 ** step;
        kernels.adamw(engine, pp, buffers.put(grad), pm, pv, n, {
          ...base,
          correction1,
          correction2,
        });
        for (let i = 0; i < n; i++) {
          const g = grad[i]! * base.gradScale;
          m[i] = 0.9 * m[i]! + 0.1 * g;
          v[i] = 0.999 * v[i]! + 0.001 * g * g;
          param[i]! -= base.lr * base.decay * param[i]!;
          param[i]! -= base.lr * (m[i]! / correction1) / (Math.sqrt(v[i]! / correction2) + 1e-8);
        }
      }
      assertNear(buffers.get(pp, n), param, 2e-6, 1e-6, `${name}, ${n} values`);
      bits.check(`${n}`, buffers.get(pp, n), name);
      buffers.release(`${name}, ${n} values`);
    }
  });
});

Deno.test("signSgd moves by the learning rate against the gradient's sign and not at zero", async () => {
  await onEveryEngine(({ name, engine }) => {
    const grad = Float32Array.of(3, -1e-30, 0, -0, 5e8), buffers = new Buffers(engine);
    const [param, pg] = [buffers.put(new Float32Array(5).fill(1)), buffers.put(grad)];
    kernels.signSgd(engine, param, pg, 5, 0.25);
    assertEquals([...buffers.get(param, 5)], [0.75, 1.25, 1, 1, 0.75], name);
    buffers.release(name);
  });
});
