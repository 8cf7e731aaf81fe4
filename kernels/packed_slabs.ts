// Tiles of packed_tile.ts for groups of 16 columns and dots to 32 bits, which add four columns: codes lie slab by slab (see
// unpackPair), and the bytes of activations that belong to a slab are picked while they are spread. With slab `s` of a pair
// a word of activations holds two of its columns in bytes 2s and 2s + 1, so four of them come from two words.
import { Dot } from "./packed_args";
import { more } from "./packed_dot";
import { PAIR_SCALES } from "./packed_scales";
import { collect } from "./packed_tile";

// Two rows of places per slab: of its first four columns in 16 bytes of activations, and of its second four.
const PLACES: usize = memory.data<u64>([
  0x0504010005040100,
  0x0504010005040100,
  0x0d0c09080d0c0908,
  0x0d0c09080d0c0908,
  0x0706030207060302,
  0x0706030207060302,
  0x0f0e0b0a0f0e0b0a,
  0x0f0e0b0a0f0e0b0a,
]);

// @ts-ignore: decorator
@inline
function pick(v: v128, places: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? i8x16.relaxed_swizzle(v, places) : i8x16.swizzle(v, places);
}

// A slab's -15 A; its sum lies in the even or the odd lane.
// @ts-ignore: decorator
@inline
function begun(sums: usize): v128 {
  return i32x4.mul(i32x4.splat(<i32> load<i16>(sums)), i32x4.splat(-15));
}

// Scales m of a slab, from (even slab, odd slab) of four rows.
// @ts-ignore: decorator
@inline
function scaleOf(m: v128, left: i32): v128 {
  return i32x4.shr_u(i32x4.shl(m, left), 16);
}

// @ts-ignore: decorator
@inline
function scaled(acc: v128, d: v128, m: v128): v128 {
  return i32x4.add(acc, i32x4.mul(d, m));
}

