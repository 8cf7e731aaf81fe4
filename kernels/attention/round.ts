// Rounding rows to integers with one scale: codes = nearest(x * (most / largest)), ties to even, within [-most, most].
import { load4 } from "../lanes";

/** Largest magnitude of a row below which all its codes are 0, and its inverse may overflow: 2^-100. */
const LEAST: f32 = 7.888609052210118e-31;

/** Four codes as i32. */
// @ts-ignore: decorator
@inline
export function codes4(x: v128, inverse: v128, most: v128): v128 {
  const scaled = f32x4.min(f32x4.max(f32x4.mul(x, inverse), f32x4.neg(most)), most);
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(scaled));
}

/** Largest magnitude of `bytes` / 4 floats. */
export function largestOf(x: usize, bytes: usize): f32 {
  let largest = f32x4.splat(0);
  for (let i: usize = 0; i < bytes; i += 16) largest = f32x4.max(largest, f32x4.abs(load4(x + i, bytes - i)));
  return max(
    max(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1)),
    max(f32x4.extract_lane(largest, 2), f32x4.extract_lane(largest, 3)),
  );
}

/** What a row is multiplied with. */
// @ts-ignore: decorator
@inline
export function inverseOf(largest: f32, most: f32): f32 {
  return largest >= LEAST ? most / largest : 0;
}

/** inverseOf for four rows. */
// @ts-ignore: decorator
@inline
export function inverses(largest: v128, most: v128): v128 {
  return v128.and(f32x4.div(most, largest), f32x4.ge(largest, f32x4.splat(LEAST)));
}
