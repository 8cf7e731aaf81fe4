// Attention straight from its definition, in f64: what the kernels are compared with.

/** A ragged batch: K and V of all sequences lie one after the other in `k` and `v`. */
export interface Problem {
  sequences: { queries: number; keys: number; position: number }[];
  heads: number;
  kvHeads: number;
  headDim: number;
  causal: boolean;
  scale: number;
  /** [queries, heads * headDim]. */
  q: Float32Array;
  /** [keys, kvHeads * headDim]. */
  k: Float32Array;
  v: Float32Array;
}

/** Calls `visit` for every query row and head: its offset in q, its place in lse, the offsets of the keys it sees. */
function eachRow(
  problem: Problem,
  visit: (at: number, index: number, keys: number[]) => void,
): void {
  const { heads, kvHeads, headDim } = problem;
  let [row, firstKey] = [0, 0];
  for (const { queries, keys, position } of problem.sequences) {
    for (let i = 0; i < queries; i++, row++) {
      const seen = problem.causal ? Math.min(keys, position + i + 1) : keys;
      for (let h = 0; h < heads; h++) {
        const kvHead = Math.floor(h * kvHeads / heads);
        const at = (key: number) => ((firstKey + key) * kvHeads + kvHead) * headDim;
        const index = row * heads + h;
        visit(index * headDim, index, Array.from({ length: seen }, (_, key) => at(key)));
      }
    }
    firstKey += keys;
  }
}

function dot(a: ArrayLike<number>, i: number, b: ArrayLike<number>, j: number, n: number): number {
  let sum = 0;
  for (let d = 0; d < n; d++) sum += a[i + d]! * b[j + d]!;
  return sum;
}

function weights(problem: Problem, at: number, keys: number[]): { p: number[]; lse: number } {
  const { q, k, headDim, scale } = problem;
  const scores = keys.map((key) => dot(q, at, k, key, headDim) * scale);
  const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = scores.reduce((a, s) => a + Math.exp(s - top), 0);
  const lse = keys.length ? top + Math.log(sum) : -Infinity;
  return { p: scores.map((s) => Math.exp(s - lse)), lse };
}

/** Softmax attention and the log-sum-exp of every row and head. */
export function attention(problem: Problem): { out: Float64Array; lse: Float64Array } {
  const { headDim, v, q } = problem;
  const out = new Float64Array(q.length);
  const lse = new Float64Array(q.length / headDim);
  eachRow(problem, (at, index, keys) => {
    const row = weights(problem, at, keys);
    lse[index] = row.lse;
    keys.forEach((key, j) => {
      for (let d = 0; d < headDim; d++) out[at + d]! += row.p[j]! * v[key + d]!;
    });
  });
  return { out, lse };
}

/** Gradients of sum(out * dout) by the chain rule through the softmax. */
export function attentionGradient(
  problem: Problem,
  dout: ArrayLike<number>,
): { dq: Float64Array; dk: Float64Array; dv: Float64Array } {
  const { headDim, q, k, v, scale } = problem;
  const [dq, dk, dv] = [q, k, v].map((x) => new Float64Array(x.length)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  eachRow(problem, (at, _, keys) => {
    const { p } = weights(problem, at, keys);
    const dp = keys.map((key) => dot(dout, at, v, key, headDim));
    const mean = p.reduce((sum, x, j) => sum + x * dp[j]!, 0);
    keys.forEach((key, j) => {
      const ds = p[j]! * (dp[j]! - mean) * scale;
      for (let d = 0; d < headDim; d++) {
        dq[at + d]! += ds * k[key + d]!;
        dk[key + d]! += ds * q[at + d]!;
        dv[key + d]! += p[j]! * dout[at + d]!;
      }
    });
  });
  return { dq, dk, dv };
}