/** `size` chunks of 4 tokens. `stride` is bytes (= columns) from one token's activations to the next. */
// @ts-ignore: decorator
@inline
export function slabs4(u: usize, scales: usize, a: usize, stride: usize, sums: usize, factors: usize, size: i32, y: usize): void {
  const b = stride, c = b + stride, d = c + stride, nextSum = stride >> 3, nextFactor = stride >> 4;
  let ya0 = v128.load(y, 0), ya1 = v128.load(y, 16);
  let yb0 = v128.load(y, 32), yb1 = v128.load(y, 48);
  let yc0 = v128.load(y, 64), yc1 = v128.load(y, 80);
  let yd0 = v128.load(y, 96), yd1 = v128.load(y, 112);
  for (const stop = factors + (<usize> size << 2); factors < stop; factors += 4) {
    let a0 = i32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
    for (const half = a + 64; a < half; a += 32) {
      for (let slab: usize = 0; slab < 2; slab++) {
        const low = v128.load(PLACES + 32 * slab), high = v128.load(PLACES + 32 * slab, 16);
        let p0 = begun(sums), p1 = p0;
        let q0 = begun(sums + nextSum), q1 = q0;
        let r0 = begun(sums + 2 * nextSum), r1 = r0;
        let s0 = begun(sums + 3 * nextSum), s1 = s0;
        let from = a;
        const end = u + 64;
        while (true) {
          const ax = v128.load(from), bx = v128.load(from + b), cx = v128.load(from + c), dx = v128.load(from + d);
          let w0 = v128.load(u), w1 = v128.load(u, 128), v = pick(ax, low);
          p0 = more(Dot.Quads, p0, w0, v);
          p1 = more(Dot.Quads, p1, w1, v);
          v = pick(bx, low);
          q0 = more(Dot.Quads, q0, w0, v);
          q1 = more(Dot.Quads, q1, w1, v);
          v = pick(cx, low);
          r0 = more(Dot.Quads, r0, w0, v);
          r1 = more(Dot.Quads, r1, w1, v);
          v = pick(dx, low);
          s0 = more(Dot.Quads, s0, w0, v);
          s1 = more(Dot.Quads, s1, w1, v);
          u += 16;
          if (u == end) break;
          w0 = v128.load(u);
          w1 = v128.load(u, 128);
          v = pick(ax, high);
          p0 = more(Dot.Quads, p0, w0, v);
          p1 = more(Dot.Quads, p1, w1, v);
          v = pick(bx, high);
          q0 = more(Dot.Quads, q0, w0, v);
          q1 = more(Dot.Quads, q1, w1, v);
          v = pick(cx, high);
          r0 = more(Dot.Quads, r0, w0, v);
          r1 = more(Dot.Quads, r1, w1, v);
          v = pick(dx, high);
          s0 = more(Dot.Quads, s0, w0, v);
          s1 = more(Dot.Quads, s1, w1, v);
          u += 16;
          from += 16;
          if (u == end) break;
        }
        const left: i32 = slab == 0 ? 16 : 0;
        const m0 = scaleOf(v128.load(scales), left), m1 = scaleOf(v128.load(scales, 16), left);
        sums += 2;
        a0 = scaled(a0, p0, m0);
        a1 = scaled(a1, p1, m1);
        b0 = scaled(b0, q0, m0);
        b1 = scaled(b1, q1, m1);
        c0 = scaled(c0, r0, m0);
        c1 = scaled(c1, r1, m1);
        d0 = scaled(d0, s0, m0);
        d1 = scaled(d1, s1, m1);
      }
      scales += PAIR_SCALES;
      u += 128;
    }
    let factor = v128.load32_splat(factors);
    ya0 = collect(ya0, a0, factor);
    ya1 = collect(ya1, a1, factor);
    factor = v128.load32_splat(factors + nextFactor);
    yb0 = collect(yb0, b0, factor);
    yb1 = collect(yb1, b1, factor);
    factor = v128.load32_splat(factors + 2 * nextFactor);
    yc0 = collect(yc0, c0, factor);
    yc1 = collect(yc1, c1, factor);
    factor = v128.load32_splat(factors + 3 * nextFactor);
    yd0 = collect(yd0, d0, factor);
    yd1 = collect(yd1, d1, factor);
  }
  v128.store(y, ya0, 0);
  v128.store(y, ya1, 16);
  v128.store(y, yb0, 32);
  v128.store(y, yb1, 48);
  v128.store(y, yc0, 64);
  v128.store(y, yc1, 80);
  v128.store(y, yd0, 96);
  v128.store(y, yd1, 112);
}

/** `size` chunks of one token. */
// @ts-ignore: decorator
@inline
export function slabs1(u: usize, scales: usize, a: usize, sums: usize, factors: usize, size: i32, y: usize): void {
  let y0 = v128.load(y), y1 = v128.load(y, 16);
  for (const stop = factors + (<usize> size << 2); factors < stop; factors += 4) {
    let a0 = i32x4.splat(0), a1 = a0;
    for (const half = a + 64; a < half; a += 32) {
      for (let slab: usize = 0; slab < 2; slab++) {
        let p0 = begun(sums), p1 = p0;
        for (let i: usize = 0; i < 4; i++) {
          const x = pick(v128.load(a + 16 * (i >> 1)), v128.load(PLACES + 32 * slab + 16 * (i & 1)));
          p0 = more(Dot.Quads, p0, v128.load(u), x);
          p1 = more(Dot.Quads, p1, v128.load(u, 128), x);
          u += 16;
        }
        const left: i32 = slab == 0 ? 16 : 0;
        a0 = scaled(a0, p0, scaleOf(v128.load(scales), left));
        a1 = scaled(a1, p1, scaleOf(v128.load(scales, 16), left));
        sums += 2;
      }
      scales += PAIR_SCALES;
      u += 128;
    }
    const factor = v128.load32_splat(factors);
    y0 = collect(y0, a0, factor);
    y1 = collect(y1, a1, factor);
  }
  v128.store(y, y0);
  v128.store(y, y1, 16);
}
