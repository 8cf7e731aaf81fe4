// The packed product token by token: decode, and 8-bit weights at any number of tokens. Per pair of slabs and row quad:
// acc += sum over lanes of (dot - z A) m, with z, m and the slab sums A in the dot's own lanes, so a group of 16 costs
// four operations. Arithmetic and its order as in src/formats/reference_product.ts.
import { A, BLOCK_CHUNKS, Dot, num, place } from "./packed_args";
import { dot4, dotPair, pairBytes } from "./packed_dot";
import { finish } from "./packed_finish";
import { decodeScales, PAIR_SCALES } from "./packed_scales";

// @ts-ignore: decorator
@inline
function step(dot: Dot, bits: i32, acc: v128, codes: usize, quad: usize, a: usize, sums: usize, scales: usize): v128 {
  const sum = v128.load32_splat(sums);
  if (bits == 8) {
    const low = dot4(dot, codes + 64 * quad, a), high = dot4(dot, codes + 128 + 64 * quad, a);
    const offset = i32x4.dot_i16x8_s(sum, i16x8.splat(128));
    if (dot == Dot.Quads) {
      return i32x4.sub(i32x4.add(acc, i32x4.add(low, i32x4.shl(high, 4))), offset);
    }
    const tall = i32x4.shl(i32x4.extadd_pairwise_i16x8_s(high), 4);
    return i32x4.sub(i32x4.add(acc, i32x4.add(i32x4.extadd_pairwise_i16x8_s(low), tall)), offset);
  }
  const m = v128.load(scales + 16 * quad), z = v128.load(scales + 16 * quad, 32);
  const d = dotPair(dot, bits, codes, quad, a);
  if (dot == Dot.Quads) {
    const centred = i32x4.sub(d, i32x4.dot_i16x8_s(z, sum));
    return i32x4.add(acc, i32x4.mul(centred, v128.and(m, i32x4.splat(0xffff))));
  }
  return i32x4.add(acc, i32x4.dot_i16x8_s(i16x8.sub(d, i16x8.mul(z, sum)), m));
}

// @ts-ignore: decorator
@inline
function chunk(dot: Dot, bits: i32, codes: usize, quad: usize, a: usize, sums: usize, scales: usize): v128 {
  const acc = step(dot, bits, i32x4.splat(0), codes, quad, a, sums, scales);
  const all = step(dot, bits, acc, codes + pairBytes(bits), quad, a + 32, sums + 4, scales + PAIR_SCALES);
  const y = f32x4.convert_i32x4_s(all);
  if (bits != 8) return y;
  const m = v128.and(v128.load(scales + 16 * quad), i32x4.splat(0xffff));
  return f32x4.mul(y, f32x4.convert_i32x4_s(m));
}

// @ts-ignore: decorator
@inline
function vector(dot: Dot, bits: i32, begin: i32, end: i32, scratch: usize): void {
  const chunks = num(A.Chunks), tokens = num(A.Tokens), panelCodes = <usize> num(A.PanelCodes);
  for (let panel = begin; panel < end; panel++) {
    for (let token = 0; token < tokens; token++) {
      let codes = place(A.Codes) + <usize> panel * panelCodes;
      let a = place(A.Activations) + <usize> token * (<usize> chunks << 6);
      let sums = place(A.Sums) + <usize> token * (<usize> chunks << 3);
      let factors = place(A.ActivationScales) + <usize> token * (<usize> chunks << 2);
      let y0 = f32x4.splat(0), y1 = f32x4.splat(0);
      for (let block = 0; block < chunks; block += BLOCK_CHUNKS) {
        const size = min(BLOCK_CHUNKS, chunks - block);
        if (token == 0 || chunks > BLOCK_CHUNKS) decodeScales(panel, 2 * block, 2 * size, scratch);
        let scales = scratch;
        for (const stop = factors + (<usize> size << 2); factors < stop; factors += 4) {
          const factor = v128.load32_splat(factors);
          y0 = f32x4.add(y0, f32x4.mul(chunk(dot, bits, codes, 0, a, sums, scales), factor));
          y1 = f32x4.add(y1, f32x4.mul(chunk(dot, bits, codes, 1, a, sums, scales), factor));
          codes += 2 * pairBytes(bits);
          a += 64;
          sums += 8;
          scales += 2 * PAIR_SCALES;
        }
      }
      finish(panel, token, y0, y1);
    }
  }
}

// @ts-ignore: decorator
@inline
function anyBits(dot: Dot, begin: i32, end: i32, scratch: usize): void {
  const bits = num(A.Bits);
  if (bits == 2) vector(dot, 2, begin, end, scratch);
  else if (bits == 3) vector(dot, 3, begin, end, scratch);
  else if (bits == 4) vector(dot, 4, begin, end, scratch);
  else vector(dot, 8, begin, end, scratch);
}

// Arguments: packed_args.ts. Items: panels.
export function packed_vector(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    const dot: Dot = num(A.Dot);
    if (dot == Dot.Quads) {
      anyBits(Dot.Quads, begin, end, scratch);
      return;
    }
    if (dot == Dot.Pairs) {
      anyBits(Dot.Pairs, begin, end, scratch);
      return;
    }
  }
  anyBits(Dot.Wide, begin, end, scratch);
}
