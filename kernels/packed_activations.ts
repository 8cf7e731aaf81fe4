// Activations for packed products: per token and chunk of 64 columns a scale amax / 127 and int8 codes, and per slab
// of 16 columns the sum of its codes. Codes lie as packed_dot.ts reads them: in 32 columns, word w holds columns 2w,
// 2w + 1, 16 + 2w, 16 + 2w + 1. Bit-equal to quantizeActivationsReference of src/formats.
import { int, ptr } from "./args";
import { load4 } from "./lanes";

/** Between these, 127 / amax is finite and no code leaves [-127, 127]. */
const LEAST: f32 = 1e-36, MOST: f32 = 3e38;

// Read from memory, as V8 builds a literal vector anew in every round. Adding 1.5 * 2^23 rounds to the nearest even
// integer, and leaves it in the low bits.
const MAGIC: usize = memory.data<f32>([12582912, 12582912, 12582912, 12582912]);

// Any finite or infinite numbers; NaN gives 0.
// @ts-ignore: decorator
@inline
function codes4Any(x: v128, inverse: v128): v128 {
  const limit = f32x4.splat(127);
  const scaled = f32x4.min(f32x4.max(f32x4.mul(x, inverse), f32x4.neg(limit)), limit);
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(scaled));
}

// @ts-ignore: decorator
@inline
function codes4(x: v128, inverse: v128, magic: v128, usual: bool): v128 {
  return usual ? i32x4.sub(f32x4.add(f32x4.mul(x, inverse), magic), magic) : codes4Any(x, inverse);
}

// @ts-ignore: decorator
@inline
function codes16(x: usize, inverse: v128, magic: v128, usual: bool): v128 {
  const low = i16x8.narrow_i32x4_s(
    codes4(v128.load(x), inverse, magic, usual),
    codes4(v128.load(x, 16), inverse, magic, usual),
  );
  const high = i16x8.narrow_i32x4_s(
    codes4(v128.load(x, 32), inverse, magic, usual),
    codes4(v128.load(x, 48), inverse, magic, usual),
  );
  return i8x16.narrow_i16x8_s(low, high);
}

// @ts-ignore: decorator
@inline
function sums4(codes: v128): v128 {
  return i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(codes));
}

// Lanes 0 + 2 and 1 + 3 of both: a, b, a, b.
// @ts-ignore: decorator
@inline
function fold(a: v128, b: v128): v128 {
  return i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
}

// @ts-ignore: decorator
@inline
function storePair(out: usize, a: v128, b: v128): void {
  v128.store(out, i8x16.shuffle(a, b, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
  v128.store(out, i8x16.shuffle(a, b, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31), 16);
}

// One chunk of 64 columns.
// @ts-ignore: decorator
@inline
function chunk(out: usize, sums: usize, x: usize, inverse: v128, magic: v128, usual: bool): void {
  const a = codes16(x, inverse, magic, usual), b = codes16(x + 64, inverse, magic, usual);
  storePair(out, a, b);
  const ab = fold(sums4(a), sums4(b));
  const c = codes16(x + 128, inverse, magic, usual), d = codes16(x + 192, inverse, magic, usual);
  storePair(out + 32, c, d);
  const cd = fold(sums4(c), sums4(d));
  const all = i32x4.add(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3));
  v128.store64_lane(sums, i16x8.narrow_i32x4_s(all, all), 0);
}

function unusualChunk(out: usize, sums: usize, x: usize, amax: f32): void {
  const inverse = f32x4.splat(amax > 0 ? 127 / amax : 0);
  chunk(out, sums, x, inverse, inverse, false);
}

// The largest magnitude of 64 columns: as integers, magnitudes are ordered like floats, with NaN above all.
// @ts-ignore: decorator
@inline
function largest(x: usize): f32 {
  const magnitude = i32x4.splat(0x7fffffff);
  let a = v128.and(v128.load(x), magnitude), b = v128.and(v128.load(x, 16), magnitude);
  for (let i: usize = 32; i < 256; i += 32) {
    a = i32x4.max_s(a, v128.and(v128.load(x + i), magnitude));
    b = i32x4.max_s(b, v128.and(v128.load(x + i, 16), magnitude));
  }
  a = i32x4.max_s(a, b);
  a = i32x4.max_s(a, v128.shuffle<i64>(a, a, 1, 0));
  a = i32x4.max_s(a, v128.shuffle<i32>(a, a, 1, 0, 3, 2));
  return f32x4.extract_lane(a, 0);
}

// ints: codes, scales, sums, x, columns. Items: tokens.
export function quantize_activations(begin: i32, end: i32, scratch: usize): void {
  const columns = int(4), chunks = (columns + 63) >> 6, magic = v128.load(MAGIC);
  for (let token = begin; token < end; token++) {
    const x = ptr(3) + ((<usize> token * <usize> columns) << 2);
    for (let i = 0; i < chunks; i++) {
      const at = <usize> token * <usize> chunks + <usize> i;
      let from = x + (<usize> i << 8);
      if (columns - 64 * i < 64) {
        const bytes = <usize> (columns - 64 * i) << 2;
        for (let i: usize = 0; i < 256; i += 16) {
          v128.store(scratch + i, i < bytes ? load4(from + i, bytes - i) : i32x4.splat(0));
        }
        from = scratch;
      }
      const amax = largest(from);
      store<f32>(ptr(1) + (at << 2), amax / 127);
      const out = ptr(0) + (at << 6), sums = ptr(2) + (at << 3);
      if (amax > LEAST && amax < MOST) chunk(out, sums, from, f32x4.splat(127 / amax), magic, true);
      else unusualChunk(out, sums, from, amax);
    }
  }
}
