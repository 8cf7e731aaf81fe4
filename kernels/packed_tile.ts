// Tiles of the packed product with many tokens: 4 tokens (or 1) x 8 rows over unpacked codes u = q - z + 15. Activations
// are loaded 16 bytes at a time and spread in registers: V8 checks the bounds of every load in Deno, and a shuffle is
// cheaper than a checked load. Each of the 8 words of a pair ends in an exit, so that Binaryen keeps the order and the
// sums stay in registers. Sums start at -15 A; 16-bit sums may wrap on the way, never at the end.
import { Dot } from "./packed_args";
import { more } from "./packed_dot";
import { PAIR_SCALES } from "./packed_scales";

// @ts-ignore: decorator
@inline
function begun(dot: Dot, sums: usize): v128 {
  const sum = v128.load32_splat(sums);
  if (dot != Dot.Quads) return i16x8.sub(sum, i16x8.shl(sum, 4));
  const total = i32x4.extadd_pairwise_i16x8_s(sum);
  return i32x4.sub(total, i32x4.shl(total, 4));
}

// @ts-ignore: decorator
@inline
function scaled(dot: Dot, acc: v128, d: v128, m: v128): v128 {
  if (dot == Dot.Quads) return i32x4.add(acc, i32x4.mul(d, i32x4.shr_u(m, 16)));
  return i32x4.add(acc, i32x4.dot_i16x8_s(d, m));
}

/** y + sum * factor: the end of a chunk. */
// @ts-ignore: decorator
@inline
export function collect(y: v128, acc: v128, factor: v128): v128 {
  return f32x4.add(y, f32x4.mul(f32x4.convert_i32x4_s(acc), factor));
}

