// The register tile of the dense products: 5 rows x 8 columns of out, both operands packed so that step p of the sum
// reads 5 consecutive values of a and 8 of b. Loads are dear where the engine checks bounds in code (Deno: 3-4
// instructions each), so four rows come with one load and are spread by shuffles: 4 loads and 4 shuffles feed 10
// multiply-adds, and 10 accumulators + 2 of b + 2 of a fit the 15 SIMD registers that V8 has on x64. Four steps a
// round: each round costs a check for interrupts. The exit between steps also keeps Binaryen from sinking multiply-adds
// past the next step's loads, after which the accumulators would spill (half the speed).
import { madd } from "./lanes";

/** Rows and columns of the register tile. */
export const TILE_ROWS: i32 = 5;
export const TILE_COLUMNS: i32 = 8;

// @ts-ignore: decorator
@inline
function step(a: v128, b: v128, c: v128, exact: bool): v128 {
  return exact ? f32x4.add(f32x4.mul(a, b), c) : madd(a, b, c);
}

// @ts-ignore: decorator
@inline
function put(out: usize, base: usize, left: v128, right: v128): void {
  v128.store(out, f32x4.add(v128.load(base), left));
  v128.store(out, f32x4.add(v128.load(base, 16), right), 16);
}

// out[r, j] = base[r, j] + sum over p < depth of a[p, r] * b[p, j]; strides in bytes.
// @ts-ignore: decorator
@inline
function tile(
  out: usize, outStride: usize, base: usize, baseStride: usize, a: usize, b: usize, depth: i32, exact: bool,
): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  let c40 = f32x4.splat(0), c41 = f32x4.splat(0);
  const end = a + <usize> depth * 20;
  let b0: v128, b1: v128, rows: v128, v: v128;
  while (a < end) {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    rows = v128.load(a);
    v = v128.shuffle<i32>(rows, rows, 0, 0, 0, 0);
    c00 = step(v, b0, c00, exact);
    c01 = step(v, b1, c01, exact);
    v = v128.shuffle<i32>(rows, rows, 1, 1, 1, 1);
    c10 = step(v, b0, c10, exact);
    c11 = step(v, b1, c11, exact);
    v = v128.shuffle<i32>(rows, rows, 2, 2, 2, 2);
    c20 = step(v, b0, c20, exact);
    c21 = step(v, b1, c21, exact);
    v = v128.shuffle<i32>(rows, rows, 3, 3, 3, 3);
    c30 = step(v, b0, c30, exact);
    c31 = step(v, b1, c31, exact);
    v = v128.load32_splat(a, 16);
    c40 = step(v, b0, c40, exact);
    c41 = step(v, b1, c41, exact);
    a += 20;
    b += 32;
    if (a >= end) break;
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    rows = v128.load(a);
    v = v128.shuffle<i32>(rows, rows, 0, 0, 0, 0);
    c00 = step(v, b0, c00, exact);
    c01 = step(v, b1, c01, exact);
    v = v128.shuffle<i32>(rows, rows, 1, 1, 1, 1);
    c10 = step(v, b0, c10, exact);
    c11 = step(v, b1, c11, exact);
    v = v128.shuffle<i32>(rows, rows, 2, 2, 2, 2);
    c20 = step(v, b0, c20, exact);
    c21 = step(v, b1, c21, exact);
    v = v128.shuffle<i32>(rows, rows, 3, 3, 3, 3);
    c30 = step(v, b0, c30, exact);
    c31 = step(v, b1, c31, exact);
    v = v128.load32_splat(a, 16);
    c40 = step(v, b0, c40, exact);
    c41 = step(v, b1, c41, exact);
    a += 20;
    b += 32;
    if (a >= end) break;
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    rows = v128.load(a);
    v = v128.shuffle<i32>(rows, rows, 0, 0, 0, 0);
    c00 = step(v, b0, c00, exact);
    c01 = step(v, b1, c01, exact);
    v = v128.shuffle<i32>(rows, rows, 1, 1, 1, 1);
    c10 = step(v, b0, c10, exact);
    c11 = step(v, b1, c11, exact);
    v = v128.shuffle<i32>(rows, rows, 2, 2, 2, 2);
    c20 = step(v, b0, c20, exact);
    c21 = step(v, b1, c21, exact);
    v = v128.shuffle<i32>(rows, rows, 3, 3, 3, 3);
    c30 = step(v, b0, c30, exact);
    c31 = step(v, b1, c31, exact);
    v = v128.load32_splat(a, 16);
    c40 = step(v, b0, c40, exact);
    c41 = step(v, b1, c41, exact);
    a += 20;
    b += 32;
    if (a >= end) break;
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    rows = v128.load(a);
    v = v128.shuffle<i32>(rows, rows, 0, 0, 0, 0);
    c00 = step(v, b0, c00, exact);
    c01 = step(v, b1, c01, exact);
    v = v128.shuffle<i32>(rows, rows, 1, 1, 1, 1);
    c10 = step(v, b0, c10, exact);
    c11 = step(v, b1, c11, exact);
    v = v128.shuffle<i32>(rows, rows, 2, 2, 2, 2);
    c20 = step(v, b0, c20, exact);
    c21 = step(v, b1, c21, exact);
    v = v128.shuffle<i32>(rows, rows, 3, 3, 3, 3);
    c30 = step(v, b0, c30, exact);
    c31 = step(v, b1, c31, exact);
    v = v128.load32_splat(a, 16);
    c40 = step(v, b0, c40, exact);
    c41 = step(v, b1, c41, exact);
    a += 20;
    b += 32;
  }
  put(out, base, c00, c01);
  put(out + outStride, base + baseStride, c10, c11);
  put(out + 2 * outStride, base + 2 * baseStride, c20, c21);
  put(out + 3 * outStride, base + 3 * baseStride, c30, c31);
  put(out + 4 * outStride, base + 4 * baseStride, c40, c41);
}

/** The tile with fused multiply-adds where the build has them. */
export function tileFused(
  out: usize, outStride: usize, base: usize, baseStride: usize, a: usize, b: usize, depth: i32,
): void {
  tile(out, outStride, base, baseStride, a, b, depth, false);
}

/** The tile in plain multiplies and adds: the same bits on every build. */
export function tileExact(
  out: usize, outStride: usize, base: usize, baseStride: usize, a: usize, b: usize, depth: i32,
): void {
  tile(out, outStride, base, baseStride, a, b, depth, true);
}
