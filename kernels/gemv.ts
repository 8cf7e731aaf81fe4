// Products with one to three rows: out(r, j) = base + sum over p of x[r, p] * B(p, j). B is read once, straight from
// where it lies; nothing is packed, because no value of B is used more than three times. Two forms by B's layout:
// "columns" where each column of B is contiguous (a weight [n, k] row-major, decode), "rows" where each row is.
import { int, ptr } from "./args";
import { madd, sumLanes } from "./lanes";
import { four } from "./pack";

// @ts-ignore: decorator
@inline
function step(a: v128, b: v128, c: v128, exact: bool): v128 {
  return exact ? f32x4.add(f32x4.mul(a, b), c) : madd(a, b, c);
}

// @ts-ignore: decorator
@inline
function one(p: usize, bf16: bool): f32 {
  return bf16 ? reinterpret<f32>(load<u16>(p) << 16) : load<f32>(p);
}

// Stores one result with what it is added to. Both may apply: bias first, then the old value.
// @ts-ignore: decorator
@inline
function finish(out: usize, bias: usize, accumulate: bool, sum: f32): void {
  if (bias) sum += load<f32>(bias);
  store<f32>(out, accumulate ? load<f32>(out) + sum : sum);
}

// One row of x against four contiguous columns, four lanes of the sum each. Two accumulators a column hide the latency.
// @ts-ignore: decorator
@inline
function dotFour(
  out: usize, outCol: usize, bias: usize, biasCol: usize, accumulate: bool,
  x: usize, b: usize, bCol: usize, k: i32, bf16: bool, exact: bool,
): void {
  const size: usize = bf16 ? 2 : 4;
  let b0 = b, b1 = b + bCol, b2 = b + 2 * bCol, b3 = b + 3 * bCol;
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
  let p = 0;
  for (; p + 8 <= k; p += 8) {
    const x0 = v128.load(x), x1 = v128.load(x, 16);
    s0 = step(x0, four(b0, bf16), s0, exact);
    t0 = step(x1, four(b0 + 4 * size, bf16), t0, exact);
    s1 = step(x0, four(b1, bf16), s1, exact);
    t1 = step(x1, four(b1 + 4 * size, bf16), t1, exact);
    s2 = step(x0, four(b2, bf16), s2, exact);
    t2 = step(x1, four(b2 + 4 * size, bf16), t2, exact);
    s3 = step(x0, four(b3, bf16), s3, exact);
    t3 = step(x1, four(b3 + 4 * size, bf16), t3, exact);
    x += 32;
    b0 += 8 * size;
    b1 += 8 * size;
    b2 += 8 * size;
    b3 += 8 * size;
  }
  let r0 = sumLanes(f32x4.add(s0, t0)), r1 = sumLanes(f32x4.add(s1, t1));
  let r2 = sumLanes(f32x4.add(s2, t2)), r3 = sumLanes(f32x4.add(s3, t3));
  for (; p < k; p++) {
    const v = load<f32>(x);
    r0 += v * one(b0, bf16);
    r1 += v * one(b1, bf16);
    r2 += v * one(b2, bf16);
    r3 += v * one(b3, bf16);
    x += 4;
    b0 += size;
    b1 += size;
    b2 += size;
    b3 += size;
  }
  finish(out, bias, accumulate, r0);
  finish(out + outCol, bias ? bias + biasCol : 0, accumulate, r1);
  finish(out + 2 * outCol, bias ? bias + 2 * biasCol : 0, accumulate, r2);
  finish(out + 3 * outCol, bias ? bias + 3 * biasCol : 0, accumulate, r3);
}

// The same sum, in the same order, for a single column.
// @ts-ignore: decorator
@inline
function dotOne(
  out: usize, bias: usize, accumulate: bool, x: usize, b: usize, k: i32, bf16: bool, exact: bool,
): void {
  const size: usize = bf16 ? 2 : 4;
  let s = f32x4.splat(0), t = f32x4.splat(0);
  let p = 0;
  for (; p + 8 <= k; p += 8) {
    s = step(v128.load(x), four(b, bf16), s, exact);
    t = step(v128.load(x, 16), four(b + 4 * size, bf16), t, exact);
    x += 32;
    b += 8 * size;
  }
  let sum = sumLanes(f32x4.add(s, t));
  for (; p < k; p++) {
    sum += load<f32>(x) * one(b, bf16);
    x += 4;
    b += size;
  }
  finish(out, bias, accumulate, sum);
}

// @ts-ignore: decorator
@inline
function columnsOf(begin: i32, end: i32, bf16: bool, exact: bool): void {
  const m = int(3), n = int(4), k = int(5);
  const outRow = <usize> int(6) << 2, outCol = <usize> int(7) << 2;
  const biasRow = <usize> int(9) << 2, biasCol = <usize> int(10) << 2, accumulate = int(11) != 0;
  const bCol = <usize> int(12) << (bf16 ? 1 : 2);
  for (let item = begin; item < end; item++) {
    const j = item << 2;
    const b = ptr(2) + <usize> j * bCol;
    for (let r = 0; r < m; r++) {
      const x = ptr(1) + (<usize> r * <usize> k << 2);
      const out = ptr(0) + <usize> r * outRow + <usize> j * outCol;
      const bias = ptr(8) ? ptr(8) + <usize> r * biasRow + <usize> j * biasCol : 0;
      if (j + 4 <= n) {
        dotFour(out, outCol, bias, biasCol, accumulate, x, b, bCol, k, bf16, exact);
      } else {
        for (let i: usize = 0; i < <usize> (n - j); i++) {
          const from = bias ? bias + i * biasCol : 0;
          dotOne(out + i * outCol, from, accumulate, x, b + i * bCol, k, bf16, exact);
        }
      }
    }
  }
}