/** A word of four in all lanes. */
// @ts-ignore: decorator
@inline
export function spread(v: v128, word: i32): v128 {
  if (word == 0) return i8x16.shuffle(v, v, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
  if (word == 1) return i8x16.shuffle(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
  if (word == 2) return i8x16.shuffle(v, v, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11);
  return i8x16.shuffle(v, v, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15);
}

/** `size` chunks of 4 tokens. `stride` is bytes (= columns) from one token's activations to the next. */
// @ts-ignore: decorator
@inline
export function tile4(dot: Dot, u: usize, scales: usize, a: usize, stride: usize, sums: usize, factors: usize, size: i32, y: usize): void {
  const b = stride, c = b + stride, d = c + stride, nextSum = stride >> 3, nextFactor = stride >> 4;
  let ya0 = v128.load(y, 0), ya1 = v128.load(y, 16);
  let yb0 = v128.load(y, 32), yb1 = v128.load(y, 48);
  let yc0 = v128.load(y, 64), yc1 = v128.load(y, 80);
  let yd0 = v128.load(y, 96), yd1 = v128.load(y, 112);
  for (const stop = factors + (<usize> size << 2); factors < stop; factors += 4) {
    let a0 = i32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
    for (const half = a + 64; a < half;) {
      let p0 = begun(dot, sums), p1 = p0;
      let q0 = begun(dot, sums + nextSum), q1 = q0;
      let r0 = begun(dot, sums + 2 * nextSum), r1 = r0;
      let s0 = begun(dot, sums + 3 * nextSum), s1 = s0;
      sums += 4;
      const end = u + 128;
      while (true) {
        const ax = v128.load(a), bx = v128.load(a + b), cx = v128.load(a + c), dx = v128.load(a + d);
        let w0 = v128.load(u), w1 = v128.load(u, 128), v = spread(ax, 0);
        p0 = more(dot, p0, w0, v);
        p1 = more(dot, p1, w1, v);
        v = spread(bx, 0);
        q0 = more(dot, q0, w0, v);
        q1 = more(dot, q1, w1, v);
        v = spread(cx, 0);
        r0 = more(dot, r0, w0, v);
        r1 = more(dot, r1, w1, v);
        v = spread(dx, 0);
        s0 = more(dot, s0, w0, v);
        s1 = more(dot, s1, w1, v);
        u += 16;
        if (u == end) break;
        w0 = v128.load(u);
        w1 = v128.load(u, 128);
        v = spread(ax, 1);
        p0 = more(dot, p0, w0, v);
        p1 = more(dot, p1, w1, v);
        v = spread(bx, 1);
        q0 = more(dot, q0, w0, v);
        q1 = more(dot, q1, w1, v);
        v = spread(cx, 1);
        r0 = more(dot, r0, w0, v);
        r1 = more(dot, r1, w1, v);
        v = spread(dx, 1);
        s0 = more(dot, s0, w0, v);
        s1 = more(dot, s1, w1, v);
        u += 16;
        if (u == end) break;
        w0 = v128.load(u);
        w1 = v128.load(u, 128);
        v = spread(ax, 2);
        p0 = more(dot, p0, w0, v);
        p1 = more(dot, p1, w1, v);
        v = spread(bx, 2);
        q0 = more(dot, q0, w0, v);
        q1 = more(dot, q1, w1, v);
        v = spread(cx, 2);
        r0 = more(dot, r0, w0, v);
        r1 = more(dot, r1, w1, v);
        v = spread(dx, 2);
        s0 = more(dot, s0, w0, v);
        s1 = more(dot, s1, w1, v);
        u += 16;
        if (u == end) break;
        w0 = v128.load(u);
        w1 = v128.load(u, 128);
        v = spread(ax, 3);
        p0 = more(dot, p0, w0, v);
        p1 = more(dot, p1, w1, v);
        v = spread(bx, 3);
        q0 = more(dot, q0, w0, v);
        q1 = more(dot, q1, w1, v);
        v = spread(cx, 3);
        r0 = more(dot, r0, w0, v);
        r1 = more(dot, r1, w1, v);
        v = spread(dx, 3);
        s0 = more(dot, s0, w0, v);
        s1 = more(dot, s1, w1, v);
        u += 16;
        a += 16;
        if (u == end) break;
      }
      const m0 = v128.load(scales), m1 = v128.load(scales, 16);
      scales += PAIR_SCALES;
      u += 128;
      a0 = scaled(dot, a0, p0, m0);
      a1 = scaled(dot, a1, p1, m1);
      b0 = scaled(dot, b0, q0, m0);
      b1 = scaled(dot, b1, q1, m1);
      c0 = scaled(dot, c0, r0, m0);
      c1 = scaled(dot, c1, r1, m1);
      d0 = scaled(dot, d0, s0, m0);
      d1 = scaled(dot, d1, s1, m1);
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
export function tile1(dot: Dot, u: usize, scales: usize, a: usize, sums: usize, factors: usize, size: i32, y: usize): void {
  let y0 = v128.load(y), y1 = v128.load(y, 16);
  for (const stop = factors + (<usize> size << 2); factors < stop; factors += 4) {
    let a0 = i32x4.splat(0), a1 = a0;
    for (const half = a + 64; a < half; a += 32) {
      let p0 = begun(dot, sums), p1 = p0;
      for (let word: usize = 0; word < 32; word += 8) {
        let x = v128.load32_splat(a + word);
        p0 = more(dot, p0, v128.load(u + 4 * word), x);
        p1 = more(dot, p1, v128.load(u + 4 * word, 128), x);
        x = v128.load32_splat(a + word, 4);
        p0 = more(dot, p0, v128.load(u + 4 * word, 16), x);
        p1 = more(dot, p1, v128.load(u + 4 * word, 144), x);
      }
      a0 = scaled(dot, a0, p0, v128.load(scales));
      a1 = scaled(dot, a1, p1, v128.load(scales, 16));
      sums += 4;
      scales += PAIR_SCALES;
      u += 256;
    }
    const factor = v128.load32_splat(factors);
    y0 = collect(y0, a0, factor);
    y1 = collect(y1, a1, factor);
  }
  v128.store(y, y0);
  v128.store(y, y1, 16);
}
