// Dots of codes and int8 activations over one pair of slabs (32 columns) and one quad of rows, on the layout of
// src/formats/layout.ts. Activations come as 8 words of 4 bytes: two columns of the even slab, two of the odd one.
// Ways Wide and Pairs give i16x8 sums whose even lanes belong to the even slab of rows 0-3 and odd lanes to the odd one;
// way Quads gives i32x4 sums over both slabs. `dot` and `bits` must be literals, so that branches fold.
import { Dot } from "./packed_args";

// @ts-ignore: decorator
@inline
function wide(codes: v128, a: v128): v128 {
  const even = i16x8.mul(v128.and(codes, i16x8.splat(255)), i16x8.shr_s(i16x8.shl(a, 8), 8));
  return i16x8.add(even, i16x8.mul(i16x8.shr_u(codes, 8), i16x8.shr_s(a, 8)));
}

/** Products of a word of activations with one word of codes of 4 rows. */
// @ts-ignore: decorator
@inline
export function start(dot: Dot, codes: v128, a: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (dot == Dot.Quads) return i32x4.relaxed_dot_i8x16_i7x16_add_s(a, codes, i32x4.splat(0));
    if (dot == Dot.Pairs) return i16x8.relaxed_dot_i8x16_i7x16_s(a, codes);
  }
  return wide(codes, a);
}

/** The same, added to a sum. */
// @ts-ignore: decorator
@inline
export function more(dot: Dot, sum: v128, codes: v128, a: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (dot == Dot.Quads) return i32x4.relaxed_dot_i8x16_i7x16_add_s(a, codes, sum);
    if (dot == Dot.Pairs) return i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(a, codes));
  }
  return i16x8.add(sum, wide(codes, a));
}

// @ts-ignore: decorator
@inline
function low2(v: v128): v128 {
  return v128.and(v, i8x16.splat(3));
}

// Odd words stay where they are, times 4, which saves their shift; the sum is divided at the end.
// @ts-ignore: decorator
@inline
function high2(v: v128): v128 {
  return v128.and(v, i8x16.splat(12));
}

// @ts-ignore: decorator
@inline
function unite(dot: Dot, sum: v128, times4: v128): v128 {
  return dot == Dot.Quads ? i32x4.add(sum, i32x4.shr_s(times4, 2)) : i16x8.add(sum, i16x8.shr_s(times4, 2));
}

// @ts-ignore: decorator
@inline
function dot2(dot: Dot, codes: usize, a: usize): v128 {
  const x = v128.load(codes), t = i16x8.shr_u(x, 4);
  let sum = start(dot, low2(x), v128.load32_splat(a));
  let times4 = start(dot, high2(x), v128.load32_splat(a, 4));
  sum = more(dot, sum, low2(t), v128.load32_splat(a, 8));
  times4 = more(dot, times4, high2(t), v128.load32_splat(a, 12));
  const y = v128.load(codes, 16), u = i16x8.shr_u(y, 4);
  sum = more(dot, sum, low2(y), v128.load32_splat(a, 16));
  times4 = more(dot, times4, high2(y), v128.load32_splat(a, 20));
  sum = more(dot, sum, low2(u), v128.load32_splat(a, 24));
  times4 = more(dot, times4, high2(u), v128.load32_splat(a, 28));
  return unite(dot, sum, times4);
}

// @ts-ignore: decorator
@inline
function third(low: v128, bit: v128): v128 {
  return v128.or(low, v128.and(bit, i8x16.splat(4)));
}

// @ts-ignore: decorator
@inline
function third4(low: v128, bit: v128): v128 {
  return v128.or(low, v128.and(bit, i8x16.splat(16)));
}

// @ts-ignore: decorator
@inline
function dot3(dot: Dot, codes: usize, bits: usize, a: usize): v128 {
  const x = v128.load(codes), t = i16x8.shr_u(x, 4), h = v128.load(bits);
  let sum = start(dot, third(low2(x), i16x8.shl(h, 2)), v128.load32_splat(a));
  let times4 = start(dot, third4(high2(x), i16x8.shl(h, 3)), v128.load32_splat(a, 4));
  sum = more(dot, sum, third(low2(t), h), v128.load32_splat(a, 8));
  times4 = more(dot, times4, third4(high2(t), i16x8.shl(h, 1)), v128.load32_splat(a, 12));
  const y = v128.load(codes, 16), u = i16x8.shr_u(y, 4);
  sum = more(dot, sum, third(low2(y), i16x8.shr_u(h, 2)), v128.load32_splat(a, 16));
  times4 = more(dot, times4, third4(high2(y), i16x8.shr_u(h, 1)), v128.load32_splat(a, 20));
  sum = more(dot, sum, third(low2(u), i16x8.shr_u(h, 4)), v128.load32_splat(a, 24));
  times4 = more(dot, times4, third4(high2(u), i16x8.shr_u(h, 3)), v128.load32_splat(a, 28));
  return unite(dot, sum, times4);
}

