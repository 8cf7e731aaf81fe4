// Root-mean-square norm: out[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight; layer norm; their backward forms. Plain IEEE operations in a fixed order, so
// packed inference gives the same bits on every engine and CPU.
import { float, int, ptr } from "./args";
import { load4, store4, sumLanes } from "./lanes";

// ints: out, x, weight, dim; floats: eps. Items: tokens.
export function rms_norm(begin: i32, end: i32): void {
  const weight = ptr(2), dim = int(3), eps = float(0);
  const bytes = (<usize> dim) << 2, vectors = bytes & ~15;
  for (let t = begin; t < end; t++) {
    const x = ptr(1) + <usize> t * bytes, out = ptr(0) + <usize> t * bytes;
    let squares = f32x4.splat(0);
    for (let i: usize = 0; i < vectors; i += 16) {
      const v = v128.load(x + i);
      squares = f32x4.add(squares, f32x4.mul(v, v));
    }
    let sum = sumLanes(squares);
    for (let i = vectors; i < bytes; i += 4) sum += load<f32>(x + i) * load<f32>(x + i);
    const inverse: f32 = 1 / sqrt<f32>(sum / <f32> dim + eps);
    const scale = f32x4.splat(inverse);
    for (let i: usize = 0; i < vectors; i += 16) {
      v128.store(out + i, f32x4.mul(f32x4.mul(v128.load(x + i), scale), v128.load(weight + i)));
    }
    for (let i = vectors; i < bytes; i += 4) {
      store<f32>(out + i, load<f32>(x + i) * inverse * load<f32>(weight + i));
    }
  }
}

// Mean of a row: lanes first, then the tail, in a fixed order.
// @ts-ignore: decorator
@inline
function rowMean(x: usize, bytes: usize, dim: i32): f32 {
  let sums = f32x4.splat(0);
  for (let i: usize = 0; i < bytes; i += 16) sums = f32x4.add(sums, load4(x + i, bytes - i));
  return sumLanes(sums) / <f32> dim;
}

// 1 / sqrt(mean((x - mean)^2) + eps): a second pass, because mean(x^2) - mean^2 cancels.
// @ts-ignore: decorator
@inline
function rowInverse(x: usize, bytes: usize, dim: i32, mean: f32, eps: f32): f32 {
  const vectors = bytes & ~15, shift = f32x4.splat(mean);
  let squares = f32x4.splat(0);
  for (let i: usize = 0; i < vectors; i += 16) {
    const v = f32x4.sub(v128.load(x + i), shift);
    squares = f32x4.add(squares, f32x4.mul(v, v));
  }
  let sum = sumLanes(squares);
  for (let i = vectors; i < bytes; i += 4) {
    const v = load<f32>(x + i) - mean;
    sum += v * v;
  }
  return 1 / sqrt<f32>(sum / <f32> dim + eps);
}

// out[t] = (x[t] - mean) / sqrt(variance + eps) * weight + bias. ints: out, x, weight, bias, dim; floats: eps. Items: tokens.
export function layer_norm(begin: i32, end: i32): void {
  const weight = ptr(2), bias = ptr(3), dim = int(4), bytes = (<usize> dim) << 2;
  for (let t = begin; t < end; t++) {
    const x = ptr(1) + <usize> t * bytes, out = ptr(0) + <usize> t * bytes;
    const mean = rowMean(x, bytes, dim);
    const shift = f32x4.splat(mean), scale = f32x4.splat(rowInverse(x, bytes, dim, mean, float(0)));
    for (let i: usize = 0; i < bytes; i += 16) {
      const left = bytes - i;
      const unit = f32x4.mul(f32x4.sub(load4(x + i, left), shift), scale);
      store4(out + i, f32x4.add(f32x4.mul(unit, load4(weight + i, left)), load4(bias + i, left)), left);
    }
  }
}

// Gradient of both norms by their input, with g = dy * weight and u the normalized row:
// dx = inverse * (g - mean(g) - u * mean(g * u)); the root-mean-square norm has no mean(g) and u = x * inverse.
// Leaves (mean, inverse) of each token in `moments` for the gradients of weight and bias.
// @ts-ignore: decorator
@inline
function normBackward(begin: i32, end: i32, centred: bool): void {
  const weight = ptr(2), moments = ptr(4), dim = int(5), eps = float(0), bytes = (<usize> dim) << 2;
  for (let t = begin; t < end; t++) {
    const row = <usize> t * bytes, dx = ptr(0) + row, x = ptr(1) + row, dy = ptr(3) + row;
    const mean: f32 = centred ? rowMean(x, bytes, dim) : 0;
    const inverse = rowInverse(x, bytes, dim, mean, eps);
    const shift = f32x4.splat(mean), scale = f32x4.splat(inverse);
    let plain = f32x4.splat(0), along = f32x4.splat(0);
    for (let i: usize = 0; i < bytes; i += 16) {
      const left = bytes - i;
      // Beyond the row's end g is 0, so those lanes add nothing.
      const g = f32x4.mul(load4(dy + i, left), load4(weight + i, left));
      const u = f32x4.mul(f32x4.sub(load4(x + i, left), shift), scale);
      plain = f32x4.add(plain, g);
      along = f32x4.add(along, f32x4.mul(g, u));
    }
    const a = f32x4.splat(centred ? sumLanes(plain) / <f32> dim : 0);
    const b = f32x4.splat(sumLanes(along) / <f32> dim);
    for (let i: usize = 0; i < bytes; i += 16) {
      const left = bytes - i;
      const g = f32x4.mul(load4(dy + i, left), load4(weight + i, left));
      const u = f32x4.mul(f32x4.sub(load4(x + i, left), shift), scale);
      store4(dx + i, f32x4.mul(f32x4.sub(f32x4.sub(g, a), f32x4.mul(u, b)), scale), left);
    }
    store<f32>(moments + (<usize> t << 3), mean);
    store<f32>(moments + (<usize> t << 3), inverse, 4);
  }
}

// ints: dx, x, weight, dy, moments, dim; floats: eps. Items: tokens.
export function rms_norm_backward(begin: i32, end: i32): void {
  normBackward(begin, end, false);
}

// ints and floats as rms_norm_backward.
export function layer_norm_backward(begin: i32, end: i32): void {
  normBackward(begin, end, true);
}
