// Optimiser steps over flat f32 arrays, in plain IEEE operations, so that a resumed run repeats its bits anywhere.
// Items are blocks of 1024 values; the last is shorter.
import { float, int, ptr } from "./args";
import { load4, store4 } from "./lanes";

const BLOCK: i32 = 1024;

// AdamW with decoupled decay (Loshchilov & Hutter): with g = gradient * gradScale
// m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
// p = p (1 - lr decay) - lr (m / correction1) / (sqrt(v / correction2) + eps).
// ints: parameter, gradient, m, v, count; floats: beta1, 1 - beta1, beta2, 1 - beta2, 1 - lr decay, lr / correction1,
// 1 / sqrt(correction2), eps, gradScale.
export function adamw(begin: i32, end: i32): void {
  const parameter = ptr(0), gradient = ptr(1), first = ptr(2), second = ptr(3);
  const last = <usize> min(end * BLOCK, int(4)) << 2;
  const beta1 = f32x4.splat(float(0)), rest1 = f32x4.splat(float(1));
  const beta2 = f32x4.splat(float(2)), rest2 = f32x4.splat(float(3));
  const keep = f32x4.splat(float(4)), step = f32x4.splat(float(5));
  const root = f32x4.splat(float(6)), eps = f32x4.splat(float(7)), scale = f32x4.splat(float(8));
  for (let i = <usize> (begin * BLOCK) << 2; i < last; i += 16) {
    const left = last - i;
    const g = f32x4.mul(load4(gradient + i, left), scale);
    const m = f32x4.add(f32x4.mul(load4(first + i, left), beta1), f32x4.mul(g, rest1));
    const v = f32x4.add(f32x4.mul(load4(second + i, left), beta2), f32x4.mul(f32x4.mul(g, g), rest2));
    store4(first + i, m, left);
    store4(second + i, v, left);
    const move = f32x4.div(f32x4.mul(m, step), f32x4.add(f32x4.mul(f32x4.sqrt(v), root), eps));
    store4(parameter + i, f32x4.sub(f32x4.mul(load4(parameter + i, left), keep), move), left);
  }
}

// parameter -= lr * sign(gradient), where the sign of 0 is 0. ints: parameter, gradient, count; floats: lr.
export function sign_sgd(begin: i32, end: i32): void {
  const parameter = ptr(0), gradient = ptr(1), last = <usize> min(end * BLOCK, int(2)) << 2;
  const up = f32x4.splat(float(0)), down = f32x4.splat(-float(0)), none = f32x4.splat(0);
  for (let i = <usize> (begin * BLOCK) << 2; i < last; i += 16) {
    const left = last - i;
    const g = load4(gradient + i, left);
    const move = v128.or(v128.and(f32x4.gt(g, none), up), v128.and(f32x4.lt(g, none), down));
    store4(parameter + i, f32x4.sub(load4(parameter + i, left), move), left);
  }
}
