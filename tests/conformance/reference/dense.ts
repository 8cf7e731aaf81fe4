// The dense product from its definition, summed in double precision.
import { bf16ToF32 } from "./bf16.ts";

/** out [m, n] = sum over p of a[i·aRow + p·aCol] · b[p·bRow + j·bCol] + bias[j] + old. */
export function gemm(
  a: Float32Array,
  b: Float32Array | Uint16Array,
  sizes: { m: number; n: number; k: number },
  strides: { aRow: number; aCol: number; bRow: number; bCol: number },
  bias?: Float32Array,
  old?: Float32Array,
): { out: Float64Array; magnitude: Float64Array } {
  const { m, n, k } = sizes, { aRow, aCol, bRow, bCol } = strides;
  const right = b instanceof Uint16Array ? Float32Array.from(b, bf16ToF32) : b;
  const out = new Float64Array(m * n), magnitude = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = (bias?.[j] ?? 0) + (old?.[i * n + j] ?? 0), size = Math.abs(sum);
      for (let p = 0; p < k; p++) {
        const product = a[i * aRow + p * aCol]! * right[p * bRow + j * bCol]!;
        sum += product;
        size += Math.abs(product);
      }
      out[i * n + j] = sum;
      magnitude[i * n + j] = size;
    }
  }
  return { out, magnitude };
}
