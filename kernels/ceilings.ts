// What a machine can do at best, for benchmarks to compare with: reading memory in a row, and multiply-adds and dots
// that stay in registers. Twelve chains hide the latency of every known core; none of them loads anything in its loop.
import { int, ptr } from "./args";
import { madd } from "./lanes";
import { more } from "./packed_dot";
import { Dot } from "./packed_args";

/** Bytes of an item of read_through, and steps of an item of the other two. */
const BLOCK: usize = 1 << 18;
const STEPS: i32 = 4096;

// out[item] = xor of the block's words. ints: out, from. Items: blocks of 256 KiB.
export function read_through(begin: i32, end: i32): void {
  for (let item = begin; item < end; item++) {
    const from = ptr(1) + <usize> item * BLOCK, stop = from + BLOCK;
    let a = i32x4.splat(0), b = a, c = a, d = a;
    for (let p = from; p < stop; p += 128) {
      a = v128.xor(v128.xor(a, v128.load(p)), v128.load(p, 64));
      b = v128.xor(v128.xor(b, v128.load(p, 16)), v128.load(p, 80));
      c = v128.xor(v128.xor(c, v128.load(p, 32)), v128.load(p, 96));
      d = v128.xor(v128.xor(d, v128.load(p, 48)), v128.load(p, 112));
    }
    finish(item, v128.xor(v128.xor(a, b), v128.xor(c, d)));
  }
}

// @ts-ignore: decorator
@inline
function finish(item: i32, v: v128): void {
  const pair = v128.xor(v, i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  store<i32>(ptr(0) + (<usize> item << 2), i32x4.extract_lane(pair, 0) ^ i32x4.extract_lane(pair, 1));
}

// 12 chains of x = x * y + y on four f32 lanes. ints: out, x, y (16 bytes each). Items: 4,096 steps of 48 multiply-adds.
export function multiply_peak(begin: i32, end: i32): void {
  const y = v128.load(ptr(2));
  for (let item = begin; item < end; item++) {
    let a = v128.load(ptr(1)), b = a, c = a, d = a, e = a, f = a, g = a, h = a, i = a, j = a, k = a, l = a;
    // Chains that began alike would be one chain to the compiler.
    b = madd(b, y, y);
    c = madd(b, y, y);
    d = madd(c, y, y);
    e = madd(d, y, y);
    f = madd(e, y, y);
    g = madd(f, y, y);
    h = madd(g, y, y);
    i = madd(h, y, y);
    j = madd(i, y, y);
    k = madd(j, y, y);
    l = madd(k, y, y);
    for (let step = 0; step < STEPS; step++) {
      a = madd(a, y, y);
      b = madd(b, y, y);
      c = madd(c, y, y);
      d = madd(d, y, y);
      e = madd(e, y, y);
      f = madd(f, y, y);
      g = madd(g, y, y);
      h = madd(h, y, y);
      i = madd(i, y, y);
      j = madd(j, y, y);
      k = madd(k, y, y);
      l = madd(l, y, y);
    }
    a = v128.xor(v128.xor(v128.xor(a, b), v128.xor(c, d)), v128.xor(v128.xor(e, f), v128.xor(g, h)));
    finish(item, v128.xor(a, v128.xor(v128.xor(i, j), v128.xor(k, l))));
  }
}

// @ts-ignore: decorator
@inline
function dots(dot: Dot, begin: i32, end: i32): void {
  const one = v128.load(ptr(2)), seven = v128.load(ptr(2), 16);
  const p = one, q = i8x16.add(p, one), r = i8x16.add(q, one), s = i8x16.add(r, one), t = i8x16.add(s, one);
  for (let item = begin; item < end; item++) {
    // Other activations in each step, so that no product can be hoisted out of the loop.
    let x = v128.load(ptr(1)), a = i32x4.splat(0), b = a, c = a, d = a, e = a;
    for (let step = 0; step < STEPS; step++) {
      a = more(dot, a, p, x);
      b = more(dot, b, q, x);
      c = more(dot, c, r, x);
      d = more(dot, d, s, x);
      e = more(dot, e, t, x);
      x = i8x16.add(x, seven);
    }
    finish(item, v128.xor(v128.xor(v128.xor(a, b), v128.xor(c, d)), e));
  }
}

// 5 sums of dots of 16 bytes in the way `dot` of packed_args.ts. ints: out, x, y (32 bytes), dot.
// Items: 4,096 steps of 80 products.
export function dot_peak(begin: i32, end: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    const dot: Dot = int(3);
    if (dot == Dot.Quads) {
      dots(Dot.Quads, begin, end);
      return;
    }
    if (dot == Dot.Pairs) {
      dots(Dot.Pairs, begin, end);
      return;
    }
  }
  dots(Dot.Wide, begin, end);
}
