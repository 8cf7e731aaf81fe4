// The packed product of many tokens. Per panel and block of columns the codes become bytes u = q - z + 15 (0..30, so
// still exact in every dot) once, and tiles of 4 tokens x 8 rows run over them; the 15 is taken back by starting each
// sum at -15 A. Results as in packed_vector.ts, bit for bit. 16-bit sums may wrap on the way, never at the end.
import { A, BLOCK_CHUNKS, BLOCK_PAIRS, Dot, num, place } from "./packed_args";
import { more, pairBytes, unpackPair } from "./packed_dot";
import { finish } from "./packed_finish";
import { decodeScales, PAIR_SCALES } from "./packed_scales";

/** Tokens whose partial sums are kept while a panel's columns go by. */
const TOKENS: i32 = 1024;
/** Scratch: decoded scales, unpacked bytes, partial sums [tokens, 8]. */
const BYTES_AT: usize = <usize> BLOCK_PAIRS * PAIR_SCALES;
const SUMS_AT: usize = BYTES_AT + <usize> BLOCK_PAIRS * 256;

// @ts-ignore: decorator
@inline
function shiftOf(zeros: v128): v128 {
  return i8x16.sub(i8x16.splat(15), v128.or(zeros, i16x8.shl(zeros, 8)));
}

// @ts-ignore: decorator
@inline
function unpackAs(bits: i32, codes: usize, pairs: i32, scratch: usize): void {
  let scales = scratch, out = scratch + BYTES_AT;
  for (let pair = 0; pair < pairs; pair++) {
    unpackPair(bits, codes, 0, out, shiftOf(v128.load(scales, 32)));
    unpackPair(bits, codes, 1, out + 128, shiftOf(v128.load(scales, 48)));
    codes += pairBytes(bits);
    scales += PAIR_SCALES;
    out += 256;
  }
}

function unpack(codes: usize, pairs: i32, scratch: usize): void {
  const bits = num(A.Bits);
  if (bits == 2) unpackAs(2, codes, pairs, scratch);
  else if (bits == 3) unpackAs(3, codes, pairs, scratch);
  else unpackAs(4, codes, pairs, scratch);
}

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

// @ts-ignore: decorator
@inline
function collect(y: usize, acc: v128, factor: v128): void {
  v128.store(y, f32x4.add(v128.load(y), f32x4.mul(f32x4.convert_i32x4_s(acc), factor)));
}

/** One chunk of 4 tokens. `stride` is bytes (= columns) from one token's activations to the next. */
// @ts-ignore: decorator
@inline
function chunk4(dot: Dot, u: usize, scales: usize, a: usize, stride: usize, sums: usize, factors: usize, y: usize): void {
  const b = a + stride, c = b + stride, d = c + stride;
  let a0 = i32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
  for (let pair: usize = 0; pair < 2; pair++) {
    const sum = sums + 4 * pair, next = stride >> 3;
    let p0 = begun(dot, sum), q0 = begun(dot, sum + next), r0 = begun(dot, sum + 2 * next), s0 = begun(dot, sum + 3 * next);
    let p1 = p0, q1 = q0, r1 = r0, s1 = s0;
    const w = u + 256 * pair, at = 32 * pair;
    for (let word: usize = 0; word < 32; word += 8) {
      let w0 = v128.load(w + 4 * word), w1 = v128.load(w + 4 * word, 128);
      let x = v128.load32_splat(a + at + word);
      p0 = more(dot, p0, w0, x);
      p1 = more(dot, p1, w1, x);
      x = v128.load32_splat(b + at + word);
      q0 = more(dot, q0, w0, x);
      q1 = more(dot, q1, w1, x);
      x = v128.load32_splat(c + at + word);
      r0 = more(dot, r0, w0, x);
      r1 = more(dot, r1, w1, x);
      x = v128.load32_splat(d + at + word);
      s0 = more(dot, s0, w0, x);
      s1 = more(dot, s1, w1, x);
      w0 = v128.load(w + 4 * word, 16);
      w1 = v128.load(w + 4 * word, 144);
      x = v128.load32_splat(a + at + word, 4);
      p0 = more(dot, p0, w0, x);
      p1 = more(dot, p1, w1, x);
      x = v128.load32_splat(b + at + word, 4);
      q0 = more(dot, q0, w0, x);
      q1 = more(dot, q1, w1, x);
      x = v128.load32_splat(c + at + word, 4);
      r0 = more(dot, r0, w0, x);
      r1 = more(dot, r1, w1, x);
      x = v128.load32_splat(d + at + word, 4);
      s0 = more(dot, s0, w0, x);
      s1 = more(dot, s1, w1, x);
    }
    const m0 = v128.load(scales + PAIR_SCALES * pair), m1 = v128.load(scales + PAIR_SCALES * pair, 16);
    a0 = scaled(dot, a0, p0, m0);
    a1 = scaled(dot, a1, p1, m1);
    b0 = scaled(dot, b0, q0, m0);
    b1 = scaled(dot, b1, q1, m1);
    c0 = scaled(dot, c0, r0, m0);
    c1 = scaled(dot, c1, r1, m1);
    d0 = scaled(dot, d0, s0, m0);
    d1 = scaled(dot, d1, s1, m1);
  }
  const next = stride >> 4;
  let factor = v128.load32_splat(factors);
  collect(y, a0, factor);
  collect(y + 16, a1, factor);
  factor = v128.load32_splat(factors + next);
  collect(y + 32, b0, factor);
  collect(y + 48, b1, factor);
  factor = v128.load32_splat(factors + 2 * next);
  collect(y + 64, c0, factor);
  collect(y + 80, c1, factor);
  factor = v128.load32_splat(factors + 3 * next);
  collect(y + 96, d0, factor);
  collect(y + 112, d1, factor);
}

