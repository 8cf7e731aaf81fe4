import { assertEquals } from "@std/assert";
import { kernels, NULL } from "../../wasm/mod.ts";
import { assertNear, Buffers, SameBits, samples } from "./buffers.ts";
import { onEveryEngine } from "./engines.ts";
import { gelu, silu, slope } from "./reference/pointwise.ts";

const SIZES = [1, 2, 3, 4, 5, 1023, 1024, 1025, 9001];

Deno.test("exp is within 2e-7 of the truth from -87 to 88, 0 below and bounded above", async () => {
  const x = Float32Array.from({ length: 20001 }, (_, i) => -87 + 175 * i / 20000);
  const edges = Float32Array.of(-87.5, -1e30, -Infinity, 0, 89, 1e30, Infinity, NaN, -0, 1e-30);
  const bits = new SameBits();
  await onEveryEngine(({ name, engine }) => {
    const buffers = new Buffers(engine);
    const [px, out] = [buffers.put(x), buffers.room(x.length)];
    kernels.exponential(engine, out, px, x.length);
    const got = buffers.get(out, x.length);
    assertNear(got, Array.from(x, Math.exp), 0, 2e-7, `${name}: exp`);
    bits.check("exp", got, name);
    const [pe, oe] = [buffers.put(edges), buffers.room(edges.length)];
    kernels.exponential(engine, oe, pe, edges.length);
    const top = Math.fround(got.at(-1)!);
    assertEquals([...buffers.get(oe, edges.length)], [0, 0, 0, 1, top, top, top, NaN, 1, 1], name);
    buffers.release(`${name}: exp`);
  });
});

Deno.test("gelu, swiGlu and their gradients agree with their definitions", async () => {
  const bits = new SameBits();
  await onEveryEngine(({ name, engine }) => {
    for (const n of SIZES) {
      const buffers = new Buffers(engine);
      const [x, up, dy] = [samples(n, n, 3), samples(n, n + 1, 2), samples(n, n + 2)];
      const [px, pu, pd] = [buffers.put(x), buffers.put(up), buffers.put(dy)];
      const [out, dx, dup] = [buffers.room(n), buffers.room(n), buffers.room(n)];
      const what = `${name}, ${n} values`;

      kernels.gelu(engine, out, px, n);
      assertNear(buffers.get(out, n), Array.from(x, gelu), 5e-7, 1e-7, `${what}: gelu`);
      bits.check(`gelu ${n}`, buffers.get(out, n), name);

      kernels.geluBackward(engine, dx, px, pd, n);
      const slopes = Array.from(x, (v, i) => dy[i]! * slope(gelu, v));
      assertNear(buffers.get(dx, n), slopes, 2e-6, 2e-6, `${what}: gelu gradient`);
      bits.check(`gelu gradient ${n}`, buffers.get(dx, n), name);

      kernels.swiGlu(engine, out, px, pu, n);
      const product = Array.from(x, (v, i) => silu(v) * up[i]!);
      assertNear(buffers.get(out, n), product, 1e-6, 5e-7, `${what}: swiGlu`);
      bits.check(`swiGlu ${n}`, buffers.get(out, n), name);

      kernels.swiGluBackward(engine, dx, dup, px, pu, pd, n);
      const dgate = Array.from(x, (v, i) => dy[i]! * up[i]! * slope(silu, v));
      assertNear(buffers.get(dx, n), dgate, 3e-6, 3e-6, `${what}: swiGlu gate gradient`);
      const dups = Array.from(x, (v, i) => dy[i]! * silu(v));
      assertNear(buffers.get(dup, n), dups, 1e-6, 5e-7, `${what}: swiGlu up gradient`);
      bits.check(`swiGlu gradient ${n}`, buffers.get(dx, n), name);
      buffers.release(what);
    }
  });
});

Deno.test("sums, scalings and bounds are exact, and reductions do not depend on threads", async () => {
  const bits = new SameBits();
  const f = Math.fround;
  await onEveryEngine(({ name, engine }) => {
    for (const n of SIZES) {
      const buffers = new Buffers(engine);
      const [a, b] = [samples(n, n, 100), samples(n, n + 1)];
      const [pa, pb, out] = [buffers.put(a), buffers.put(b), buffers.room(n)];
      kernels.add(engine, out, pa, pb, n);
      const sum = a.map((v, i) => f(v + b[i]!));
      assertEquals(buffers.get(out, n), sum, name);
      kernels.addInto(engine, out, pa, n);
      assertEquals(buffers.get(out, n), sum.map((v, i) => f(v + a[i]!)), name);
      kernels.scaleInto(engine, pb, 0.3, n);
      assertEquals(buffers.get(pb, n), b.map((v) => f(v * f(0.3))), name);
      kernels.clampInto(engine, out, n, -50, 20);
      const bounded = sum.map((v, i) => Math.max(-50, Math.min(20, f(v + a[i]!))));
      assertEquals(buffers.get(out, n), bounded, name);
      assertEquals(kernels.absMax(engine, pa, n), a.reduce((m, v) => Math.max(m, Math.abs(v)), 0));
      const squares = kernels.sumSquares(engine, pa, n);
      assertNear([squares], [a.reduce((s, v) => s + v * v, 0)], 0, 1e-6, `${name}: sumSquares`);
      bits.check(`squares ${n}`, Float32Array.of(squares), name);
      kernels.zero(engine, out, n);
      assertEquals(buffers.get(out, n), new Float32Array(n), name);
      buffers.release(`${name}, ${n} values`);
    }
    assertEquals(kernels.sumSquares(engine, NULL, 0), 0);
  });
});
