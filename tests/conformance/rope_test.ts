import { kernels } from "../../wasm/mod.ts";
import { assertNear, Buffers, SameBits, samples } from "./buffers.ts";
import { onEveryEngine } from "./engines.ts";

const THETA = 1e6;

Deno.test("rope turns pairs by position times frequency, and inverse turns back", async () => {
  const bits = new SameBits();
  const f = Math.fround;
  await onEveryEngine(({ name, engine }) => {
    for (
      const [tokens, heads, headDim] of [[1, 1, 2], [3, 2, 6], [5, 3, 64], [40, 2, 128]] as const
    ) {
      const what = `${name}, ${tokens}x${heads}x${headDim}`;
      const n = tokens * heads * headDim, half = headDim / 2;
      const positions = Int32Array.from({ length: tokens }, (_, t) => t * t * 25);
      const x = samples(n, n);
      const buffers = new Buffers(engine);
      const [px, out] = [buffers.put(x), buffers.room(n)];
      const [pPositions, table] = [buffers.put(positions), buffers.room(tokens * headDim)];
      kernels.ropeTable(engine, table, pPositions, tokens, headDim, THETA);
      kernels.rope(engine, out, px, table, tokens, heads, headDim, false);
      const wanted = new Float64Array(n), angles = new Float64Array(tokens * headDim);
      for (let t = 0; t < tokens; t++) {
        for (let i = 0; i < half; i++) {
          const frequency = f(1 / f(Math.pow(THETA, f(2 * i / headDim))));
          const angle = f(positions[t]! * frequency);
          angles[t * headDim + i] = Math.cos(angle);
          angles[t * headDim + half + i] = Math.sin(angle);
          for (let h = 0; h < heads; h++) {
            const at = (t * heads + h) * headDim + i;
            wanted[at] = x[at]! * Math.cos(angle) - x[at + half]! * Math.sin(angle);
            wanted[at + half] = x[at + half]! * Math.cos(angle) + x[at]! * Math.sin(angle);
          }
        }
      }
      assertNear(buffers.get(table, tokens * headDim), angles, 6e-8, 0, `${what}: table`);
      assertNear(buffers.get(out, n), wanted, 2e-6, 2e-7, what);
      bits.check(what.slice(name.length), buffers.get(out, n), name);
      kernels.rope(engine, out, out, table, tokens, heads, headDim, true);
      assertNear(buffers.get(out, n), x, 2e-6, 1e-6, `${what}: back, in place`);
      buffers.release(what);
    }
  });
});
