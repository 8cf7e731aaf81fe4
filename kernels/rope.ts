// Rotary position embedding, half-split as in Qwen2: (a, b) = (x[i], x[i + half]) of a head becomes
// (a cos - b sin, b cos + a sin) with angle = position * theta^(-2i / headDim). As the reference does, frequency and
// angle are rounded to single precision; sine and cosine are taken in double precision, compiled in, so that every
// engine has the same table.
import { float, int, ptr } from "./args";
import { load4, store4 } from "./lanes";

// table [tokens, headDim]: cosines of the half, then sines. Items: i < headDim / 2.
// ints: table, positions (i32), tokens, headDim; floats: theta.
export function rope_table(begin: i32, end: i32): void {
  const tokens = int(2), headDim = int(3), half = headDim >> 1;
  for (let i = begin; i < end; i++) {
    const pair = 2 * i, exponent = <f32> pair / <f32> headDim;
    const frequency: f32 = 1 / <f32> NativeMath.pow(<f64> float(0), <f64> exponent);
    let at = ptr(0) + (<usize> i << 2);
    for (let t = 0; t < tokens; t++) {
      const angle = <f64> (<f32> load<i32>(ptr(1) + (<usize> t << 2)) * frequency);
      store<f32>(at, <f32> NativeMath.cos(angle));
      store<f32>(at + (<usize> half << 2), <f32> NativeMath.sin(angle));
      at += <usize> headDim << 2;
    }
  }
}

// inverse turns the other way, which is also the backward form. Items: tokens. ints: out, x, table, heads, headDim, inverse.
export function rope(begin: i32, end: i32): void {
  const heads = int(3), headDim = int(4), inverse = int(5) != 0;
  const half = <usize> (headDim >> 1) << 2, head = half << 1;
  for (let t = begin; t < end; t++) {
    const cosines = ptr(2) + <usize> t * head, sines = cosines + half;
    let x = ptr(1) + <usize> t * <usize> heads * head, out = ptr(0) + <usize> t * <usize> heads * head;
    for (let h = 0; h < heads; h++) {
      for (let i: usize = 0; i < half; i += 16) {
        const left = half - i;
        const a = load4(x + i, left), b = load4(x + half + i, left), c = load4(cosines + i, left);
        let s = load4(sines + i, left);
        if (inverse) s = f32x4.neg(s);
        store4(out + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)), left);
        store4(out + half + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)), left);
      }
      x += head;
      out += head;
    }
  }
}
