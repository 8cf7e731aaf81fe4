// The packed product of many tokens. Per panel and block of columns the codes become bytes u = q - z + 15 (0..30, so
// still exact in every dot) once, and tiles of 4 tokens x 8 rows run over them; the 15 is taken back by starting each
// sum at -15 A. Results as in packed_vector.ts, bit for bit. 16-bit sums may wrap on the way, never at the end.
import { A, BLOCK_CHUNKS, BLOCK_PAIRS, Dot, num, place } from "./packed_args";
import { pairBytes, unpackPair } from "./packed_dot";
import { finish } from "./packed_finish";
import { decodeScales, PAIR_SCALES } from "./packed_scales";
import { slabs1, slabs4 } from "./packed_slabs";
import { tile1, tile4 } from "./packed_tile";

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
function unpackAs(bits: i32, codes: usize, pairs: i32, scratch: usize, slabs: bool): void {
  let scales = scratch, out = scratch + BYTES_AT;
  for (let pair = 0; pair < pairs; pair++) {
    unpackPair(bits, codes, 0, out, shiftOf(v128.load(scales, 32)), slabs);
    unpackPair(bits, codes, 1, out + 128, shiftOf(v128.load(scales, 48)), slabs);
    codes += pairBytes(bits);
    scales += PAIR_SCALES;
    out += 256;
  }
}

function unpack(codes: usize, pairs: i32, scratch: usize): void {
  const bits = num(A.Bits);
  if (bits == 2) unpackAs(2, codes, pairs, scratch, false);
  else if (bits == 3) unpackAs(3, codes, pairs, scratch, false);
  else unpackAs(4, codes, pairs, scratch, false);
}

function unpackSlabs(codes: usize, pairs: i32, scratch: usize): void {
  const bits = num(A.Bits);
  if (bits == 2) unpackAs(2, codes, pairs, scratch, true);
  else if (bits == 3) unpackAs(3, codes, pairs, scratch, true);
  else unpackAs(4, codes, pairs, scratch, true);
}

// @ts-ignore: decorator
@inline
function matrix(dot: Dot, slabs: bool, begin: i32, end: i32, scratch: usize): void {
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
          const from = codes + <usize> (2 * block) * pairCodes;
          if (slabs) unpackSlabs(from, 2 * size, scratch);
          else unpack(from, 2 * size, scratch);
        }
        for (let token = 0; token < count;) {
          const at = <usize> (base + token) * <usize> chunks + <usize> block;
          const a = place(A.Activations) + (at << 6), sums = place(A.Sums) + (at << 3);
          const factors = place(A.ActivationScales) + (at << 2), y = partial + (<usize> token << 5);
          const u = scratch + BYTES_AT, many = token + 4 <= count;
          if (slabs) {
            if (many) slabs4(u, scratch, a, stride, sums, factors, size, y);
            else slabs1(u, scratch, a, sums, factors, size, y);
          } else if (many) {
            tile4(dot, u, scratch, a, stride, sums, factors, size, y);
          } else {
            tile1(dot, u, scratch, a, sums, factors, size, y);
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
  matrix(Dot.Wide, false, begin, end, scratch);
}

function matrix_pairs(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) matrix(Dot.Pairs, false, begin, end, scratch);
}

function matrix_quads(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) matrix(Dot.Quads, false, begin, end, scratch);
}

function matrix_slabs(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) matrix(Dot.Quads, true, begin, end, scratch);
}

export function packed_matrix(begin: i32, end: i32, scratch: usize): void {
  const dot: Dot = num(A.Dot);
  if (dot == Dot.Quads && num(A.Group) % 32 == 0) matrix_quads(begin, end, scratch);
  else if (dot == Dot.Quads) matrix_slabs(begin, end, scratch);
  else if (dot == Dot.Pairs) matrix_pairs(begin, end, scratch);
  else matrix_wide(begin, end, scratch);
}
