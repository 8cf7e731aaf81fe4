// The packed product token by token, for decode, with 4-bit codes: as packed_vector.ts, one accumulator per quad.
import { A, BLOCK_CHUNKS, Dot, num, place } from "./packed_args";
import { lowMask, more, pairBytes, start } from "./packed_dot";
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
} from "./packed_scales";
import { spread } from "./packed_tile";

/** As `term`, of symmetric codes. */
// @ts-ignore: decorator
@inline
function centred(dot: Dot, d: v128, sum: v128, m: v128): v128 {
  const zeroSum = i16x8.shl(sum, 3);
  if (dot != Dot.Quads) return i32x4.dot_i16x8_s(i16x8.sub(d, zeroSum), m);
  return i32x4.mul(i32x4.sub(d, i32x4.extadd_pairwise_i16x8_s(zeroSum)), i32x4.shr_u(m, 16));
}

// @ts-ignore: decorator
@inline
export function vector4(dot: Dot, kind: Kind, begin: i32, end: i32, scratch: usize): void {
  const chunks = num(A.Chunks), tokens = num(A.Tokens), pair = pairBytes(4);
  const low = lowMask(4), four = fourBits();
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
        // Activations, codes of quads 0 and 1, a word of activations in all lanes, dots of both quads.
        let v = y0, x = y0, w = y0, s = y0, p = y0, q = y0;
        v = v128.load(a);
        x = v128.load(codes);
        w = v128.load(codes, 64);
        s = spread(v, 0);
        p = start(dot, v128.and(x, low), s);
        q = start(dot, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 1);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = v128.load(codes, 16);
        w = v128.load(codes, 80);
        s = spread(v, 2);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 3);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        v = v128.load(a, 16);
        x = v128.load(codes, 32);
        w = v128.load(codes, 96);
        s = spread(v, 0);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 1);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = v128.load(codes, 48);
        w = v128.load(codes, 112);
        s = spread(v, 2);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 3);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        const sum = v128.load64_splat(sums);
        let l = y0, r0 = y0, r1 = y0;
        if (kind == Kind.Any) {
          m0 = v128.load(decoded);
          m1 = v128.load(decoded, 16);
          z0 = v128.load(decoded, 32);
          z1 = v128.load(decoded, 48);
        } else if (kind == Kind.Banded16) {
          c = v128.load(scales);
          z = v128.load(zeros);
          l = baseAndStep(v128.load(second));
          scales += 16;
          zeros += 16;
          second += 16;
          s = i16x8.shr_u(c, 4);
          r0 = interleaveLow(c, s);
          r1 = interleaveHigh(c, s);
          m0 = i16x8.add(spread(l, 0), i16x8.mul(v128.and(r0, four), spread(l, 1)));
          m1 = i16x8.add(spread(l, 0), i16x8.mul(v128.and(r1, four), spread(l, 1)));
          s = i16x8.shr_u(z, 4);
          z0 = v128.and(interleaveLow(z, s), four);
          z1 = v128.and(interleaveHigh(z, s), four);
        } else if (kind == Kind.Banded32) {
          if ((chunk & 1) == 0) {
            c = v128.load(scales);
            z = v128.load(zeros);
            scales += 16;
            zeros += 16;
          }
          const m = i16x8.add(v128.load16_splat(second), i16x8.mul(v128.and(c, four), v128.load16_splat(second, 2)));
          m0 = interleaveLow(m, m);
          m1 = interleaveHigh(m, m);
          s = v128.and(z, four);
          z0 = interleaveLow(s, s);
          z1 = interleaveHigh(s, s);
        } else if (kind == Kind.Symmetric32) {
          const m = v128.load(scales);
          m0 = interleaveLow(m, m);
          m1 = interleaveHigh(m, m);
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
          if (num(A.PanelZeros) == 0) {
            s = i16x8.splat(8);
          } else {
            if ((group & 3) == 0) {
              z = v128.load(zeros);
              zeros += 16;
            } else {
              z = i16x8.shr_u(z, 4);
            }
            s = v128.and(z, four);
          }
          z0 = interleaveLow(s, s);
          z1 = interleaveHigh(s, s);
          group++;
        }
        left--;
        s = spread(sum, 0);
        let e0 = kind == Kind.Symmetric32 ? centred(dot, p, s, m0) : term(dot, p, z0, s, m0);
        let e1 = kind == Kind.Symmetric32 ? centred(dot, q, s, m1) : term(dot, q, z1, s, m1);
        if (never) { y0 = v128.or(e0, e1); break; }
        const next = codes + pair;
        v = v128.load(a, 32);
        x = v128.load(next);
        w = v128.load(next, 64);
        s = spread(v, 0);
        p = start(dot, v128.and(x, low), s);
        q = start(dot, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 1);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = v128.load(next, 16);
        w = v128.load(next, 80);
        s = spread(v, 2);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 3);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        v = v128.load(a, 48);
        x = v128.load(next, 32);
        w = v128.load(next, 96);
        s = spread(v, 0);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 1);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = v128.load(next, 48);
        w = v128.load(next, 112);
        s = spread(v, 2);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        if (never) { y0 = v128.or(p, q); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        s = spread(v, 3);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
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
          s = i16x8.shr_u(z, 8);
          r0 = i16x8.shr_u(z, 12);
          z0 = v128.and(interleaveLow(s, r0), four);
          z1 = v128.and(interleaveHigh(s, r0), four);
        } else if (kind == Kind.Banded32) {
          s = v128.and(i16x8.shr_u(c, 4), four);
          const m = i16x8.add(v128.load16_splat(second, 4), i16x8.mul(s, v128.load16_splat(second, 6)));
          second += 8;
          m0 = interleaveLow(m, m);
          m1 = interleaveHigh(m, m);
          s = v128.and(i16x8.shr_u(z, 4), four);
          z0 = interleaveLow(s, s);
          z1 = interleaveHigh(s, s);
          c = i16x8.shr_u(c, 8);
          z = i16x8.shr_u(z, 8);
        } else if (kind == Kind.Symmetric32) {
          const m = v128.load(scales, 16);
          scales += 32;
          m0 = interleaveLow(m, m);
          m1 = interleaveHigh(m, m);
        }
        s = spread(sum, 1);
        e0 = i32x4.add(e0, kind == Kind.Symmetric32 ? centred(dot, p, s, m0) : term(dot, p, z0, s, m0));
        e1 = i32x4.add(e1, kind == Kind.Symmetric32 ? centred(dot, q, s, m1) : term(dot, q, z1, s, m1));
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
