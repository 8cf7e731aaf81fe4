// Activations for packed products: per token and chunk of 64 columns a scale amax / 127 and int8 codes, and per slab
// of 16 columns the sum of its codes. Codes lie as packed_dot.ts reads them: in 32 columns, word w holds columns 2w,
// 2w + 1, 16 + 2w, 16 + 2w + 1. Bit-equal to quantizeActivationsReference of src/formats.
import { int, ptr } from "./args";
import { load4 } from "./lanes";

// @ts-ignore: decorator
@inline
function codes4(x: v128, inverse: v128): v128 {
  const limit = f32x4.splat(127);
  const scaled = f32x4.min(f32x4.max(f32x4.mul(x, inverse), f32x4.neg(limit)), limit);
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(scaled));
}

// @ts-ignore: decorator
@inline
function codes16(x: usize, inverse: v128): v128 {
  const low = i16x8.narrow_i32x4_s(codes4(v128.load(x), inverse), codes4(v128.load(x, 16), inverse));
  const high = i16x8.narrow_i32x4_s(codes4(v128.load(x, 32), inverse), codes4(v128.load(x, 48), inverse));
  return i8x16.narrow_i16x8_s(low, high);
}

// @ts-ignore: decorator
@inline
function sum16(codes: v128): i32 {
  const four = i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(codes));
  return i32x4.extract_lane(four, 0) + i32x4.extract_lane(four, 1) + i32x4.extract_lane(four, 2) +
    i32x4.extract_lane(four, 3);
}

// @ts-ignore: decorator
@inline
function pair(out: usize, sums: usize, x: usize, inverse: v128): void {
  const a = codes16(x, inverse), b = codes16(x + 64, inverse);
  store<i16>(sums, <i16> sum16(a));
  store<i16>(sums, <i16> sum16(b), 2);
  v128.store(out, i8x16.shuffle(a, b, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
  v128.store(out, i8x16.shuffle(a, b, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31), 16);
}

// ints: codes, scales, sums, x, columns. Items: tokens.
export function quantize_activations(begin: i32, end: i32, scratch: usize): void {
  const columns = int(4), chunks = (columns + 63) >> 6;
  for (let token = begin; token < end; token++) {
    const x = ptr(3) + ((<usize> token * <usize> columns) << 2);
    for (let chunk = 0; chunk < chunks; chunk++) {
      const at = <usize> token * <usize> chunks + <usize> chunk;
      let from = x + (<usize> chunk << 8);
      if (columns - 64 * chunk < 64) {
        const bytes = <usize> (columns - 64 * chunk) << 2;
        for (let i: usize = 0; i < 256; i += 16) {
          v128.store(scratch + i, i < bytes ? load4(from + i, bytes - i) : i32x4.splat(0));
        }
        from = scratch;
      }
      let largest = f32x4.splat(0);
      for (let i: usize = 0; i < 256; i += 16) largest = f32x4.max(largest, f32x4.abs(v128.load(from + i)));
      const amax = max(
        max(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1)),
        max(f32x4.extract_lane(largest, 2), f32x4.extract_lane(largest, 3)),
      );
      store<f32>(ptr(1) + (at << 2), amax / 127);
      const inverse = f32x4.splat(amax > 0 ? 127 / amax : 0);
      pair(ptr(0) + (at << 6), ptr(2) + (at << 3), from, inverse);
      pair(ptr(0) + (at << 6) + 32, ptr(2) + (at << 3) + 4, from + 128, inverse);
    }
  }
}
