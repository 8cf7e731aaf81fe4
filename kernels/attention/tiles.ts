// The two products of attention, on packed operands. Every element is one chain over its summed index in ascending
// order, so a row's bits do not depend on which rows share its tile.
// Deno's V8 checks the bounds of every load (4 instructions in all, the size of a shared memory read anew), so the
// 4-row tiles take 3 loads and 4 lane splats for 8 vector multiply-adds into 8 accumulators, rather than 6 loads.
import { madd } from "../lanes";
import { COLUMN_TILE, SCORE_ROW } from "./pack";

// @ts-ignore: decorator
@inline
function step(sum: v128, a: v128, b: v128, fused: bool): v128 {
  return fused ? madd(a, b, sum) : f32x4.add(sum, f32x4.mul(a, b));
}

/** Lane 0 in all lanes. */
// @ts-ignore: decorator
@inline
export function lane0(v: v128): v128 {
  return i8x16.shuffle(v, v, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
}

/** Lane 1 in all lanes. */
// @ts-ignore: decorator
@inline
export function lane1(v: v128): v128 {
  return i8x16.shuffle(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
}

/** Lane 2 in all lanes. */
// @ts-ignore: decorator
@inline
export function lane2(v: v128): v128 {
  return i8x16.shuffle(v, v, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11);
}

/** Lane 3 in all lanes. */
// @ts-ignore: decorator
@inline
export function lane3(v: v128): v128 {
  return i8x16.shuffle(v, v, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15);
}

// @ts-ignore: decorator
@inline
function dots(s: usize, a: usize, b: usize, bytes: usize, tiles: i32, fused: bool): void {
  const stop = a + 4 * bytes;
  for (; tiles > 0; tiles--) {
    let s00 = f32x4.splat(0), s01 = s00, s10 = s00, s11 = s00;
    let s20 = s00, s21 = s00, s30 = s00, s31 = s00;
    for (let p = a; p < stop; p += 16) {
      const q = v128.load(p), k0 = v128.load(b), k1 = v128.load(b, 16);
      let x = lane0(q);
      s00 = step(s00, x, k0, fused), s01 = step(s01, x, k1, fused);
      x = lane1(q);
      s10 = step(s10, x, k0, fused), s11 = step(s11, x, k1, fused);
      x = lane2(q);
      s20 = step(s20, x, k0, fused), s21 = step(s21, x, k1, fused);
      x = lane3(q);
      s30 = step(s30, x, k0, fused), s31 = step(s31, x, k1, fused);
      b += 32;
    }
    v128.store(s, s00), v128.store(s, s01, 16);
    v128.store(s, s10, SCORE_ROW), v128.store(s, s11, SCORE_ROW + 16);
    v128.store(s, s20, 2 * SCORE_ROW), v128.store(s, s21, 2 * SCORE_ROW + 16);
    v128.store(s, s30, 3 * SCORE_ROW), v128.store(s, s31, 3 * SCORE_ROW + 16);
    s += 32;
  }
}

// @ts-ignore: decorator
@inline
function mix(
  sums: usize,
  weights: usize,
  rows: usize,
  factors: usize,
  count: i32,
  tiles: i32,
  fused: bool,
): void {
  const stop = weights + (<usize> count << 4);
  for (; tiles > 0; tiles--) {
    let f = v128.load32_splat(factors);
    let s00 = f32x4.mul(v128.load(sums), f), s01 = f32x4.mul(v128.load(sums, 16), f);
    f = v128.load32_splat(factors, 4);
    let s10 = f32x4.mul(v128.load(sums, 32), f), s11 = f32x4.mul(v128.load(sums, 48), f);
    f = v128.load32_splat(factors, 8);
    let s20 = f32x4.mul(v128.load(sums, 64), f), s21 = f32x4.mul(v128.load(sums, 80), f);
    f = v128.load32_splat(factors, 12);
    let s30 = f32x4.mul(v128.load(sums, 96), f), s31 = f32x4.mul(v128.load(sums, 112), f);
    let r = rows;
    for (let w = weights; w < stop; w += 16) {
      const p = v128.load(w), v0 = v128.load(r), v1 = v128.load(r, 16);
      let x = lane0(p);
      s00 = step(s00, x, v0, fused), s01 = step(s01, x, v1, fused);
      x = lane1(p);
      s10 = step(s10, x, v0, fused), s11 = step(s11, x, v1, fused);
      x = lane2(p);
      s20 = step(s20, x, v0, fused), s21 = step(s21, x, v1, fused);
      x = lane3(p);
      s30 = step(s30, x, v0, fused), s31 = step(s31, x, v1, fused);
      r += 32;
    }
    v128.store(sums, s00), v128.store(sums, s01, 16);
    v128.store(sums, s10, 32), v128.store(sums, s11, 48);
    v128.store(sums, s20, 64), v128.store(sums, s21, 80);
    v128.store(sums, s30, 96), v128.store(sums, s31, 112);
    sums += 128;
    rows += COLUMN_TILE;
  }
}

/** Scores of 4 rows (transposed, one quad) with `tiles` x 8 keys (transposed): s[row][key], SCORE_ROW bytes per row. */
export function scores4(s: usize, a: usize, b: usize, bytes: usize, tiles: i32): void {
  dots(s, a, b, bytes, tiles, false);
}

/** As scores4, fused where the build can: training. */
export function scores4Fused(s: usize, a: usize, b: usize, bytes: usize, tiles: i32): void {
  dots(s, a, b, bytes, tiles, true);
}

/** sums[tile][4][8] = sums * factors[row] + weights[i][row] * rows[tile][i], i < count; rows in column tiles. */
export function mix4(
  sums: usize,
  weights: usize,
  rows: usize,
  factors: usize,
  count: i32,
  tiles: i32,
): void {
  mix(sums, weights, rows, factors, count, tiles, false);
}

/** As mix4 with every factor 1, fused where the build can: training. */
export function mix4Fused(
  sums: usize,
  weights: usize,
  rows: usize,
  ones: usize,
  count: i32,
  tiles: i32,
): void {
  mix(sums, weights, rows, ones, count, tiles, true);
}

/** Scores of one row (plain) with `tiles` x 8 keys; computes up to the next 32 keys, the caller drops what is beyond. */
export function scores1(s: usize, a: usize, b: usize, bytes: usize, tiles: i32): void {
  const tile = 8 * bytes, stop = a + bytes;
  for (; tiles > 0; tiles -= 4) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    const b1 = b + tile, b2 = b1 + tile, b3 = b2 + tile;
    let at: usize = 0;
    for (let p = a; p < stop; p += 4) {
      const q = v128.load32_splat(p);
      s0 = step(s0, q, v128.load(b + at), false), s1 = step(s1, q, v128.load(b + at, 16), false);
      s2 = step(s2, q, v128.load(b1 + at), false), s3 = step(s3, q, v128.load(b1 + at, 16), false);
      s4 = step(s4, q, v128.load(b2 + at), false), s5 = step(s5, q, v128.load(b2 + at, 16), false);
      s6 = step(s6, q, v128.load(b3 + at), false), s7 = step(s7, q, v128.load(b3 + at, 16), false);
      at += 32;
    }
    v128.store(s, s0), v128.store(s, s1, 16), v128.store(s, s2, 32), v128.store(s, s3, 48);
    v128.store(s, s4, 64), v128.store(s, s5, 80), v128.store(s, s6, 96), v128.store(s, s7, 112);
    s += 128;
    b += 4 * tile;
  }
}

/** As mix4 for one row: sums[tile][8]. */
export function mix1(
  sums: usize,
  weights: usize,
  rows: usize,
  factor: f32,
  count: i32,
  tiles: i32,
): void {
  const stop = weights + (<usize> count << 2), f = f32x4.splat(factor);
  for (; tiles >= 4; tiles -= 4) {
    let s0 = f32x4.mul(v128.load(sums), f), s1 = f32x4.mul(v128.load(sums, 16), f);
    let s2 = f32x4.mul(v128.load(sums, 32), f), s3 = f32x4.mul(v128.load(sums, 48), f);
    let s4 = f32x4.mul(v128.load(sums, 64), f), s5 = f32x4.mul(v128.load(sums, 80), f);
    let s6 = f32x4.mul(v128.load(sums, 96), f), s7 = f32x4.mul(v128.load(sums, 112), f);
    let r0 = rows, r1 = rows + COLUMN_TILE, r2 = r1 + COLUMN_TILE, r3 = r2 + COLUMN_TILE;
    for (let w = weights; w < stop; w += 4) {
      const p = v128.load32_splat(w);
      s0 = step(s0, p, v128.load(r0), false), s1 = step(s1, p, v128.load(r0, 16), false);
      s2 = step(s2, p, v128.load(r1), false), s3 = step(s3, p, v128.load(r1, 16), false);
      s4 = step(s4, p, v128.load(r2), false), s5 = step(s5, p, v128.load(r2, 16), false);
      s6 = step(s6, p, v128.load(r3), false), s7 = step(s7, p, v128.load(r3, 16), false);
      r0 += 32, r1 += 32, r2 += 32, r3 += 32;
    }
    v128.store(sums, s0), v128.store(sums, s1, 16), v128.store(sums, s2, 32), v128.store(sums, s3, 48);
    v128.store(sums, s4, 64), v128.store(sums, s5, 80), v128.store(sums, s6, 96), v128.store(sums, s7, 112);
    sums += 128;
    rows += 4 * COLUMN_TILE;
  }
  for (; tiles > 0; tiles--) {
    let s0 = f32x4.mul(v128.load(sums), f), s1 = f32x4.mul(v128.load(sums, 16), f);
    let r = rows;
    for (let w = weights; w < stop; w += 4) {
      const p = v128.load32_splat(w);
      s0 = step(s0, p, v128.load(r), false), s1 = step(s1, p, v128.load(r, 16), false);
      r += 32;
    }
    v128.store(sums, s0), v128.store(sums, s1, 16);
    sums += 32;
    rows += COLUMN_TILE;
  }
}
