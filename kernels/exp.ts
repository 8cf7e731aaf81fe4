// Exponential and normal-distribution pieces in plain IEEE operations, so that every engine and CPU gives the same bits.
// exp(x) = 2^n * exp(r), n = nearest(x / ln 2), |r| <= ln 2 / 2, exp(r) = 1 + r + r^2 * P(r): minimax fit of our own,
// relative error below 1e-7 on [-87, 88]; 0 below -87, the value at 88 above; NaN stays NaN.
// The scalar forms run the vector code on one lane, so they are equal lane for lane.

// V8 builds a vector constant anew wherever it is used, in loops too: four instructions each, as against one to load it.
// Read from memory, exp takes 0.6 of the time.
const LIMIT: usize = memory.data<f32>([88, -87, 1, 12582912]);
const LN2: usize = memory.data<f32>([1.4426950408889634, 0.693359375, -2.12194440e-4]);
const P: usize = memory.data<f32>([
  0.0013814467238262296,
  0.008368780836462975,
  0.04166839271783829,
  0.1666651964187622,
  0.4999999403953552,
]);

/** exp of four lanes. */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  const bounded = f32x4.pmin(x, v128.load32_splat(LIMIT)), one = v128.load32_splat(LIMIT, 8);
  // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
  const magic = v128.load32_splat(LIMIT, 12);
  const shifted = f32x4.add(f32x4.mul(bounded, v128.load32_splat(LN2)), magic);
  const n = f32x4.sub(shifted, magic);
  // ln 2 in two parts; the first has 9 bits, so its product with n is exact.
  const r = f32x4.sub(
    f32x4.sub(bounded, f32x4.mul(n, v128.load32_splat(LN2, 4))),
    f32x4.mul(n, v128.load32_splat(LN2, 8)),
  );
  let p = f32x4.add(f32x4.mul(r, v128.load32_splat(P)), v128.load32_splat(P, 4));
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(P, 8));
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(P, 12));
  p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(P, 16));
  const y = f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), one);
  // The bits of 1 are those of the exponent's bias.
  const power = i32x4.add(i32x4.shl(shifted, 23), one);
  return v128.andnot(f32x4.mul(y, power), f32x4.lt(x, v128.load32_splat(LIMIT, 4)));
}

/** exp of one number. */
// @ts-ignore: decorator
@inline
export function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0);
}

/** 1 / (1 + exp(-x)) of four lanes. */
// @ts-ignore: decorator
@inline
export function sigmoid4(x: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(x))));
}

/** exp(-x^2 / 2) of four lanes: the normal density without its factor. */
// @ts-ignore: decorator
@inline
export function bell4(x: v128): v128 {
  return exp4(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5)));
}

/**
 * Phi(-|x|) of four lanes, the lower tail of the normal distribution, given bell = exp(-x^2 / 2):
 * t * Q(t) * bell with t = 1 / (1 + 0.275 |x|) and Q of degree 5, a fit of our own, absolute error below 2e-8 + rounding.
 * erf(x / sqrt 2) = sign(x) * (1 - 2 * tail).
 */
// @ts-ignore: decorator
@inline
export function tail4(x: v128, bell: v128): v128 {
  const one = f32x4.splat(1);
  const t = f32x4.div(one, f32x4.add(one, f32x4.mul(f32x4.abs(x), f32x4.splat(0.2750000059604645))));
  let q = f32x4.add(f32x4.mul(t, f32x4.splat(-0.11485835164785385)), f32x4.splat(0.45199882984161377));
  q = f32x4.add(f32x4.mul(q, t), f32x4.splat(-0.3309935927391052));
  q = f32x4.add(f32x4.mul(q, t), f32x4.splat(0.33393245935440063));
  q = f32x4.add(f32x4.mul(q, t), f32x4.splat(0.042111415416002274));
  q = f32x4.add(f32x4.mul(q, t), f32x4.splat(0.11780926585197449));
  return f32x4.mul(f32x4.mul(q, t), bell);
}

/** x * Phi(x) of four lanes: GELU in its exact (erf) form, absolute error below 3e-7. */
// @ts-ignore: decorator
@inline
export function gelu4(x: v128): v128 {
  const part = f32x4.mul(x, tail4(x, bell4(x)));
  return v128.bitselect(part, f32x4.sub(x, part), f32x4.lt(x, f32x4.splat(0)));
}

/** d/dx of gelu4: Phi(x) + x * phi(x). */
// @ts-ignore: decorator
@inline
export function geluSlope4(x: v128): v128 {
  const bell = bell4(x), tail = tail4(x, bell);
  const phi = v128.bitselect(tail, f32x4.sub(f32x4.splat(1), tail), f32x4.lt(x, f32x4.splat(0)));
  return f32x4.add(phi, f32x4.mul(f32x4.mul(x, bell), f32x4.splat(0.3989422804014327)));
}

/** silu(x) = x * sigmoid(x) of four lanes. */
// @ts-ignore: decorator
@inline
export function silu4(x: v128): v128 {
  return f32x4.mul(x, sigmoid4(x));
}
