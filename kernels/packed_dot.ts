// Dots of codes and int8 activations over one pair of slabs (32 columns) and one quad of rows, on the layout of
// src/formats/layout.ts. Activations come as 8 words of 4 bytes: two columns of the even slab, two of the odd one.
// Ways Wide and Pairs give i16x8 sums whose even lanes belong to the even slab of rows 0-3 and odd lanes to the odd one;
// way Quads gives i32x4 sums over both slabs. `dot` and `bits` must be literals, so that branches fold.
//
// Masks come from a table in memory and are handed down as locals: V8 builds a literal vector anew at every use inside
// a loop, which halves the speed (README.md), but keeps a loaded one in a register.
import { Dot } from "./packed_args";

const BYTES: usize = memory.data<u64>([
  0x0303030303030303,
  0x0c0c0c0c0c0c0c0c,
  0x0404040404040404,
  0x1010101010101010,
  0x0f0f0f0f0f0f0f0f,
]);

/** The mask of a code's low part: two bits of every byte, or four. */
// @ts-ignore: decorator
@inline
export function lowMask(bits: i32): v128 {
  return v128.load64_splat(BYTES + (bits >= 4 ? 32 : 0));
}

/** Twice as high: bits 2 and 3 of every byte. */
// @ts-ignore: decorator
@inline
export function highMask(): v128 {
  return v128.load64_splat(BYTES, 8);
}

/** Bit 2 of every byte, where a third bit belongs. */
// @ts-ignore: decorator
@inline
export function thirdMask(): v128 {
  return v128.load64_splat(BYTES, 16);
}

/** Bit 4 of every byte, where a third bit times 4 belongs. */
// @ts-ignore: decorator
@inline
export function thirdHighMask(): v128 {
  return v128.load64_splat(BYTES, 24);
}

// @ts-ignore: decorator
@inline
function wide(codes: v128, a: v128): v128 {
  const even = i16x8.mul(i16x8.shr_u(i16x8.shl(codes, 8), 8), i16x8.shr_s(i16x8.shl(a, 8), 8));
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

// Odd words of 2- and 3-bit codes stay where they are, times 4, which saves their shift; the sum is divided at the end.
// @ts-ignore: decorator
@inline
export function unite(dot: Dot, sum: v128, times4: v128): v128 {
  return dot == Dot.Quads ? i32x4.add(sum, i32x4.shr_s(times4, 2)) : i16x8.add(sum, i16x8.shr_s(times4, 2));
}

/** Codes of an even word of 2 or 3 bits: `x` holds it in bits 0 and 1 of every byte, `h` third bits by word. */
// @ts-ignore: decorator
@inline
export function even(bits: i32, word: i32, x: v128, low: v128, h: v128, bit2: v128): v128 {
  const codes = v128.and(x, low);
  return bits == 3 ? v128.or(codes, v128.and(moved(h, 2 - word), bit2)) : codes;
}

/** Codes of an odd word of 2 or 3 bits, times 4: bits 2 and 3 of every byte of `x`. */
// @ts-ignore: decorator
@inline
export function odd(bits: i32, word: i32, x: v128, high: v128, h: v128, bit4: v128): v128 {
  const codes = v128.and(x, high);
  return bits == 3 ? v128.or(codes, v128.and(moved(h, 4 - word), bit4)) : codes;
}

// @ts-ignore: decorator
@inline
function moved(h: v128, left: i32): v128 {
  if (left == 0) return h;
  return left > 0 ? i16x8.shl(h, left) : i16x8.shr_u(h, -left);
}

/** Bytes of a pair's codes of 8 rows. */
// @ts-ignore: decorator
@inline
export function pairBytes(bits: i32): usize {
  return bits == 2 ? 64 : bits == 3 ? 96 : bits == 4 ? 128 : 256;
}

// Unpacking to bytes, for products with many tokens: 8 vectors, each moved by `shift`. One per word; or with `slabs` one per
// four columns of a slab, the even slab's four first, so that a sum of 32 bits never crosses from one slab to the other.

// @ts-ignore: decorator
@inline
function putTwo(out: usize, two: usize, first: v128, second: v128, shift: v128, slabs: bool): void {
  const a = i8x16.add(first, shift), b = i8x16.add(second, shift);
  if (slabs) {
    v128.store(out + 16 * two, v128.shuffle<i16>(a, b, 0, 8, 2, 10, 4, 12, 6, 14));
    v128.store(out + 16 * two, v128.shuffle<i16>(a, b, 1, 9, 3, 11, 5, 13, 7, 15), 64);
  } else {
    v128.store(out + 32 * two, a);
    v128.store(out + 32 * two, b, 16);
  }
}

/** Writes the 8 words of one pair and quad as bytes, code + shift. */
// @ts-ignore: decorator
@inline
export function unpackPair(bits: i32, codes: usize, quad: usize, out: usize, shift: v128, slabs: bool): void {
  const mask = lowMask(bits);
  if (bits == 4) {
    for (let i: usize = 0; i < 4; i++) {
      const x = v128.load(codes + 64 * quad + 16 * i);
      putTwo(out, i, v128.and(x, mask), v128.and(i16x8.shr_u(x, 4), mask), shift, slabs);
    }
    return;
  }
  const four = thirdMask();
  let bit = i32x4.splat(0);
  if (bits == 3) bit = v128.load(codes + 64 + 16 * quad);
  for (let i: usize = 0; i < 2; i++) {
    const x = v128.load(codes + 32 * quad + 16 * i);
    let a = v128.and(x, mask), b = v128.and(i16x8.shr_u(x, 2), mask), c = v128.and(i16x8.shr_u(x, 4), mask), d = v128.and(i16x8.shr_u(x, 6), mask);
    if (bits == 3) {
      // Word w's third bit is bit w of its byte; the second round finds words 4-7 where words 0-3 were.
      a = v128.or(a, v128.and(i16x8.shl(bit, 2), four));
      b = v128.or(b, v128.and(i16x8.shl(bit, 1), four));
      c = v128.or(c, v128.and(bit, four));
      d = v128.or(d, v128.and(i16x8.shr_u(bit, 1), four));
      bit = i16x8.shr_u(bit, 4);
    }
    putTwo(out, 2 * i, a, b, shift, slabs);
    putTwo(out, 2 * i + 1, c, d, shift, slabs);
  }
}
