// The packed product token by token: decode, and 8-bit weights at any number of tokens. Per pair of slabs and row quad:
// acc += sum over lanes of (dot - z A) m, with z, m and the slab sums A in the dot's own lanes, so a group of 16 costs
// few operations. Arithmetic and its order as in src/formats/reference_product.ts. The usual kinds of scales are decoded
// in registers: memory accesses are dear where the engine checks bounds (Deno).
import { A, BLOCK_CHUNKS, Dot, num, place } from "./packed_args";
import { dot4, dotPair, highMask, lowMask, pairBytes, thirdHighMask, thirdMask } from "./packed_dot";
import { finish } from "./packed_finish";
import {
  decodeScales,
  fourBits,
  interleaveHigh,
  interleaveLow,
  PAIR_SCALES,
  pairBase,
  pairStep,
  scales8,
  twoBits,
  zeros8,
} from "./packed_scales";

/** How a kernel finds scales and zero codes. */
export const enum Kind {
  /** Decoded to scratch first: any groups. */
  Any,
  /** Groups of 16 with a second level. */
  Banded16,
  /** 4 bits, groups of 32 with a second level. */
  Banded32,
  /** 4 bits symmetric, groups of 32. */
  Symmetric32,
  /** Groups of 64, 128 and so on: once per chunk. */
  Chunks,
}

/** m (dot - z A) of one pair and quad, i32x4. */
// @ts-ignore: decorator
@inline
function term(dot: Dot, d: v128, zeros: v128, sum: v128, m: v128): v128 {
  if (dot != Dot.Quads) return i32x4.dot_i16x8_s(i16x8.sub(d, i16x8.mul(zeros, sum)), m);
  return i32x4.mul(i32x4.sub(d, i32x4.dot_i16x8_s(zeros, sum)), i32x4.shr_u(m, 16));
}

/** dot - 128 A of one pair and quad of 8-bit codes, i32x4. */
// @ts-ignore: decorator
@inline
function term8(dot: Dot, codes: usize, quad: usize, a: usize, sum: v128, low: v128): v128 {
  const offset = i32x4.shl(i32x4.extadd_pairwise_i16x8_s(sum), 7);
  const d = dot4(dot, codes + 64 * quad, a, low), tall = dot4(dot, codes + 128 + 64 * quad, a, low);
  if (dot == Dot.Quads) return i32x4.sub(i32x4.add(d, i32x4.shl(tall, 4)), offset);
  const sixteens = i32x4.shl(i32x4.extadd_pairwise_i16x8_s(tall), 4);
  return i32x4.sub(i32x4.add(i32x4.extadd_pairwise_i16x8_s(d), sixteens), offset);
}

