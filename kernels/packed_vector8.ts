// The packed product token by token with 8-bit codes: the low and the high nibbles are dots of their own, joined in 32
// bits; m stays outside of the sum over a chunk. Steps and fences as in packed_vector.ts. Also what prompts use.
import { A, Dot, num, place } from "./packed_args";
import { lowMask, more, start } from "./packed_dot";
import { finish } from "./packed_finish";
import { spread } from "./packed_tile";

/** low + 16 high - offset of one pair and quad, i32x4. */
// @ts-ignore: decorator
@inline
function join(dot: Dot, low: v128, high: v128, offset: v128): v128 {
  if (dot == Dot.Quads) return i32x4.sub(i32x4.add(low, i32x4.shl(high, 4)), offset);
  const sixteens = i32x4.dot_i16x8_s(high, i16x8.splat(16));
  return i32x4.sub(i32x4.add(i32x4.extadd_pairwise_i16x8_s(low), sixteens), offset);
}

// @ts-ignore: decorator
@inline
export function vector8(dot: Dot, begin: i32, end: i32): void {
  const chunks = num(A.Chunks), tokens = num(A.Tokens), low = lowMask(8);
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
      let left = 0, y0 = i32x4.splat(0), y1 = y0, m0 = y0, m1 = y0;
      for (let chunk = 0; chunk < chunks; chunk++) {
        // Activations, low and high nibbles of quads 0 and 1, a word of activations in all lanes, the four dots.
        let v = y0, x = y0, w = y0, u = y0, t = y0, s = y0, p = y0, q = y0, r = y0, o = y0;
        v = v128.load(a);
        x = v128.load(codes);
        w = v128.load(codes, 64);
        u = v128.load(codes, 128);
        t = v128.load(codes, 192);
        s = spread(v, 0);
        p = start(dot, v128.and(x, low), s);
        q = start(dot, v128.and(w, low), s);
        r = start(dot, v128.and(u, low), s);
        o = start(dot, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        u = i16x8.shr_u(u, 4);
        t = i16x8.shr_u(t, 4);
        s = spread(v, 1);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = v128.load(codes, 16);
        w = v128.load(codes, 80);
        u = v128.load(codes, 144);
        t = v128.load(codes, 208);
        s = spread(v, 2);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        u = i16x8.shr_u(u, 4);
        t = i16x8.shr_u(t, 4);
        s = spread(v, 3);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        v = v128.load(a, 16);
        x = v128.load(codes, 32);
        w = v128.load(codes, 96);
        u = v128.load(codes, 160);
        t = v128.load(codes, 224);
        s = spread(v, 0);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        u = i16x8.shr_u(u, 4);
        t = i16x8.shr_u(t, 4);
        s = spread(v, 1);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = v128.load(codes, 48);
        w = v128.load(codes, 112);
        u = v128.load(codes, 176);
        t = v128.load(codes, 240);
        s = spread(v, 2);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        u = i16x8.shr_u(u, 4);
        t = i16x8.shr_u(t, 4);
        s = spread(v, 3);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        // 128 A: the codes' middle.
        const offset = i32x4.shl(i32x4.extadd_pairwise_i16x8_s(v128.load64_splat(sums)), 7);
        let e0 = join(dot, p, r, spread(offset, 0)), e1 = join(dot, q, o, spread(offset, 0));
        if (never) { y0 = v128.or(e0, e1); break; }
        const next = codes + 256;
        v = v128.load(a, 32);
        x = v128.load(next);
        w = v128.load(next, 64);
        u = v128.load(next, 128);
        t = v128.load(next, 192);
        s = spread(v, 0);
        p = start(dot, v128.and(x, low), s);
        q = start(dot, v128.and(w, low), s);
        r = start(dot, v128.and(u, low), s);
        o = start(dot, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        u = i16x8.shr_u(u, 4);
        t = i16x8.shr_u(t, 4);
        s = spread(v, 1);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = v128.load(next, 16);
        w = v128.load(next, 80);
        u = v128.load(next, 144);
        t = v128.load(next, 208);
        s = spread(v, 2);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        u = i16x8.shr_u(u, 4);
        t = i16x8.shr_u(t, 4);
        s = spread(v, 3);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        v = v128.load(a, 48);
        x = v128.load(next, 32);
        w = v128.load(next, 96);
        u = v128.load(next, 160);
        t = v128.load(next, 224);
        s = spread(v, 0);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        u = i16x8.shr_u(u, 4);
        t = i16x8.shr_u(t, 4);
        s = spread(v, 1);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = v128.load(next, 48);
        w = v128.load(next, 112);
        u = v128.load(next, 176);
        t = v128.load(next, 240);
        s = spread(v, 2);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        x = i16x8.shr_u(x, 4);
        w = i16x8.shr_u(w, 4);
        u = i16x8.shr_u(u, 4);
        t = i16x8.shr_u(t, 4);
        s = spread(v, 3);
        p = more(dot, p, v128.and(x, low), s);
        q = more(dot, q, v128.and(w, low), s);
        r = more(dot, r, v128.and(u, low), s);
        o = more(dot, o, v128.and(t, low), s);
        if (never) { y0 = v128.or(v128.or(p, q), v128.or(r, o)); break; }
        e0 = i32x4.add(e0, join(dot, p, r, spread(offset, 1)));
        e1 = i32x4.add(e1, join(dot, q, o, spread(offset, 1)));
        if (left == 0) {
          left = num(A.Group) >> 6;
          const m = v128.load(scales);
          scales += 16;
          m0 = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(m));
          m1 = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(m));
        }
        left--;
        const factor = v128.load32_splat(factors);
        y0 = f32x4.add(y0, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(e0), m0), factor));
        y1 = f32x4.add(y1, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(e1), m1), factor));
        codes += 512;
        a += 64;
        sums += 8;
        factors += 4;
      }
      finish(panel, token, y0, y1);
    }
  }
}
