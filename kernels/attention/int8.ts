// The two products of attention on int8 keys and values. Queries and weights (probability times the value's scale) become
// 16-bit integers, one scale per row and, for weights, block of keys: their rounding is 2^-16 of the row's largest, far
// below that of the codes, and i32x4.dot_i16x8_s gives the exact integer on every engine. |sum| <= 127 * 32767 * 256.
// 8 dot products of 8 products each take 1 load of codes, 2 widenings, 1 load and 4 splats of rows.
import { VALUE_TILE } from "./layout";
import { even, odd, pick, SCORE_ROW } from "./pack";
import { codes4, inverseOf, inverses, largestOf } from "./round";
import { lane0, lane1, lane2, lane3 } from "./tiles";
import { load4 } from "../lanes";

const MOST: f32 = 32767;

// @ts-ignore: decorator
@inline
function dot(sum: v128, a: v128, b: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(a, b));
}

/** Scales of four rows' codes; answers what multiplies the rows. */
// @ts-ignore: decorator
@inline
function scalesOf(largest: v128, scales: usize, factor: f32): v128 {
  const most = f32x4.splat(MOST);
  v128.store(scales, f32x4.mul(f32x4.div(largest, most), f32x4.splat(factor)));
  return inverses(largest, most);
}

/** Four query rows as [dim pair][4 rows][2] and their scales, times `scale`. */
export function packQueries(
  to: usize,
  scales: usize,
  r0: usize,
  r1: usize,
  r2: usize,
  r3: usize,
  dim: i32,
  scale: f32,
): void {
  const bytes = <usize> dim << 2, most = f32x4.splat(MOST);
  const largest = f32x4(largestOf(r0, bytes), largestOf(r1, bytes), largestOf(r2, bytes), largestOf(r3, bytes));
  const inverse = scalesOf(largest, scales, scale);
  const i0 = lane0(inverse), i1 = lane1(inverse), i2 = lane2(inverse), i3 = lane3(inverse);
  for (let d: usize = 0; d < bytes; d += 16, to += 32) {
    const left = bytes - d;
    storePairs(
      to,
      codes4(load4(r0 + d, left), i0, most),
      codes4(load4(r1 + d, left), i1, most),
      codes4(load4(r2 + d, left), i2, most),
      codes4(load4(r3 + d, left), i3, most),
    );
  }
}

/** Four rows' codes of indices i to i + 3 as [pair][4 rows][2]. */
// @ts-ignore: decorator
@inline
function storePairs(to: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab = i16x8.narrow_i32x4_s(a, b), cd = i16x8.narrow_i32x4_s(c, d);
  v128.store(to, even(ab, cd));
  v128.store(to, odd(ab, cd), 16);
}

/** One query row as 16-bit integers, padded with zeros to 4, and its scale, times `scale`. */
export function packQuery(to: usize, scaleAt: usize, from: usize, dim: i32, scale: f32): void {
  const bytes = <usize> dim << 2, most = f32x4.splat(MOST), largest = largestOf(from, bytes);
  store<f32>(scaleAt, largest / MOST * scale);
  const inverse = f32x4.splat(inverseOf(largest, MOST));
  for (let d: usize = 0; d < bytes; d += 16, to += 8) {
    const codes = codes4(load4(from + d, bytes - d), inverse, most);
    v128.store64_lane(to, i16x8.narrow_i32x4_s(codes, codes), 0);
  }
}

// @ts-ignore: decorator
@inline
function largestLane(v: v128): f32 {
  const pair = f32x4.max(v, pick(v, v, true));
  return max(f32x4.extract_lane(pair, 0), f32x4.extract_lane(pair, 1));
}

// Adding 1.5 * 2^23 rounds to the nearest integer, as codes4 does, and leaves it in the low bits.
// @ts-ignore: decorator
@inline
function weightCodes(w: v128, inverse: v128, magic: v128): v128 {
  return i32x4.sub(f32x4.add(f32x4.mul(w, inverse), magic), magic);
}

/**
 * Weights s[row][0, count) >= 0 of four rows, whose largest are given, as 16-bit integers [key pair][4 rows][2], with the
 * rows' scales. Takes lanes up to the next 8 keys.
 */
