// Softmax of one row, block by block, with running maximum and sum (Milakov and Gimelshein 2018): after each block
// sum = sum * factor + Σ exp(s - max), and what was accumulated so far is multiplied by factor = exp(old max - max).
import { exp1, exp4 } from "../exp";
import { sumLanes } from "../lanes";
import { even, odd, pick, SCORE_ROW } from "./pack";
import { lane0, lane1, lane2, lane3 } from "./tiles";

/** Below any score: the running maximum before the first key. */
export const LOWEST: f32 = -3e38;
// @ts-ignore: decorator
@inline
function maxLanes(v: v128): f32 {
  const pair = f32x4.pmax(v, i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  return max(f32x4.extract_lane(pair, 0), f32x4.extract_lane(pair, 1));
}

/** Hides scores [seen, count) of a row; lanes up to the end of the last pair of vectors count too. */
// @ts-ignore: decorator
@inline
function hide(s: usize, seen: i32, count: i32): void {
  const end = s + (<usize> ((count + 7) & ~7) << 2);
  let p = s + (<usize> max(0, seen) << 2);
  for (; p < end && (p & 15) != 0; p += 4) store<f32>(p, -Infinity);
  for (; p < end; p += 16) v128.store(p, f32x4.splat(-Infinity));
}

/** s = exp(s - shift) up to `end`, two vectors at a time; answers the sums by lane, even and odd vectors together. */
// @ts-ignore: decorator
@inline
function expRow(s: usize, end: usize, shift: v128): v128 {
  let total = f32x4.splat(0);
  for (; s < end; s += 32) {
    const a = exp4(f32x4.sub(v128.load(s), shift)), b = exp4(f32x4.sub(v128.load(s, 16), shift));
    v128.store(s, a);
    v128.store(s, b, 16);
    total = f32x4.add(total, f32x4.add(a, b));
  }
  return total;
}

/**
 * Turns the scores s[row][0, count) of one row into weights exp(s - max), zero where hidden, and updates the row's
 * running maximum and sum. Answers the factor for what the row has accumulated.
 */
export function softmaxRow(s: usize, count: i32, maximum: usize, sum: usize): f32 {
  hide(s, count, count);
  const end = s + (<usize> ((count + 7) & ~7) << 2);
  const before = load<f32>(maximum);
  let top = f32x4.splat(before);
  for (let p = s; p < end; p += 32) top = f32x4.pmax(top, f32x4.pmax(v128.load(p), v128.load(p, 16)));
  const now = maxLanes(top);
  const total = expRow(s, end, f32x4.splat(now));
  const factor = exp1(before - now);
  store<f32>(maximum, now);
  store<f32>(sum, load<f32>(sum) * factor + sumLanes(total));
  return factor;
}

/** As expRow, times what belongs to the keys; answers the sums without that, and stores the largest by lane. */
// @ts-ignore: decorator
@inline
function expRowTimes(s: usize, end: usize, shift: v128, times: usize, largest: usize): v128 {
  let total = f32x4.splat(0), top = total;
  for (; s < end; s += 32, times += 32) {
    const a = exp4(f32x4.sub(v128.load(s), shift)), b = exp4(f32x4.sub(v128.load(s, 16), shift));
    total = f32x4.add(total, f32x4.add(a, b));
    const x = f32x4.mul(a, v128.load(times)), y = f32x4.mul(b, v128.load(times, 16));
    v128.store(s, x);
    v128.store(s, y, 16);
    top = f32x4.max(top, f32x4.max(x, y));
  }
  v128.store(largest, top);
  return total;
}

/** Largest of four rows so far, that of their scores included, after hiding what they do not see. */
// @ts-ignore: decorator
@inline
function maximaFour(s: usize, end: usize, seen0: i32, seen1: i32, seen2: i32, seen3: i32, count: i32, before: v128): v128 {
  hide(s, seen0, count);
  hide(s + SCORE_ROW, seen1, count);
  hide(s + 2 * SCORE_ROW, seen2, count);
  hide(s + 3 * SCORE_ROW, seen3, count);
  let a = v128.load(s), b = v128.load(s, SCORE_ROW);
  let c = v128.load(s, 2 * SCORE_ROW), d = v128.load(s, 3 * SCORE_ROW);
  for (let p = s + 16; p < end; p += 16) {
    a = f32x4.pmax(a, v128.load(p));
    b = f32x4.pmax(b, v128.load(p, SCORE_ROW));
    c = f32x4.pmax(c, v128.load(p, 2 * SCORE_ROW));
    d = f32x4.pmax(d, v128.load(p, 3 * SCORE_ROW));
  }
  return f32x4.pmax(before, acrossMax(a, b, c, d));
}

/** As softmaxRow for four rows, of which each sees its own number of keys; same bits. Maxima, sums, factors: 4 floats. */
export function softmaxFour(
  s: usize,
  seen0: i32,
  seen1: i32,
  seen2: i32,
  seen3: i32,
  count: i32,
  maxima: usize,
  sums: usize,
  factors: usize,
): void {
  const end = s + (<usize> ((count + 7) & ~7) << 2), before = v128.load(maxima);
  const now = maximaFour(s, end, seen0, seen1, seen2, seen3, count, before);
  v128.store(maxima, now);
  const factor = exp4(f32x4.sub(before, now));
  v128.store(factors, factor);
  const a = expRow(s, end, f32x4.splat(f32x4.extract_lane(now, 0)));
  const b = expRow(s + SCORE_ROW, end + SCORE_ROW, f32x4.splat(f32x4.extract_lane(now, 1)));
  const c = expRow(s + 2 * SCORE_ROW, end + 2 * SCORE_ROW, f32x4.splat(f32x4.extract_lane(now, 2)));
  const d = expRow(s + 3 * SCORE_ROW, end + 3 * SCORE_ROW, f32x4.splat(f32x4.extract_lane(now, 3)));
  v128.store(sums, f32x4.add(f32x4.mul(v128.load(sums), factor), acrossSum(a, b, c, d)));
}

/** As softmaxFour; what is left in s is multiplied with times[key], and the largest of each row stored (64 bytes). */
export function softmaxFourTimes(
  s: usize,
  seen0: i32,
  seen1: i32,
  seen2: i32,
  seen3: i32,
  count: i32,
  maxima: usize,
  sums: usize,
  factors: usize,
  times: usize,
  largest: usize,
): void {
  const end = s + (<usize> ((count + 7) & ~7) << 2), before = v128.load(maxima);
  const now = maximaFour(s, end, seen0, seen1, seen2, seen3, count, before);
  v128.store(maxima, now);
  const factor = exp4(f32x4.sub(before, now));
  v128.store(factors, factor);
  const a = expRowTimes(s, end, lane0(now), times, largest);
  const b = expRowTimes(s + SCORE_ROW, end + SCORE_ROW, lane1(now), times, largest + 16);
  const c = expRowTimes(s + 2 * SCORE_ROW, end + 2 * SCORE_ROW, lane2(now), times, largest + 32);
  const d = expRowTimes(s + 3 * SCORE_ROW, end + 3 * SCORE_ROW, lane3(now), times, largest + 48);
  v128.store(sums, f32x4.add(f32x4.mul(v128.load(sums), factor), acrossSum(a, b, c, d)));
  const top = acrossMax(v128.load(largest), v128.load(largest, 16), v128.load(largest, 32), v128.load(largest, 48));
  v128.store(largest, top);
}

// Lane r of these is the result over the four lanes of operand r, in the order of sumLanes: (0 + 2) + (1 + 3).
// @ts-ignore: decorator
@inline
function acrossSum(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(pick(a, b, false), pick(a, b, true));
  const cd = f32x4.add(pick(c, d, false), pick(c, d, true));
  return f32x4.add(even(ab, cd), odd(ab, cd));
}

// @ts-ignore: decorator
@inline
function acrossMax(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.pmax(pick(a, b, false), pick(a, b, true));
  const cd = f32x4.pmax(pick(c, d, false), pick(c, d, true));
  return f32x4.pmax(even(ab, cd), odd(ab, cd));
}
