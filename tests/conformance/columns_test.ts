import { assertEquals } from "@std/assert";
import { kernels } from "../../wasm/mod.ts";
import { assertNear, Buffers, SameBits, samples } from "./buffers.ts";
import { onEveryEngine } from "./engines.ts";

const SIZES = [[1, 1], [2, 15], [3, 16], [64, 17], [65, 33], [200, 130]] as const;

Deno.test("column sums and layer scale agree with their definitions", async () => {
  const bits = new SameBits();
  const f = Math.fround;
  await onEveryEngine(({ name, engine }) => {
    for (const [tokens, dim] of SIZES) {
      const n = tokens * dim, what = `${name}, ${tokens}x${dim}`;
      const [x, y] = [samples(n, n), samples(n, n + 1)];
      const [scale, before] = [samples(dim, 1), samples(dim, 2)];
      const buffers = new Buffers(engine);
      const [px, py, pScale] = [buffers.put(x), buffers.put(y), buffers.put(scale)];
      const [sums, products] = [buffers.put(before), buffers.put(before)];
      kernels.sumColumns(engine, sums, px, tokens, dim);
      kernels.sumColumnProducts(engine, products, px, py, tokens, dim);
      const [wanted, wantedProducts] = [Float64Array.from(before), Float64Array.from(before)];
      for (let i = 0; i < n; i++) {
        wanted[i % dim]! += x[i]!;
        wantedProducts[i % dim]! += x[i]! * y[i]!;
      }
      assertNear(buffers.get(sums, dim), wanted, 1e-5, 1e-6, `${what}: sums`);
      assertNear(buffers.get(products, dim), wantedProducts, 1e-5, 1e-6, `${what}: products`);
      bits.check(`sums ${n}`, buffers.get(sums, dim), name);
      bits.check(`products ${n}`, buffers.get(products, dim), name);

      const out = buffers.room(n);
      kernels.addScaled(engine, out, px, py, pScale, tokens, dim);
      assertEquals(
        buffers.get(out, n),
        x.map((v, i) => f(v + f(scale[i % dim]! * y[i]!))),
        what,
      );
      kernels.scaleRows(engine, out, py, pScale, tokens, dim);
      assertEquals(buffers.get(out, n), y.map((v, i) => f(scale[i % dim]! * v)), what);
      buffers.release(what);
    }
  });
});