/** One chunk of one token. */
// @ts-ignore: decorator
@inline
function chunk1(dot: Dot, u: usize, scales: usize, a: usize, sums: usize, factors: usize, y: usize): void {
  let a0 = i32x4.splat(0), a1 = a0;
  for (let pair: usize = 0; pair < 2; pair++) {
    let p0 = begun(dot, sums + 4 * pair), p1 = p0;
    const w = u + 256 * pair, at = a + 32 * pair;
    for (let word: usize = 0; word < 32; word += 8) {
      let x = v128.load32_splat(at + word);
      p0 = more(dot, p0, v128.load(w + 4 * word), x);
      p1 = more(dot, p1, v128.load(w + 4 * word, 128), x);
      x = v128.load32_splat(at + word, 4);
      p0 = more(dot, p0, v128.load(w + 4 * word, 16), x);
      p1 = more(dot, p1, v128.load(w + 4 * word, 144), x);
    }
    a0 = scaled(dot, a0, p0, v128.load(scales + PAIR_SCALES * pair));
    a1 = scaled(dot, a1, p1, v128.load(scales + PAIR_SCALES * pair, 16));
  }
  const factor = v128.load32_splat(factors);
  collect(y, a0, factor);
  collect(y + 16, a1, factor);
}

// @ts-ignore: decorator
@inline
function matrix(dot: Dot, begin: i32, end: i32, scratch: usize): void {
  const chunks = num(A.Chunks), tokens = num(A.Tokens), stride = <usize> chunks << 6;
  for (let panel = begin; panel < end; panel++) {
    const codes = place(A.Codes) + <usize> panel * <usize> num(A.PanelCodes);
    const pairCodes = <usize> num(A.PanelCodes) / (<usize> chunks << 1);
    for (let base = 0; base < tokens; base += TOKENS) {
      const count = min(TOKENS, tokens - base), partial = scratch + SUMS_AT;
      memory.fill(partial, 0, <usize> count << 5);
      for (let block = 0; block < chunks; block += BLOCK_CHUNKS) {
        const size = min(BLOCK_CHUNKS, chunks - block);
        if (base == 0 || chunks > BLOCK_CHUNKS) {
          decodeScales(panel, 2 * block, 2 * size, scratch);
          unpack(codes + <usize> (2 * block) * pairCodes, 2 * size, scratch);
        }
        for (let token = 0; token < count;) {
          const at = <usize> (base + token) * <usize> chunks + <usize> block;
          let a = place(A.Activations) + (at << 6), sums = place(A.Sums) + (at << 3);
          let factors = place(A.ActivationScales) + (at << 2);
          const y = partial + (<usize> token << 5);
          let u = scratch + BYTES_AT, scales = scratch;
          const many = token + 4 <= count;
          for (const stop = factors + (<usize> size << 2); factors < stop; factors += 4) {
            if (many) chunk4(dot, u, scales, a, stride, sums, factors, y);
            else chunk1(dot, u, scales, a, sums, factors, y);
            u += 512;
            scales += 2 * PAIR_SCALES;
            a += 64;
            sums += 8;
          }
          token += many ? 4 : 1;
        }
      }
      for (let token = 0; token < count; token++) {
        const y = partial + (<usize> token << 5);
        finish(panel, base + token, v128.load(y), v128.load(y, 16));
      }
    }
  }
}

// Functions of their own as in packed_variants.ts. Arguments: packed_args.ts, bits 2, 3 or 4. Items: panels.

function matrix_wide(begin: i32, end: i32, scratch: usize): void {
  matrix(Dot.Wide, begin, end, scratch);
}

function matrix_pairs(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) matrix(Dot.Pairs, begin, end, scratch);
}

function matrix_quads(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) matrix(Dot.Quads, begin, end, scratch);
}

export function packed_matrix(begin: i32, end: i32, scratch: usize): void {
  const dot: Dot = num(A.Dot);
  if (dot == Dot.Quads) matrix_quads(begin, end, scratch);
  else if (dot == Dot.Pairs) matrix_pairs(begin, end, scratch);
  else matrix_wide(begin, end, scratch);
}