export function packWeights(to: usize, scales: usize, s: usize, largest: usize, count: i32): void {
  const inverse = scalesOf(v128.load(largest), scales, 1), magic = f32x4.splat(12582912);
  const i0 = lane0(inverse), i1 = lane1(inverse), i2 = lane2(inverse), i3 = lane3(inverse);
  for (let p = s, stop = s + (<usize> ((count + 7) & ~7) << 2); p < stop; p += 16, to += 32) {
    storePairs(
      to,
      weightCodes(v128.load(p), i0, magic),
      weightCodes(v128.load(p, SCORE_ROW), i1, magic),
      weightCodes(v128.load(p, 2 * SCORE_ROW), i2, magic),
      weightCodes(v128.load(p, 3 * SCORE_ROW), i3, magic),
    );
  }
}

/** As packWeights for one row of probabilities, which it multiplies with times[key] first: [key]; answers its scale. */
export function packWeight(to: usize, s: usize, times: usize, count: i32): f32 {
  const end = <usize> ((count + 7) & ~7) << 2, magic = f32x4.splat(12582912);
  let top = f32x4.splat(0);
  for (let i: usize = 0; i < end; i += 16) {
    const w = f32x4.mul(v128.load(s + i), v128.load(times + i));
    v128.store(s + i, w);
    top = f32x4.max(top, w);
  }
  const largest = largestLane(top), inverse = f32x4.splat(inverseOf(largest, MOST));
  for (let i: usize = 0; i < end; i += 32, to += 16) {
    const low = weightCodes(v128.load(s + i), inverse, magic);
    const high = weightCodes(v128.load(s + i, 16), inverse, magic);
    v128.store(to, i16x8.narrow_i32x4_s(low, high));
  }
  return largest / MOST;
}

// @ts-ignore: decorator
@inline
function score(sum: v128, keyScales: v128, rowScale: v128): v128 {
  return f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum), keyScales), rowScale);
}

/** Scores of four packed query rows with `tiles` x 8 keys: s[row][key]. `bytes`: of a packed key, padded. */
export function scores4Int8(s: usize, a: usize, rowScales: usize, b: usize, keyScales: usize, bytes: usize, tiles: i32): void {
  const stop = a + (bytes << 3);
  for (; tiles > 0; tiles--) {
    let s00 = i32x4.splat(0), s01 = s00, s10 = s00, s11 = s00;
    let s20 = s00, s21 = s00, s30 = s00, s31 = s00;
    for (let p = a; p < stop; p += 16) {
      const q = v128.load(p), codes = v128.load(b);
      const k0 = i16x8.extend_low_i8x16_s(codes), k1 = i16x8.extend_high_i8x16_s(codes);
      let x = lane0(q);
      s00 = dot(s00, x, k0), s01 = dot(s01, x, k1);
      x = lane1(q);
      s10 = dot(s10, x, k0), s11 = dot(s11, x, k1);
      x = lane2(q);
      s20 = dot(s20, x, k0), s21 = dot(s21, x, k1);
      x = lane3(q);
      s30 = dot(s30, x, k0), s31 = dot(s31, x, k1);
      b += 16;
    }
    const k0 = v128.load(keyScales), k1 = v128.load(keyScales, 16);
    let r = v128.load32_splat(rowScales);
    v128.store(s, score(s00, k0, r)), v128.store(s, score(s01, k1, r), 16);
    r = v128.load32_splat(rowScales, 4);
    v128.store(s, score(s10, k0, r), SCORE_ROW), v128.store(s, score(s11, k1, r), SCORE_ROW + 16);
    r = v128.load32_splat(rowScales, 8);
    v128.store(s, score(s20, k0, r), 2 * SCORE_ROW), v128.store(s, score(s21, k1, r), 2 * SCORE_ROW + 16);
    r = v128.load32_splat(rowScales, 12);
    v128.store(s, score(s30, k0, r), 3 * SCORE_ROW), v128.store(s, score(s31, k1, r), 3 * SCORE_ROW + 16);
    s += 32;
    keyScales += 32;
  }
}

// @ts-ignore: decorator
@inline
function put(at: usize, factor: v128, sum: v128, scale: v128): void {
  v128.store(at, f32x4.add(f32x4.mul(v128.load(at), factor), f32x4.mul(f32x4.convert_i32x4_s(sum), scale)));
}

