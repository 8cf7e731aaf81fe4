// One value in, one value out: activations, sums and scalings over flat f32 arrays, with their backward forms.
// Plain IEEE operations. Items are blocks of BLOCK values, so that a ticket is worth handing out; the last is shorter.
import { exp4, gelu4, geluSlope4, sigmoid4, silu4 } from "./exp";
import { float, int, ptr } from "./args";
import { load4, store4, sumLanes } from "./lanes";

/** Values per item; wasm/kernels/pointwise.ts has the same number. */
const BLOCK: i32 = 1024;

// Bytes where the items [begin, end) stop, for `count` values.
// @ts-ignore: decorator
@inline
function stop(end: i32, count: i32): usize {
  return <usize> min(end * BLOCK, count) << 2;
}

// @ts-ignore: decorator
@inline
function start(begin: i32): usize {
  return <usize> (begin * BLOCK) << 2;
}

// ints: out, x, count.
export function exponential(begin: i32, end: i32): void {
  const out = ptr(0), x = ptr(1), last = stop(end, int(2));
  for (let i = start(begin); i < last; i += 16) {
    const left = last - i;
    store4(out + i, exp4(load4(x + i, left)), left);
  }
}

// ints: out, a, b, count.
export function add(begin: i32, end: i32): void {
  const out = ptr(0), a = ptr(1), b = ptr(2), last = stop(end, int(3));
  for (let i = start(begin); i < last; i += 16) {
    const left = last - i;
    store4(out + i, f32x4.add(load4(a + i, left), load4(b + i, left)), left);
  }
}

// ints: out, x, count; floats: factor.
export function scale(begin: i32, end: i32): void {
  const out = ptr(0), x = ptr(1), last = stop(end, int(2)), factor = f32x4.splat(float(0));
  for (let i = start(begin); i < last; i += 16) {
    const left = last - i;
    store4(out + i, f32x4.mul(load4(x + i, left), factor), left);
  }
}

// ints: out, x, count.
export function gelu(begin: i32, end: i32): void {
  const out = ptr(0), x = ptr(1), last = stop(end, int(2));
  for (let i = start(begin); i < last; i += 16) {
    const left = last - i;
    store4(out + i, gelu4(load4(x + i, left)), left);
  }
}

// ints: dx, x, dy, count.
export function gelu_backward(begin: i32, end: i32): void {
  const dx = ptr(0), x = ptr(1), dy = ptr(2), last = stop(end, int(3));
  for (let i = start(begin); i < last; i += 16) {
    const left = last - i;
    store4(dx + i, f32x4.mul(load4(dy + i, left), geluSlope4(load4(x + i, left))), left);
  }
}

// ints: out, gate, up, count.
export function swiglu(begin: i32, end: i32): void {
  const out = ptr(0), gate = ptr(1), up = ptr(2), last = stop(end, int(3));
  for (let i = start(begin); i < last; i += 16) {
    const left = last - i;
    store4(out + i, f32x4.mul(silu4(load4(gate + i, left)), load4(up + i, left)), left);
  }
}

// silu'(g) = s + g s (1 - s) with s = sigmoid(g). ints: dgate, dup, gate, up, dy, count.
export function swiglu_backward(begin: i32, end: i32): void {
  const dgate = ptr(0), dup = ptr(1), gate = ptr(2), up = ptr(3), dy = ptr(4), last = stop(end, int(5));
  const one = f32x4.splat(1);
  for (let i = start(begin); i < last; i += 16) {
    const left = last - i;
    const g = load4(gate + i, left), u = load4(up + i, left), d = load4(dy + i, left);
    const s = sigmoid4(g), silu = f32x4.mul(g, s);
    const slope = f32x4.add(s, f32x4.mul(silu, f32x4.sub(one, s)));
    store4(dgate + i, f32x4.mul(f32x4.mul(d, u), slope), left);
    store4(dup + i, f32x4.mul(d, silu), left);
  }
}

// x bounded to [low, high]; NaN stays. ints: x, count; floats: low, high.
export function clamp_into(begin: i32, end: i32): void {
  const x = ptr(0), last = stop(end, int(1));
  const low = f32x4.splat(float(0)), high = f32x4.splat(float(1));
  for (let i = start(begin); i < last; i += 16) {
    const left = last - i;
    store4(x + i, f32x4.pmax(f32x4.pmin(load4(x + i, left), high), low), left);
  }
}

// One partial result per item: partial[item] = sum of squares. ints: partial, x, count.
export function sum_squares(begin: i32, end: i32): void {
  const x = ptr(1), count = int(2);
  for (let item = begin; item < end; item++) {
    const last = stop(item + 1, count);
    let a = f32x4.splat(0);
    for (let i = start(item); i < last; i += 16) {
      const v = load4(x + i, last - i);
      a = f32x4.add(a, f32x4.mul(v, v));
    }
    store<f32>(ptr(0) + (<usize> item << 2), sumLanes(a));
  }
}

// One partial result per item: partial[item] = max |x|. ints: partial, x, count.
export function abs_max(begin: i32, end: i32): void {
  const x = ptr(1), count = int(2);
  for (let item = begin; item < end; item++) {
    const last = stop(item + 1, count);
    let a = f32x4.splat(0);
    for (let i = start(item); i < last; i += 16) a = f32x4.max(a, f32x4.abs(load4(x + i, last - i)));
    const low = max(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1));
    const high = max(f32x4.extract_lane(a, 2), f32x4.extract_lane(a, 3));
    store<f32>(ptr(0) + (<usize> item << 2), max(low, high));
  }
}
