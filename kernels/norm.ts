// Root-mean-square norm: out[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight. Plain IEEE operations in a fixed order, so
// packed inference gives the same bits on every engine and CPU.
import { float, int, ptr } from "./args";
import { sumLanes } from "./lanes";

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
