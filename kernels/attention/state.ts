// A part of the attention of one kv head's rows, and what has been summed over a span of keys: per row the largest score,
// the sum of weights relative to it, and the weighted values. [sums: quads of rows as tiles [4][8], a lone row [8]]
// [maxima][totals].
import { exp1 } from "../exp";
import { tileRowBytes } from "./pack";
import { Sequence } from "./rows";
import { LOWEST } from "./softmax";

/** Keys per span, a whole number of blocks. */
export const SPAN: i32 = 256;

/** A part and where its operands lie in the thread's scratch. */
@unmanaged
export class Part {
  sequence: Sequence;
  kvHead: i32;
  group: i32;
  causal: bool;
  single: bool;
  base: i32;
  rows: i32;
  quads: i32;
  padded: i32;
  dim: i32;
  stop: i32;
  s: usize;
  weights: usize;
  factors: usize;
  times: usize;
  rowScales: usize;
  queries: usize;
  state: usize;
  spare: usize;
  keys: usize;
  values: usize;
}

/** Bytes of the state of a part of at most `most` rows. */
export function stateBytes(most: i32, dim: i32): usize {
  return <usize> ((most + 3) & ~3) * (tileRowBytes(dim) + 8);
}

/** Where a row's tiles begin: 128 bytes apart in a quad, 32 for the lone row. */
// @ts-ignore: decorator
@inline
export function sumOf(part: Part, state: usize, row: i32): usize {
  const bytes = tileRowBytes(part.dim);
  if (part.single && row == part.rows - 1) return state + <usize> row * bytes;
  return state + <usize> (row & ~3) * bytes + (<usize> (row & 3) << 5);
}

// @ts-ignore: decorator
@inline
export function maximumOf(part: Part, state: usize, row: i32): usize {
  return state + <usize> part.padded * tileRowBytes(part.dim) + (<usize> row << 2);
}

// @ts-ignore: decorator
@inline
export function totalOf(part: Part, state: usize, row: i32): usize {
  return maximumOf(part, state, row) + (<usize> part.padded << 2);
}

/** Nothing seen yet. */
export function beginState(part: Part, state: usize): void {
  memory.fill(state, 0, <usize> part.padded * (tileRowBytes(part.dim) + 8));
  for (let row = 0; row < part.padded; row++) store<f32>(maximumOf(part, state, row), LOWEST);
}

/** Joins the next span's state to that of the spans before it. Rows that see nothing of the span stay as they are. */
export function joinState(part: Part, to: usize, from: usize): void {
  for (let row = 0; row < part.rows; row++) {
    const more = load<f32>(totalOf(part, from, row));
    if (more == 0) continue;
    const a = load<f32>(maximumOf(part, to, row)), b = load<f32>(maximumOf(part, from, row)), top = max(a, b);
    const f = exp1(a - top), g = exp1(b - top);
    store<f32>(maximumOf(part, to, row), top);
    store<f32>(totalOf(part, to, row), load<f32>(totalOf(part, to, row)) * f + more * g);
    const step: usize = part.single && row == part.rows - 1 ? 32 : 128;
    let x = sumOf(part, to, row), y = sumOf(part, from, row);
    const f4 = f32x4.splat(f), g4 = f32x4.splat(g);
    for (let d = 0; d < part.dim; d += 8, x += step, y += step) {
      v128.store(x, f32x4.add(f32x4.mul(v128.load(x), f4), f32x4.mul(v128.load(y), g4)));
      v128.store(x, f32x4.add(f32x4.mul(v128.load(x, 16), f4), f32x4.mul(v128.load(y, 16), g4)), 16);
    }
  }
}
