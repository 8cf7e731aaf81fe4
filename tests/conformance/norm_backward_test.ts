import { kernels, NULL } from "../../wasm/mod.ts";
import { assertNear, Buffers, SameBits, samples } from "./buffers.ts";
import { onEveryEngine } from "./engines.ts";
import { dot, numericGradient } from "./reference/gradient.ts";
import { norm } from "./reference/norm.ts";

const SIZES = [[1, 1], [1, 4], [3, 7], [5, 16], [2, 17], [70, 3], [4, 33]] as const;
const EPS = 1e-3;

Deno.test("layerNorm agrees with its definition, also far from zero", async () => {
  const bits = new SameBits();
  await onEveryEngine(({ name, engine }) => {
    for (const [tokens, dim] of [...SIZES, [9, 1024], [65, 256]] as const) {
      // A mean of 100 deviations: variance by mean of squares would lose four digits.
      const x = samples(tokens * dim, dim).map((v) => v + 100);
      const weight = samples(dim, 1), bias = samples(dim, 2);
      const buffers = new Buffers(engine);
      const out = buffers.room(tokens * dim);
      const [px, pw, pb] = [buffers.put(x), buffers.put(weight), buffers.put(bias)];
      kernels.layerNorm(engine, out, px, pw, pb, tokens, dim, EPS);
      const got = buffers.get(out, tokens * dim);
      const what = `${name}, ${tokens}x${dim}`;
      assertNear(got, norm(x, weight, bias, dim, EPS), 2e-4, 2e-4, what);
      bits.check(`${tokens}x${dim}`, got, name);
      buffers.release(what);
    }
  });
});

Deno.test("the norms' gradients agree with finite differences", async () => {
  const bits = new SameBits();
  await onEveryEngine(({ name, engine }) => {
    for (const [tokens, dim] of SIZES) {
      const n = tokens * dim;
      const x = samples(n, n), weight = samples(dim, 3), bias = samples(dim, 4);
      const dy = samples(n, n + 1), before = samples(dim, 6);
      for (const centred of [false, true]) {
        const what = `${name}, ${centred ? "layer" : "rms"} norm ${tokens}x${dim}`;
        const buffers = new Buffers(engine);
        const [px, pw, pdy, dx] = [
          buffers.put(x),
          buffers.put(weight),
          buffers.put(dy),
          buffers.room(n),
        ];
        const [dweight, dbias] = [buffers.put(before), buffers.put(before)];
        if (centred) {
          kernels.layerNormBackward(
            ...[engine, dx, dweight, dbias, px, pw, pdy, tokens, dim, EPS] as const,
          );
        } else {
          kernels.rmsNormBackward(engine, dx, dweight, px, pw, pdy, tokens, dim, EPS);
        }
        const shift = centred ? bias : null;
        const byInput = numericGradient((v) => dot(norm(v, weight, shift, dim, EPS), dy), x);
        const byWeight = numericGradient((v) => dot(norm(x, v, shift, dim, EPS), dy), weight);
        assertNear(buffers.get(dx, n), byInput, 2e-4, 2e-5, `${what}: input`);
        const added = byWeight.map((v, i) => v + before[i]!);
        assertNear(buffers.get(dweight, dim), added, 2e-5, 2e-5, `${what}: weight`);
        if (centred) {
          const byBias = numericGradient((v) => dot(norm(x, weight, v, dim, EPS), dy), bias);
          const sum = byBias.map((v, i) => v + before[i]!);
          assertNear(buffers.get(dbias, dim), sum, 2e-5, 2e-5, `${what}: bias`);
        }
        bits.check(`dx ${tokens}x${dim} ${centred}`, buffers.get(dx, n), name);
        bits.check(`dweight ${tokens}x${dim} ${centred}`, buffers.get(dweight, dim), name);
        const whole = buffers.get(dx, n);
        const alone = buffers.room(n);
        if (centred) {
          kernels.layerNormBackward(
            ...[engine, alone, NULL, NULL, px, pw, pdy, tokens, dim, EPS] as const,
          );
        } else {
          kernels.rmsNormBackward(engine, alone, NULL, px, pw, pdy, tokens, dim, EPS);
        }
        assertNear(buffers.get(alone, n), whole, 0, 0, `${what}: input alone`);
        buffers.release(what);
      }
    }
  });
});