// @ts-ignore: decorator
@inline
function low4(v: v128): v128 {
  return v128.and(v, i8x16.splat(15));
}

// @ts-ignore: decorator
@inline
function high4(v: v128): v128 {
  return v128.and(i16x8.shr_u(v, 4), i8x16.splat(15));
}

/** The dot of 4-bit codes, also of one half of 8-bit codes. */
// @ts-ignore: decorator
@inline
export function dot4(dot: Dot, codes: usize, a: usize): v128 {
  const x = v128.load(codes);
  let even = start(dot, low4(x), v128.load32_splat(a));
  let odd = start(dot, high4(x), v128.load32_splat(a, 4));
  const y = v128.load(codes, 16);
  even = more(dot, even, low4(y), v128.load32_splat(a, 8));
  odd = more(dot, odd, high4(y), v128.load32_splat(a, 12));
  const z = v128.load(codes, 32);
  even = more(dot, even, low4(z), v128.load32_splat(a, 16));
  odd = more(dot, odd, high4(z), v128.load32_splat(a, 20));
  const w = v128.load(codes, 48);
  even = more(dot, even, low4(w), v128.load32_splat(a, 24));
  odd = more(dot, odd, high4(w), v128.load32_splat(a, 28));
  return dot == Dot.Quads ? i32x4.add(even, odd) : i16x8.add(even, odd);
}

/** The dot of one pair of slabs and quad (0 or 1) of 2-, 3- or 4-bit codes; `codes` is where the pair starts. */
// @ts-ignore: decorator
@inline
export function dotPair(dot: Dot, bits: i32, codes: usize, quad: usize, a: usize): v128 {
  if (bits == 2) return dot2(dot, codes + 32 * quad, a);
  if (bits == 3) return dot3(dot, codes + 32 * quad, codes + 64 + 16 * quad, a);
  return dot4(dot, codes + 64 * quad, a);
}

/** Bytes of a pair's codes of 8 rows. */
// @ts-ignore: decorator
@inline
export function pairBytes(bits: i32): usize {
  return bits == 2 ? 64 : bits == 3 ? 96 : bits == 4 ? 128 : 256;
}

// Unpacking to bytes, for products with many tokens: 8 vectors, one per word, each moved by `shift`.

// @ts-ignore: decorator
@inline
function put(out: usize, word: usize, codes: v128, shift: v128): void {
  v128.store(out + 16 * word, i8x16.add(codes, shift));
}

/** Writes the 8 words of one pair and quad as bytes, code + shift. */
// @ts-ignore: decorator
@inline
export function unpackPair(bits: i32, codes: usize, quad: usize, out: usize, shift: v128): void {
  if (bits == 4) {
    for (let i: usize = 0; i < 4; i++) {
      const x = v128.load(codes + 64 * quad + 16 * i);
      put(out, 2 * i, low4(x), shift);
      put(out, 2 * i + 1, high4(x), shift);
    }
    return;
  }
  const four = i8x16.splat(4);
  let bit = i32x4.splat(0);
  if (bits == 3) bit = v128.load(codes + 64 + 16 * quad);
  for (let i: usize = 0; i < 2; i++) {
    const x = v128.load(codes + 32 * quad + 16 * i);
    let a = low2(x), b = low2(i16x8.shr_u(x, 2)), c = low2(i16x8.shr_u(x, 4)), d = low2(i16x8.shr_u(x, 6));
    if (bits == 3) {
      // Word w's third bit is bit w of its byte; the second round finds words 4-7 where words 0-3 were.
      a = v128.or(a, v128.and(i16x8.shl(bit, 2), four));
      b = v128.or(b, v128.and(i16x8.shl(bit, 1), four));
      c = v128.or(c, v128.and(bit, four));
      d = v128.or(d, v128.and(i16x8.shr_u(bit, 1), four));
      bit = i16x8.shr_u(bit, 4);
    }
    put(out, 4 * i, a, shift);
    put(out, 4 * i + 1, b, shift);
    put(out, 4 * i + 2, c, shift);
    put(out, 4 * i + 3, d, shift);
  }
}