// Columns of B contiguous; items: groups of 4 columns. ints: out, x [m, k] contiguous, b, m, n, k, outRow, outCol, bias,
// biasRow, biasCol, accumulate, bCol, bf16, exact.
export function gemv_columns(begin: i32, end: i32): void {
  const exact = int(14) != 0;
  if (int(13)) {
    if (exact) columnsOf(begin, end, true, true);
    else columnsOf(begin, end, true, false);
  } else {
    if (exact) columnsOf(begin, end, false, true);
    else columnsOf(begin, end, false, false);
  }
}

/** Columns per item of gemv_rows: 8 accumulators. */
const WIDTH: i32 = 32;

// @ts-ignore: decorator
@inline
function finish4(out: usize, bias: usize, accumulate: bool, sum: v128): void {
  if (bias) sum = f32x4.add(sum, v128.load(bias));
  v128.store(out, accumulate ? f32x4.add(v128.load(out), sum) : sum);
}

// @ts-ignore: decorator
@inline
function rowsOf(begin: i32, end: i32, bf16: bool, exact: bool): void {
  const m = int(3), n = int(4), k = int(5), size: usize = bf16 ? 2 : 4;
  const bRow = <usize> int(12) << (bf16 ? 1 : 2), accumulate = int(11) != 0;
  for (let item = begin; item < end; item++) {
    const j = item * WIDTH;
    for (let r = 0; r < m; r++) {
      let x = ptr(1) + (<usize> r * <usize> k << 2), b = ptr(2) + <usize> j * size;
      const out = ptr(0) + (<usize> (r * n + j) << 2), bias = ptr(8) ? ptr(8) + (<usize> j << 2) : 0;
      if (j + WIDTH <= n) {
        let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
        for (let p = 0; p < k; p++) {
          const v = v128.load32_splat(x);
          s0 = step(v, four(b, bf16), s0, exact);
          s1 = step(v, four(b + 4 * size, bf16), s1, exact);
          s2 = step(v, four(b + 8 * size, bf16), s2, exact);
          s3 = step(v, four(b + 12 * size, bf16), s3, exact);
          s4 = step(v, four(b + 16 * size, bf16), s4, exact);
          s5 = step(v, four(b + 20 * size, bf16), s5, exact);
          s6 = step(v, four(b + 24 * size, bf16), s6, exact);
          s7 = step(v, four(b + 28 * size, bf16), s7, exact);
          x += 4;
          b += bRow;
        }
        finish4(out, bias, accumulate, s0);
        finish4(out + 16, bias ? bias + 16 : 0, accumulate, s1);
        finish4(out + 32, bias ? bias + 32 : 0, accumulate, s2);
        finish4(out + 48, bias ? bias + 48 : 0, accumulate, s3);
        finish4(out + 64, bias ? bias + 64 : 0, accumulate, s4);
        finish4(out + 80, bias ? bias + 80 : 0, accumulate, s5);
        finish4(out + 96, bias ? bias + 96 : 0, accumulate, s6);
        finish4(out + 112, bias ? bias + 112 : 0, accumulate, s7);
      } else {
        for (let i: usize = 0; i < <usize> (n - j); i++) {
          let sum: f32 = 0;
          let at = b + i * size;
          for (let p: usize = 0; p < <usize> k; p++) {
            sum += load<f32>(x + (p << 2)) * one(at, bf16);
            at += bRow;
          }
          finish(out + (i << 2), bias ? bias + (i << 2) : 0, accumulate, sum);
        }
      }
    }
  }
}

// Rows of B contiguous; items: WIDTH columns. ints as gemv_columns with bRow in place of bCol and out [m, n] contiguous.
export function gemv_rows(begin: i32, end: i32): void {
  const exact = int(14) != 0;
  if (int(13)) {
    if (exact) rowsOf(begin, end, true, true);
    else rowsOf(begin, end, true, false);
  } else {
    if (exact) rowsOf(begin, end, false, true);
    else rowsOf(begin, end, false, false);
  }
}

// Copies the few rows of an operand into contiguous f32: out[r, p] = source(r, p). Items: rows.
// ints: out, source, k, row stride, column stride (elements), bf16.
export function gather_operand(begin: i32, end: i32): void {
  const k = int(2), bf16 = int(5) != 0, shift: usize = bf16 ? 1 : 2;
  const row = <usize> int(3) << shift, column = <usize> int(4) << shift;
  for (let r = begin; r < end; r++) {
    let out = ptr(0) + (<usize> r * <usize> k << 2), at = ptr(1) + <usize> r * row;
    for (let p = 0; p < k; p++) {
      store<f32>(out, one(at, bf16));
      at += column;
      out += 4;
    }
  }
}
