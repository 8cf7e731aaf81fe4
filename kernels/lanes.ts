// SIMD helpers shared by the kernels.

/** a*b + c. Fused where the relaxed build runs: only for full-precision and training products, whose last bit may differ between machines. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** Sum of the four lanes in a fixed order: (0+2) + (1+3). */
// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  const pair = f32x4.add(v, i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  return f32x4.extract_lane(pair, 0) + f32x4.extract_lane(pair, 1);
}

/** Four floats at p, of which `left` bytes (a multiple of 4) are there; the rest is 0. */
// @ts-ignore: decorator
@inline
export function load4(p: usize, left: usize): v128 {
  return left >= 16 ? v128.load(p) : loadTail(p, left);
}

function loadTail(p: usize, left: usize): v128 {
  let v = v128.load32_zero(p);
  if (left > 4) v = v128.load32_lane(p + 4, v, 1);
  if (left > 8) v = v128.load32_lane(p + 8, v, 2);
  return v;
}

/** Stores as many of four floats as `left` bytes (a multiple of 4) take. */
// @ts-ignore: decorator
@inline
export function store4(p: usize, v: v128, left: usize): void {
  if (left >= 16) v128.store(p, v);
  else storeTail(p, v, left);
}

function storeTail(p: usize, v: v128, left: usize): void {
  v128.store32_lane(p, v, 0);
  if (left > 4) v128.store32_lane(p + 4, v, 1);
  if (left > 8) v128.store32_lane(p + 8, v, 2);
}