// @ts-ignore: decorator
@inline
export function vector(dot: Dot, bits: i32, kind: Kind, begin: i32, end: i32, scratch: usize): void {
  const chunks = num(A.Chunks), tokens = num(A.Tokens), pair = pairBytes(bits);
  const low = lowMask(bits), high = highMask(), bit2 = thirdMask(), bit4 = thirdHighMask();
  const two = twoBits(), four = fourBits();
  for (let panel = begin; panel < end; panel++) {
    for (let token = 0; token < tokens; token++) {
      let codes = place(A.Codes) + <usize> panel * <usize> num(A.PanelCodes);
      let a = place(A.Activations) + <usize> token * (<usize> chunks << 6);
      let sums = place(A.Sums) + <usize> token * (<usize> chunks << 3);
      let factors = place(A.ActivationScales) + <usize> token * (<usize> chunks << 2);
      let scales = place(A.Scales) + <usize> panel * <usize> num(A.PanelScales);
      let zeros = place(A.Zeros) + <usize> panel * <usize> num(A.PanelZeros);
      let second: usize = 0;
      if (kind == Kind.Banded16 || kind == Kind.Banded32) {
        second = place(A.Second) + 4 * <usize> (panel / num(A.Band)) * <usize> num(A.GroupStride);
      }
      let group = -1, left = 0;
      // Scales and zero codes: pair 0 of quads 0 and 1, pair 1 of quads 0 and 1.
      let m0 = i32x4.splat(0), m1 = m0, m2 = m0, m3 = m0, z0 = m0, z1 = m0, z2 = m0, z3 = m0;
      let c = m0, z = m0, y0 = m0, y1 = m0;
      for (let chunk = 0; chunk < chunks; chunk++) {
        if (kind == Kind.Any) {
          const at = chunk & (BLOCK_CHUNKS - 1);
          if (at == 0) {
            decodeScales(panel, 2 * chunk, 2 * min(BLOCK_CHUNKS, chunks - chunk), scratch);
          }
          const decoded = scratch + 2 * PAIR_SCALES * <usize> at;
          m0 = v128.load(decoded);
          m1 = v128.load(decoded, 16);
          z0 = v128.load(decoded, 32);
          z1 = v128.load(decoded, 48);
          m2 = v128.load(decoded, 64);
          m3 = v128.load(decoded, 80);
          z2 = v128.load(decoded, 96);
          z3 = v128.load(decoded, 112);
        } else if (kind == Kind.Banded16) {
          c = v128.load(scales);
          scales += 16;
          const d = i16x8.shr_u(c, 4), lowRows = interleaveLow(c, d), highRows = interleaveHigh(c, d);
          const levels = v128.load64_splat(second), base = pairBase(levels), step = pairStep(levels);
          m0 = i16x8.add(base, i16x8.mul(v128.and(lowRows, four), step));
          m1 = i16x8.add(base, i16x8.mul(v128.and(highRows, four), step));
          const next = v128.load64_splat(second, 8), base2 = pairBase(next), step2 = pairStep(next);
          m2 = i16x8.add(base2, i16x8.mul(v128.and(i16x8.shr_u(lowRows, 8), four), step2));
          m3 = i16x8.add(base2, i16x8.mul(v128.and(i16x8.shr_u(highRows, 8), four), step2));
          second += 16;
          if (bits == 2) {
            let v = v128.load(zeros);
            if ((chunk & 1) != 0) {
              v = i16x8.shr_u(v, 8);
              zeros += 16;
            }
            const w = i16x8.shr_u(v, 2);
            c = interleaveLow(v, w);
            z = interleaveHigh(v, w);
            z0 = v128.and(c, two);
            z1 = v128.and(z, two);
            z2 = v128.and(i16x8.shr_u(c, 4), two);
            z3 = v128.and(i16x8.shr_u(z, 4), two);
          } else {
            const v = v128.load(zeros), w = i16x8.shr_u(v, 4);
            zeros += 16;
            c = interleaveLow(v, w);
            z = interleaveHigh(v, w);
            z0 = v128.and(c, four);
            z1 = v128.and(z, four);
            z2 = v128.and(i16x8.shr_u(c, 8), four);
            z3 = v128.and(i16x8.shr_u(z, 8), four);
          }
        } else if (kind == Kind.Banded32) {
          if ((chunk & 1) == 0) {
            c = v128.load(scales);
            z = v128.load(zeros);
            scales += 16;
            zeros += 16;
          }
          const base = v128.load16_splat(second), step = v128.load16_splat(second, 2);
          const m = i16x8.add(base, i16x8.mul(v128.and(c, four), step));
          const base2 = v128.load16_splat(second, 4), step2 = v128.load16_splat(second, 6);
          const n = i16x8.add(base2, i16x8.mul(v128.and(i16x8.shr_u(c, 4), four), step2));
          const y = v128.and(z, four), x = v128.and(i16x8.shr_u(z, 4), four);
          second += 8;
          c = i16x8.shr_u(c, 8);
          z = i16x8.shr_u(z, 8);
          m0 = interleaveLow(m, m);
          m1 = interleaveHigh(m, m);
          m2 = interleaveLow(n, n);
          m3 = interleaveHigh(n, n);
          z0 = interleaveLow(y, y);
          z1 = interleaveHigh(y, y);
          z2 = interleaveLow(x, x);
          z3 = interleaveHigh(x, x);
        } else if (kind == Kind.Symmetric32) {
          const m = v128.load(scales), n = v128.load(scales, 16);
          scales += 32;
          m0 = interleaveLow(m, m);
          m1 = interleaveHigh(m, m);
          m2 = interleaveLow(n, n);
          m3 = interleaveHigh(n, n);
        } else if (left == 0) {
          left = num(A.Group) >> 6;
          group++;
          const m = scales8(panel, group), y = zeros8(panel, group);
          m0 = interleaveLow(m, m);
          m1 = interleaveHigh(m, m);
          m2 = m0;
          m3 = m1;
          z0 = interleaveLow(y, y);
          z1 = interleaveHigh(y, y);
          z2 = z0;
          z3 = z1;
        }
        left--;
        const sum = v128.load32_splat(sums), sum2 = v128.load32_splat(sums, 4), factor = v128.load32_splat(factors);
        // One quad after the other, down to its sum: the compilers keep this order, and fewer values are alive.
        if (bits == 8) {
          const p = i32x4.add(term8(dot, codes, 0, a, sum, low), term8(dot, codes + 256, 0, a + 32, sum2, low));
          const x = f32x4.mul(f32x4.convert_i32x4_s(p), f32x4.convert_i32x4_s(i32x4.shr_u(m0, 16)));
          y0 = f32x4.add(y0, f32x4.mul(x, factor));
          const q = i32x4.add(term8(dot, codes, 1, a, sum, low), term8(dot, codes + 256, 1, a + 32, sum2, low));
          const y = f32x4.mul(f32x4.convert_i32x4_s(q), f32x4.convert_i32x4_s(i32x4.shr_u(m1, 16)));
          y1 = f32x4.add(y1, f32x4.mul(y, factor));
        } else {
          const p = dotPair(dot, bits, codes, 0, a, low, high, bit2, bit4);
          const r = dotPair(dot, bits, codes + pair, 0, a + 32, low, high, bit2, bit4);
          const x = kind == Kind.Symmetric32
            ? i32x4.add(centred(dot, p, i16x8.shl(sum, 3), m0), centred(dot, r, i16x8.shl(sum2, 3), m2))
            : i32x4.add(term(dot, p, z0, sum, m0), term(dot, r, z2, sum2, m2));
          y0 = f32x4.add(y0, f32x4.mul(f32x4.convert_i32x4_s(x), factor));
          // Never taken: keeps the compilers from moving both quads' loads to the front, which costs 7 % here.
          if ((bits == 4 || kind == Kind.Chunks) && chunk > chunks) break;
          const q = dotPair(dot, bits, codes, 1, a, low, high, bit2, bit4);
          const s = dotPair(dot, bits, codes + pair, 1, a + 32, low, high, bit2, bit4);
          const y = kind == Kind.Symmetric32
            ? i32x4.add(centred(dot, q, i16x8.shl(sum, 3), m1), centred(dot, s, i16x8.shl(sum2, 3), m3))
            : i32x4.add(term(dot, q, z1, sum, m1), term(dot, s, z3, sum2, m3));
          y1 = f32x4.add(y1, f32x4.mul(f32x4.convert_i32x4_s(y), factor));
        }
        codes += 2 * pair;
        a += 64;
        sums += 8;
        factors += 4;
      }
      finish(panel, token, y0, y1);
    }
  }
}

/** As `term`, from z A. */
// @ts-ignore: decorator
@inline
function centred(dot: Dot, d: v128, zeroSum: v128, m: v128): v128 {
  if (dot != Dot.Quads) return i32x4.dot_i16x8_s(i16x8.sub(d, zeroSum), m);
  return i32x4.mul(i32x4.sub(d, i32x4.extadd_pairwise_i16x8_s(zeroSum)), i32x4.shr_u(m, 16));
}
