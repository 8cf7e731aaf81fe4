// The packed product token by token, for decode: 2- and 3-bit codes (4: packed_vector4.ts). Per pair of slabs and row quad
// acc += sum over lanes of (dot - z A) m, with z, m and the slab sums A in the dot's own lanes, so that groups of 16 cost
// few operations. Arithmetic and its order as in src/formats/reference_product.ts. Both quads of a panel go through the 8
// words of a pair together, so that a word of activations is spread once, and scales are decoded after the dots they
// belong to. That order is the speed (README.md): a fence, which uses the values of a step, ends each step, as Binaryen
// would gather the sums at their last use and V8 run out of registers.
import { A, BLOCK_CHUNKS, Dot, num, place } from "./packed_args";
import { even, highMask, lowMask, more, odd, pairBytes, start, thirdHighMask, thirdMask, unite } from "./packed_dot";
import { finish } from "./packed_finish";
import {
  baseAndStep,
  decodeScales,
  fourBits,
  interleaveHigh,
  interleaveLow,
  Kind,
  PAIR_SCALES,
  term,
  twoBits,
} from "./packed_scales";
import { spread } from "./packed_tile";

// @ts-ignore: decorator
@inline
export function vector(dot: Dot, bits: i32, kind: Kind, begin: i32, end: i32, scratch: usize): void {
  const chunks = num(A.Chunks), tokens = num(A.Tokens), pair = pairBytes(bits);
  const low = lowMask(bits), high = highMask(), bit2 = thirdMask(), bit4 = thirdHighMask();
  const two = twoBits(), four = fourBits();
  // The fences' condition. Tested here, so that V8 knows it and drops every fence; Binaryen does not and keeps the order.
  const never = tokens < 0;
  if (never) return;
  for (let panel = begin; panel < end; panel++) {
    for (let token = 0; token < tokens; token++) {
      let codes = place(A.Codes) + <usize> panel * <usize> num(A.PanelCodes);
      let a = place(A.Activations) + <usize> token * (<usize> chunks << 6);
      let sums = place(A.Sums) + <usize> token * (<usize> chunks << 3);
      let factors = place(A.ActivationScales) + <usize> token * (<usize> chunks << 2);
      let scales = place(A.Scales) + <usize> panel * <usize> num(A.PanelScales);
      let zeros = place(A.Zeros) + <usize> panel * <usize> num(A.PanelZeros);
      let second: usize = 0, decoded = scratch, left = 0, group = 0;
      const banded = num(A.Band) != 0;
      if (banded) second = place(A.Second) + 4 * <usize> (panel / num(A.Band)) * <usize> num(A.GroupStride);
      let y0 = i32x4.splat(0), y1 = y0, c = y0, z = y0, m0 = y0, m1 = y0, z0 = y0, z1 = y0;
      for (let chunk = 0; chunk < chunks; chunk++) {
        if (kind == Kind.Any && (chunk & (BLOCK_CHUNKS - 1)) == 0) {
          decodeScales(panel, 2 * chunk, 2 * min(BLOCK_CHUNKS, chunks - chunk), scratch);
          decoded = scratch;
        }
        // Activations, codes of quads 0 and 1, a word of activations in all lanes, third bits, dots of both quads.
        let v = y0, x = y0, w = y0, s = y0, h = y0, g = y0, p = y0, q = y0, p4 = y0, q4 = y0;
        if (bits == 3) {
          h = v128.load(codes, 64);
          g = v128.load(codes, 80);
        }
        v = v128.load(a);
        x = v128.load(codes);
        w = v128.load(codes, 32);
        s = spread(v, 0);
        p = start(dot, even(bits, 0, x, low, h, bit2), s);
        q = start(dot, even(bits, 0, w, low, g, bit2), s);
        if (never) { y0 = v128.or(p, q); break; }
        s = spread(v, 1);
        p4 = start(dot, odd(bits, 1, x, high, h, bit4), s);
        q4 = start(dot, odd(bits, 1, w, high, g, bit4), s);
        if (never) { y0 = v128.or(p4, q4); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 2);
        p = more(dot, p, even(bits, 2, x, low, h, bit2), s);
        q = more(dot, q, even(bits, 2, w, low, g, bit2), s);
        if (never) { y0 = v128.or(p, q); break; }
        s = spread(v, 3);
        p4 = more(dot, p4, odd(bits, 3, x, high, h, bit4), s);
        q4 = more(dot, q4, odd(bits, 3, w, high, g, bit4), s);
        if (never) { y0 = v128.or(p4, q4); break; }
        v = v128.load(a, 16);
        x = v128.load(codes, 16);
        w = v128.load(codes, 48);
        s = spread(v, 0);
        p = more(dot, p, even(bits, 4, x, low, h, bit2), s);
        q = more(dot, q, even(bits, 4, w, low, g, bit2), s);
        if (never) { y0 = v128.or(p, q); break; }
        s = spread(v, 1);
        p4 = more(dot, p4, odd(bits, 5, x, high, h, bit4), s);
        q4 = more(dot, q4, odd(bits, 5, w, high, g, bit4), s);
        if (never) { y0 = v128.or(p4, q4); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 2);
        p = more(dot, p, even(bits, 6, x, low, h, bit2), s);
        q = more(dot, q, even(bits, 6, w, low, g, bit2), s);
        if (never) { y0 = v128.or(p, q); break; }
        s = spread(v, 3);
        p4 = more(dot, p4, odd(bits, 7, x, high, h, bit4), s);
        q4 = more(dot, q4, odd(bits, 7, w, high, g, bit4), s);
        if (never) { y0 = v128.or(p4, q4); break; }
        p = unite(dot, p, p4);
        q = unite(dot, q, q4);
        if (never) { y0 = v128.or(p, q); break; }
        const sum = v128.load64_splat(sums);
        let l = y0, r0 = y0, r1 = y0, e0 = p, e1 = q;
        if (kind == Kind.Any) {
          m0 = v128.load(decoded);
          m1 = v128.load(decoded, 16);
          z0 = v128.load(decoded, 32);
          z1 = v128.load(decoded, 48);
        } else if (kind == Kind.Banded16) {
          c = v128.load(scales);
          scales += 16;
          l = baseAndStep(v128.load(second));
          second += 16;
          if (bits == 3 || (chunk & 1) == 0) {
            z = v128.load(zeros);
            zeros += 16;
          } else {
            z = i16x8.shr_u(z, 8);
          }
          s = i16x8.shr_u(c, 4);
          r0 = interleaveLow(c, s);
          r1 = interleaveHigh(c, s);
          m0 = i16x8.add(spread(l, 0), i16x8.mul(v128.and(r0, four), spread(l, 1)));
          m1 = i16x8.add(spread(l, 0), i16x8.mul(v128.and(r1, four), spread(l, 1)));
          s = i16x8.shr_u(z, bits == 2 ? 2 : 4);
          z0 = v128.and(interleaveLow(z, s), bits == 2 ? two : four);
          z1 = v128.and(interleaveHigh(z, s), bits == 2 ? two : four);
        } else if (kind == Kind.Banded32) {
          if ((chunk & 1) == 0) {
            c = v128.load(scales);
            scales += 16;
          }
          if ((chunk & (bits == 2 ? 3 : 1)) == 0) {
            z = v128.load(zeros);
            zeros += 16;
          }
          const m = i16x8.add(v128.load16_splat(second), i16x8.mul(v128.and(c, four), v128.load16_splat(second, 2)));
          m0 = interleaveLow(m, m);
          m1 = interleaveHigh(m, m);
          s = v128.and(z, bits == 2 ? two : four);
          z0 = interleaveLow(s, s);
          z1 = interleaveHigh(s, s);
        } else if (kind == Kind.Chunks && left == 0) {
          left = num(A.Group) >> 6;
          if (!banded || (group & 3) == 0) {
            c = v128.load(scales);
            scales += 16;
          } else {
            c = i16x8.shr_u(c, 4);
          }
          let m = c;
          if (banded) m = i16x8.add(v128.load16_splat(second), i16x8.mul(v128.and(c, four), v128.load16_splat(second, 2)));
          second += 4;
          m0 = interleaveLow(m, m);
          m1 = interleaveHigh(m, m);
          if ((group & (bits == 2 ? 7 : 3)) == 0) {
            z = v128.load(zeros);
            zeros += 16;
          } else {
            z = i16x8.shr_u(z, bits == 2 ? 2 : 4);
          }
          s = v128.and(z, bits == 2 ? two : four);
          z0 = interleaveLow(s, s);
          z1 = interleaveHigh(s, s);
          group++;
        }
        left--;
        if (kind != Kind.Chunks) {
          s = spread(sum, 0);
          e0 = term(dot, p, z0, s, m0);
          e1 = term(dot, q, z1, s, m1);
        }
        if (never) { y0 = v128.or(e0, e1); break; }
        const next = codes + pair;
        if (bits == 3) {
          h = v128.load(next, 64);
          g = v128.load(next, 80);
        }
        v = v128.load(a, 32);
        x = v128.load(next);
        w = v128.load(next, 32);
        s = spread(v, 0);
        p = start(dot, even(bits, 0, x, low, h, bit2), s);
        q = start(dot, even(bits, 0, w, low, g, bit2), s);
        if (never) { y0 = v128.or(p, q); break; }
        s = spread(v, 1);
        p4 = start(dot, odd(bits, 1, x, high, h, bit4), s);
        q4 = start(dot, odd(bits, 1, w, high, g, bit4), s);
        if (never) { y0 = v128.or(p4, q4); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 2);
        p = more(dot, p, even(bits, 2, x, low, h, bit2), s);
        q = more(dot, q, even(bits, 2, w, low, g, bit2), s);
        if (never) { y0 = v128.or(p, q); break; }
        s = spread(v, 3);
        p4 = more(dot, p4, odd(bits, 3, x, high, h, bit4), s);
        q4 = more(dot, q4, odd(bits, 3, w, high, g, bit4), s);
        if (never) { y0 = v128.or(p4, q4); break; }
        v = v128.load(a, 48);
        x = v128.load(next, 16);
        w = v128.load(next, 48);
        s = spread(v, 0);
        p = more(dot, p, even(bits, 4, x, low, h, bit2), s);
        q = more(dot, q, even(bits, 4, w, low, g, bit2), s);
        if (never) { y0 = v128.or(p, q); break; }
        s = spread(v, 1);
        p4 = more(dot, p4, odd(bits, 5, x, high, h, bit4), s);
        q4 = more(dot, q4, odd(bits, 5, w, high, g, bit4), s);
        if (never) { y0 = v128.or(p4, q4); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 2);
        p = more(dot, p, even(bits, 6, x, low, h, bit2), s);
        q = more(dot, q, even(bits, 6, w, low, g, bit2), s);
        if (never) { y0 = v128.or(p, q); break; }
        s = spread(v, 3);
        p4 = more(dot, p4, odd(bits, 7, x, high, h, bit4), s);
        q4 = more(dot, q4, odd(bits, 7, w, high, g, bit4), s);
        if (never) { y0 = v128.or(p4, q4); break; }
        p = unite(dot, p, p4);
        q = unite(dot, q, q4);
        if (never) { y0 = v128.or(p, q); break; }
        if (kind == Kind.Any) {
          m0 = v128.load(decoded, 64);
          m1 = v128.load(decoded, 80);
          z0 = v128.load(decoded, 96);
          z1 = v128.load(decoded, 112);
          decoded += 2 * PAIR_SCALES;
        } else if (kind == Kind.Banded16) {
          m0 = i16x8.add(spread(l, 2), i16x8.mul(v128.and(i16x8.shr_u(r0, 8), four), spread(l, 3)));
          m1 = i16x8.add(spread(l, 2), i16x8.mul(v128.and(i16x8.shr_u(r1, 8), four), spread(l, 3)));
          s = i16x8.shr_u(z, bits == 2 ? 4 : 8);
          r0 = i16x8.shr_u(s, bits == 2 ? 2 : 4);
          z0 = v128.and(interleaveLow(s, r0), bits == 2 ? two : four);
          z1 = v128.and(interleaveHigh(s, r0), bits == 2 ? two : four);
        } else if (kind == Kind.Banded32) {
          s = v128.and(i16x8.shr_u(c, 4), four);
          const m = i16x8.add(v128.load16_splat(second, 4), i16x8.mul(s, v128.load16_splat(second, 6)));
          second += 8;
          m0 = interleaveLow(m, m);
          m1 = interleaveHigh(m, m);
          s = v128.and(i16x8.shr_u(z, bits == 2 ? 2 : 4), bits == 2 ? two : four);
          z0 = interleaveLow(s, s);
          z1 = interleaveHigh(s, s);
          c = i16x8.shr_u(c, 8);
          z = i16x8.shr_u(z, bits == 2 ? 4 : 8);
        }
        s = spread(sum, 1);
        if (kind == Kind.Chunks) {
          // One scale for both pairs, and their sum fits 16 bits.
          s = i16x8.add(s, spread(sum, 0));
          e0 = term(dot, dot == Dot.Quads ? i32x4.add(e0, p) : i16x8.add(e0, p), z0, s, m0);
          e1 = term(dot, dot == Dot.Quads ? i32x4.add(e1, q) : i16x8.add(e1, q), z1, s, m1);
        } else {
          e0 = i32x4.add(e0, term(dot, p, z0, s, m0));
          e1 = i32x4.add(e1, term(dot, q, z1, s, m1));
        }
        const factor = v128.load32_splat(factors);
        y0 = f32x4.add(y0, f32x4.mul(f32x4.convert_i32x4_s(e0), factor));
        y1 = f32x4.add(y1, f32x4.mul(f32x4.convert_i32x4_s(e1), factor));
        codes += 2 * pair;
        a += 64;
        sums += 8;
        factors += 4;
      }
      finish(panel, token, y0, y1);
    }
  }
}
