type Numbers = ArrayLike<number>;

/** Root-mean-square norm and, with `bias`, layer norm, of [tokens, dim], in double precision. */
export function norm(
  x: Numbers,
  weight: Numbers,
  bias: Numbers | null,
  dim: number,
  eps: number,
): Float64Array {
  const out = new Float64Array(x.length);
  for (let t = 0; t * dim < x.length; t++) {
    let mean = 0, variance = 0;
    if (bias) { for (let i = 0; i < dim; i++) mean += x[t * dim + i]! / dim; }
    for (let i = 0; i < dim; i++) variance += (x[t * dim + i]! - mean) ** 2 / dim;
    const inverse = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < dim; i++) {
      out[t * dim + i] = (x[t * dim + i]! - mean) * inverse * weight[i]! + (bias?.[i] ?? 0);
    }
  }
  return out;
}
