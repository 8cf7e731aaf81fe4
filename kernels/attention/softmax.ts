// Softmax of one row, block by block, with running maximum and sum (Milakov and Gimelshein 2018): after each block
// sum = sum * factor + Σ exp(s - max), and what was accumulated so far is multiplied by factor = exp(old max - max).
import { exp1, exp4 } from "../exp";
import { sumLanes } from "../lanes";

/** Below any score: the running maximum before the first key. */
export const LOWEST: f32 = -3e38;
// @ts-ignore: decorator
@inline
function maxLanes(v: v128): f32 {
  const pair = f32x4.pmax(v, i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  return max(f32x4.extract_lane(pair, 0), f32x4.extract_lane(pair, 1));
}

/** Hides the lanes from `seen` to the end of their vector. */
// @ts-ignore: decorator
@inline
function hide(s: usize, seen: i32): void {
  for (let i = seen; (i & 3) != 0; i++) store<f32>(s + (<usize> i << 2), -Infinity);
}

/**
 * Turns scores s[0, seen) into weights exp(s - max), zeros up to `count`, and updates the row's running maximum and
 * sum. Answers the factor for what the row has accumulated.
 */
export function softmaxBlock(s: usize, seen: i32, count: i32, maximum: usize, sum: usize): f32 {
  const end = s + (<usize> count << 2);
  let p = s;
  let factor: f32 = 1;
  if (seen > 0) {
    hide(s, seen);
    const stop = s + (<usize> ((seen + 3) & ~3) << 2);
    const before = load<f32>(maximum);
    let top = f32x4.splat(before);
    for (; p < stop; p += 16) top = f32x4.pmax(top, v128.load(p));
    const now = maxLanes(top);
    const shift = f32x4.splat(now);
    let total = f32x4.splat(0);
    for (p = s; p < stop; p += 16) {
      const e = exp4(f32x4.sub(v128.load(p), shift));
      v128.store(p, e);
      total = f32x4.add(total, e);
    }
    if (now != before) {
      factor = exp1(before - now);
      store<f32>(maximum, now);
    }
    store<f32>(sum, load<f32>(sum) * factor + sumLanes(total));
  }
  for (; p < end; p += 16) v128.store(p, f32x4.splat(0));
  return factor;
}