/** sums[tile][4][8] = sums * factors[row] + scales[row] * Σ weights[pair][row] * values[tile][pair]. */
export function mix4Int8(
  sums: usize,
  weights: usize,
  scales: usize,
  values: usize,
  factors: usize,
  count: i32,
  tiles: i32,
): void {
  const stop = weights + (<usize> ((count + 1) >> 1) << 4);
  for (; tiles > 0; tiles--) {
    let s00 = i32x4.splat(0), s01 = s00, s10 = s00, s11 = s00;
    let s20 = s00, s21 = s00, s30 = s00, s31 = s00;
    let b = values;
    for (let w = weights; w < stop; w += 16) {
      const p = v128.load(w), codes = v128.load(b);
      const v0 = i16x8.extend_low_i8x16_s(codes), v1 = i16x8.extend_high_i8x16_s(codes);
      let x = lane0(p);
      s00 = dot(s00, x, v0), s01 = dot(s01, x, v1);
      x = lane1(p);
      s10 = dot(s10, x, v0), s11 = dot(s11, x, v1);
      x = lane2(p);
      s20 = dot(s20, x, v0), s21 = dot(s21, x, v1);
      x = lane3(p);
      s30 = dot(s30, x, v0), s31 = dot(s31, x, v1);
      b += 16;
    }
    let f = v128.load32_splat(factors), r = v128.load32_splat(scales);
    put(sums, f, s00, r), put(sums + 16, f, s01, r);
    f = v128.load32_splat(factors, 4), r = v128.load32_splat(scales, 4);
    put(sums + 32, f, s10, r), put(sums + 48, f, s11, r);
    f = v128.load32_splat(factors, 8), r = v128.load32_splat(scales, 8);
    put(sums + 64, f, s20, r), put(sums + 80, f, s21, r);
    f = v128.load32_splat(factors, 12), r = v128.load32_splat(scales, 12);
    put(sums + 96, f, s30, r), put(sums + 112, f, s31, r);
    sums += 128;
    values += VALUE_TILE;
  }
}

/** As scores4Int8 for one row; computes up to the next 32 keys, the caller drops what is beyond. */
export function scores1Int8(s: usize, a: usize, rowScale: usize, b: usize, keyScales: usize, bytes: usize, tiles: i32): void {
  const tile = bytes << 3, stop = a + (bytes << 1), r = v128.load32_splat(rowScale);
  for (; tiles > 0; tiles -= 4) {
    let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    for (let p = a, at = b; p < stop; p += 4, at += 16) {
      const q = v128.load32_splat(p);
      let codes = v128.load(at);
      s0 = dot(s0, q, i16x8.extend_low_i8x16_s(codes)), s1 = dot(s1, q, i16x8.extend_high_i8x16_s(codes));
      codes = v128.load(at + tile);
      s2 = dot(s2, q, i16x8.extend_low_i8x16_s(codes)), s3 = dot(s3, q, i16x8.extend_high_i8x16_s(codes));
      codes = v128.load(at + 2 * tile);
      s4 = dot(s4, q, i16x8.extend_low_i8x16_s(codes)), s5 = dot(s5, q, i16x8.extend_high_i8x16_s(codes));
      codes = v128.load(at + 3 * tile);
      s6 = dot(s6, q, i16x8.extend_low_i8x16_s(codes)), s7 = dot(s7, q, i16x8.extend_high_i8x16_s(codes));
    }
    const k = keyScales;
    v128.store(s, score(s0, v128.load(k), r)), v128.store(s, score(s1, v128.load(k, 16), r), 16);
    v128.store(s, score(s2, v128.load(k, 32), r), 32), v128.store(s, score(s3, v128.load(k, 48), r), 48);
    v128.store(s, score(s4, v128.load(k, 64), r), 64), v128.store(s, score(s5, v128.load(k, 80), r), 80);
    v128.store(s, score(s6, v128.load(k, 96), r), 96), v128.store(s, score(s7, v128.load(k, 112), r), 112);
    s += 128;
    b += 4 * tile;
    keyScales += 128;
  }
}

/** As mix4Int8 for one row: sums[tile][8]. */
export function mix1Int8(sums: usize, weights: usize, scale: f32, values: usize, factor: f32, count: i32, tiles: i32): void {
  const stop = weights + (<usize> ((count + 1) >> 1) << 2), f = f32x4.splat(factor), r = f32x4.splat(scale);
  for (; tiles > 0; tiles--) {
    let s0 = i32x4.splat(0), s1 = s0;
    for (let w = weights, b = values; w < stop; w += 4, b += 16) {
      const p = v128.load32_splat(w), codes = v128.load(b);
      s0 = dot(s0, p, i16x8.extend_low_i8x16_s(codes)), s1 = dot(s1, p, i16x8.extend_high_i8x16_s(codes));
    }
    put(sums, f, s0, r), put(sums + 16, f, s1, r);
    sums += 32;
    values += VALUE_TILE;
  }
}
