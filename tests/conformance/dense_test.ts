import { kernels, NULL } from "../../wasm/mod.ts";
import { Buffers, SameBits, samples } from "./buffers.ts";
import { onEveryEngine } from "./engines.ts";
import { bf16Truncated } from "./reference/bf16.ts";
import { gemm } from "./reference/dense.ts";

/** [m, n, k]: around the 5x8 tile, the 256-step depth, the few-row and few-column paths, and nothing at all. */
const SIZES = [
  [1, 1, 1],
  [1, 37, 19],
  [2, 4, 8],
  [3, 33, 300],
  [4, 3, 5],
  [5, 8, 256],
  [10, 16, 255],
  [6, 9, 257],
  [5, 7, 3],
  [13, 1, 40],
  [40, 2, 33],
  [11, 70, 4],
  [100, 65, 30],
  [47, 75, 9],
  [12, 16, 513],
  [4, 5, 0],
  [1, 5, 0],
] as const;

/** How the operands lie: forward, dX, dW, and strides that fit no fast path. */
const LAYOUTS = ["forward", "plain", "both transposed", "spaced"] as const;

function layout(kind: typeof LAYOUTS[number], m: number, n: number, k: number) {
  switch (kind) {
    case "forward":
      return { aRow: k, aCol: 1, bRow: 1, bCol: k };
    case "plain":
      return { aRow: k, aCol: 1, bRow: n, bCol: 1 };
    case "both transposed":
      return { aRow: 1, aCol: m, bRow: n, bCol: 1 };
    case "spaced":
      return { aRow: 2 * k + 3, aCol: 2, bRow: 2, bCol: 2 * k + 5 };
  }
}

Deno.test("gemm agrees with its definition for all sizes, layouts and kinds of b", async () => {
  const bits = new SameBits();
  await onEveryEngine(({ name, engine }) => {
    for (const [m, n, k] of SIZES) {
      for (const kind of LAYOUTS) {
        const strides = layout(kind, m, n, k);
        const { aRow, aCol, bRow, bCol } = strides;
        const a = samples((m - 1) * aRow + Math.max(0, k - 1) * aCol + 1, m + 7 * k);
        const full = samples(Math.max(0, k - 1) * bRow + (n - 1) * bCol + 1, n + 9 * k);
        const bias = samples(n, 5), old = samples(m * n, 6);
        const half = Uint16Array.from(full, bf16Truncated);
        const buffers = new Buffers(engine);
        const [pa, pBias] = [buffers.put(a), buffers.put(bias)];
        for (const bKind of ["f32", "bf16"] as const) {
          const b = bKind === "bf16" ? half : full;
          const pb = buffers.put(b);
          for (const add of ["nothing", "bias", "old", "both"] as const) {
            const withBias = add === "bias" || add === "both";
            const accumulate = add === "old" || add === "both";
            const expected = gemm(
              a,
              b,
              { m, n, k },
              strides,
              withBias ? bias : undefined,
              accumulate ? old : undefined,
            );
            for (const exact of [false, true]) {
              const out = accumulate ? buffers.put(old) : buffers.room(m * n);
              const product = { out, a: pa, b: pb, m, n, k, ...strides, bKind, accumulate, exact };
              kernels.gemm(engine, { ...product, bias: withBias ? pBias : NULL });
              const got = buffers.get(out, m * n);
              const what = `${name}: ${m}x${n}x${k} ${kind} ${bKind} ${add} exact=${exact}`;
              for (let i = 0; i < got.length; i++) {
                const error = Math.abs(got[i]! - expected.out[i]!);
                // A sum of k products errs by at most about k half-ulps of the terms' magnitudes.
                if (!(error <= 6e-8 * (4 + k / 8) * (expected.magnitude[i]! + 1e-30))) {
                  throw new Error(`${what}: value ${i} is ${got[i]}, not ${expected.out[i]}.`);
                }
              }
              const label = `${m}x${n}x${k} ${kind} ${bKind} ${add}`;
              if (exact) bits.check(`${label} exact`, got, name);
              else bits.check(`${label} ${engine.build}`, got, name);
            }
          }
        }
        buffers.release(`${name}: ${m}x${n}x${k} ${kind}`);
      }
    }
  });
});

Deno.test("gemm over many blocks does not depend on the number of threads", async () => {
  const bits = new SameBits();
  const [m, n, k] = [350, 530, 260];
  const a = samples(m * k, 1), b = samples(n * k, 2);
  await onEveryEngine(({ name, engine }) => {
    const buffers = new Buffers(engine);
    const [pa, pb, out] = [buffers.put(a), buffers.put(b), buffers.room(m * n)];
    const sizes = { m, n, k, aRow: k, aCol: 1, bRow: 1, bCol: k };
    kernels.gemm(engine, { out, a: pa, b: pb, ...sizes, bKind: "f32", exact: true });
    const got = buffers.get(out, m * n);
    bits.check("exact", got, name);
    for (const [i, j] of [[0, 0], [349, 529], [339, 511], [340, 512], [175, 265]] as const) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a[i * k + p]! * b[j * k + p]!;
      if (Math.abs(got[i * n + j]! - sum) > 1e-4) {
        throw new Error(`${name}: value ${i}, ${j} is ${got[i * n + j]}, not ${sum}.`);
      }
    }
    buffers.release(name);
  });
});
