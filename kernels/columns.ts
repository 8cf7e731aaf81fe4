// Column reductions for the gradients of biases, norm weights and layer scales: out[j] += sum over tokens. Each column
// is summed whole by one thread, 64 tokens at a time so that long sums keep their low bits. Plain IEEE operations.
import { int, ptr } from "./args";
import { load4, store4 } from "./lanes";

/** Columns per item: one cache line. */
const WIDTH: i32 = 16;
const RUN: i32 = 64;

const PLAIN: i32 = 0; // x
const PRODUCT: i32 = 1; // x * y
const NORMED: i32 = 2; // x * (y - mean) * inverse, moments (mean, inverse) per token

// @ts-ignore: decorator
@inline
function term(x: v128, y: usize, left: usize, moments: usize, mode: i32): v128 {
  if (mode == PLAIN) return x;
  const other = load4(y, left);
  if (mode == PRODUCT) return f32x4.mul(x, other);
  const unit = f32x4.mul(f32x4.sub(other, v128.load32_splat(moments)), v128.load32_splat(moments, 4));
  return f32x4.mul(x, unit);
}

// @ts-ignore: decorator
@inline
function sums(begin: i32, end: i32, mode: i32): void {
  const tokens = int(4), dim = int(5), bytes = (<usize> dim) << 2;
  for (let item = begin; item < end; item++) {
    const at = <usize> (item * WIDTH) << 2;
    if (at + 64 <= bytes) {
      let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
      let x = ptr(1) + at, y = ptr(2) + at, moments = ptr(3);
      for (let t0 = 0; t0 < tokens; t0 += RUN) {
        let r0 = f32x4.splat(0), r1 = r0, r2 = r0, r3 = r0;
        for (let t = t0, last = min(t0 + RUN, tokens); t < last; t++) {
          r0 = f32x4.add(r0, term(v128.load(x), y, 16, moments, mode));
          r1 = f32x4.add(r1, term(v128.load(x, 16), y + 16, 16, moments, mode));
          r2 = f32x4.add(r2, term(v128.load(x, 32), y + 32, 16, moments, mode));
          r3 = f32x4.add(r3, term(v128.load(x, 48), y + 48, 16, moments, mode));
          x += bytes;
          y += bytes;
          moments += 8;
        }
        s0 = f32x4.add(s0, r0);
        s1 = f32x4.add(s1, r1);
        s2 = f32x4.add(s2, r2);
        s3 = f32x4.add(s3, r3);
      }
      const out = ptr(0) + at;
      v128.store(out, f32x4.add(v128.load(out), s0));
      v128.store(out, f32x4.add(v128.load(out, 16), s1), 16);
      v128.store(out, f32x4.add(v128.load(out, 32), s2), 32);
      v128.store(out, f32x4.add(v128.load(out, 48), s3), 48);
    } else {
      for (let i = at; i < bytes; i += 16) {
        const left = bytes - i;
        let s = f32x4.splat(0);
        let x = ptr(1) + i, y = ptr(2) + i, moments = ptr(3);
        for (let t0 = 0; t0 < tokens; t0 += RUN) {
          let r = f32x4.splat(0);
          for (let t = t0, last = min(t0 + RUN, tokens); t < last; t++) {
            r = f32x4.add(r, term(load4(x, left), y, left, moments, mode));
            x += bytes;
            y += bytes;
            moments += 8;
          }
          s = f32x4.add(s, r);
        }
        store4(ptr(0) + i, f32x4.add(load4(ptr(0) + i, left), s), left);
      }
    }
  }
}

// ints: out, x, y, moments, tokens, dim, mode. Items: WIDTH columns.
export function sum_columns(begin: i32, end: i32): void {
  const mode = int(6);
  if (mode == PLAIN) sums(begin, end, PLAIN);
  else if (mode == PRODUCT) sums(begin, end, PRODUCT);
  else sums(begin, end, NORMED);
}

// One factor per column. add_scaled: out = x + factor * y; scale_rows: out = factor * y. Items: tokens.
// ints: out, x, y, factor, dim.
export function add_scaled(begin: i32, end: i32): void {
  const factor = ptr(3), bytes = (<usize> int(4)) << 2;
  for (let t = begin; t < end; t++) {
    const row = <usize> t * bytes, out = ptr(0) + row, x = ptr(1) + row, y = ptr(2) + row;
    for (let i: usize = 0; i < bytes; i += 16) {
      const left = bytes - i;
      const scaled = f32x4.mul(load4(factor + i, left), load4(y + i, left));
      store4(out + i, f32x4.add(load4(x + i, left), scaled), left);
    }
  }
}

// ints: out, y, factor, dim.
export function scale_rows(begin: i32, end: i32): void {
  const factor = ptr(2), bytes = (<usize> int(3)) << 2;
  for (let t = begin; t < end; t++) {
    const row = <usize> t * bytes, out = ptr(0) + row, y = ptr(1) + row;
    for (let i: usize = 0; i < bytes; i += 16) {
      const left = bytes - i;
      store4(out + i, f32x4.mul(load4(factor + i, left), load4(y + i, left)), left);
    }
  }
}
