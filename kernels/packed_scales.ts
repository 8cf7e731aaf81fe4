// Decodes a panel's integer scales m and zero codes z for a block of column pairs into scratch, 64 bytes per pair: m of
// row quads 0 and 1, then z of both, i16 lanes (row, slab of the pair) as the dots give them. Done once per panel and
// block, so that the products' inner loops are the same for every group size and kind of scale.
import { A, Dot, num, place } from "./packed_args";

const LANES: usize = memory.data<u16>([3, 15]);

/** How a kernel finds scales and zero codes. */
export const enum Kind {
  /** Decoded to scratch first: any groups. */
  Any,
  /** Groups of 16 with a second level. */
  Banded16,
  /** Groups of 32 with a second level. */
  Banded32,
  /** 4 bits symmetric, groups of 32. */
  Symmetric32,
  /** Groups of 64, 128 and so on: once per chunk. */
  Chunks,
}

/** Bytes of a pair's decoded scales and zeros. */
export const PAIR_SCALES: usize = 64;

// @ts-ignore: decorator
@inline
export function interleaveLow(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
}

// @ts-ignore: decorator
@inline
export function interleaveHigh(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31);
}

/** Bases of two groups in turn, from (base, step, base, step) twice. */
// @ts-ignore: decorator
@inline
export function pairBase(levels: v128): v128 {
  return i8x16.shuffle(levels, levels, 0, 1, 4, 5, 0, 1, 4, 5, 8, 9, 12, 13, 8, 9, 12, 13);
}

/** Steps of two groups in turn. */
// @ts-ignore: decorator
@inline
export function pairStep(levels: v128): v128 {
  return i8x16.shuffle(levels, levels, 2, 3, 6, 7, 2, 3, 6, 7, 10, 11, 14, 15, 10, 11, 14, 15);
}

/** Bases and steps of four groups by pair: (base, base), (step, step) of the first two groups, then of the others. */
// @ts-ignore: decorator
@inline
export function baseAndStep(levels: v128): v128 {
  return i8x16.shuffle(levels, levels, 0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
}

/** The value 3 in 16-bit lanes; loaded, not literal: see packed_dot.ts. */
// @ts-ignore: decorator
@inline
export function twoBits(): v128 {
  return v128.load16_splat(LANES);
}

/** The value 15 in 16-bit lanes. */
// @ts-ignore: decorator
@inline
export function fourBits(): v128 {
  return v128.load16_splat(LANES, 2);
}

/** m (dot - z A) of one pair and quad, i32x4. */
// @ts-ignore: decorator
@inline
export function term(dot: Dot, d: v128, zeros: v128, sum: v128, m: v128): v128 {
  if (dot != Dot.Quads) return i32x4.dot_i16x8_s(i16x8.sub(d, i16x8.mul(zeros, sum)), m);
  return i32x4.mul(i32x4.sub(d, i32x4.dot_i16x8_s(zeros, sum)), i32x4.shr_u(m, 16));
}

/** Scales of 8 rows at a group, i16x8. */
export function scales8(panel: i32, group: i32): v128 {
  const at = place(A.Scales) + <usize> panel * <usize> num(A.PanelScales);
  const band = num(A.Band);
  if (band == 0) return v128.load(at + 16 * <usize> group);
  const codes = v128.and(
    i16x8.shr_u(v128.load(at + 16 * <usize> (group >> 2)), 4 * (group & 3)),
    i16x8.splat(15),
  );
  const second = place(A.Second) + 4 * (<usize> (panel / band) * <usize> num(A.GroupStride) + <usize> group);
  return i16x8.add(v128.load16_splat(second), i16x8.mul(codes, v128.load16_splat(second, 2)));
}

/** Zero codes of 8 rows at a group, i16x8. */
export function zeros8(panel: i32, group: i32): v128 {
  const bits = num(A.Bits);
  if (num(A.PanelZeros) == 0) return i16x8.splat(bits == 8 ? 128 : 8);
  const at = place(A.Zeros) + <usize> panel * <usize> num(A.PanelZeros);
  if (bits == 2) {
    return v128.and(i16x8.shr_u(v128.load(at + 16 * <usize> (group >> 3)), 2 * (group & 7)), i16x8.splat(3));
  }
  return v128.and(i16x8.shr_u(v128.load(at + 16 * <usize> (group >> 2)), 4 * (group & 3)), i16x8.splat(15));
}

// @ts-ignore: decorator
@inline
function scale16(out: usize, second: usize, low: v128, high: v128, mask: v128): void {
  const levels = v128.load64_splat(second), base = pairBase(levels), step = pairStep(levels);
  v128.store(out, i16x8.add(base, i16x8.mul(v128.and(low, mask), step)));
  v128.store(out, i16x8.add(base, i16x8.mul(v128.and(high, mask), step)), 16);
}

// Groups of 16 with a second level, the usual 2- and 3-bit case: four groups, so two pairs, per vector of scale codes.
function decode16(panel: i32, first: i32, pairs: i32, out: usize): void {
  const bits = num(A.Bits);
  let scales = place(A.Scales) + <usize> panel * <usize> num(A.PanelScales) + 8 * <usize> first;
  let zeros = place(A.Zeros) + <usize> panel * <usize> num(A.PanelZeros) + (bits == 2 ? 4 : 8) * <usize> first;
  let second = place(A.Second) +
    4 * (<usize> (panel / num(A.Band)) * <usize> num(A.GroupStride) + 2 * <usize> first);
  const two = twoBits(), four = fourBits();
  let zeroLow = i32x4.splat(0), zeroHigh = i32x4.splat(0);
  for (let pair = 0; pair < pairs; pair += 2) {
    const c = v128.load(scales), d = i16x8.shr_u(c, 4);
    const low = interleaveLow(c, d), high = interleaveHigh(c, d);
    scale16(out, second, low, high, four);
    scale16(out + PAIR_SCALES, second + 8, i16x8.shr_u(low, 8), i16x8.shr_u(high, 8), four);
    if (bits == 2) {
      if ((pair & 2) == 0) {
        const z = v128.load(zeros), y = i16x8.shr_u(z, 2);
        zeroLow = interleaveLow(z, y);
        zeroHigh = interleaveHigh(z, y);
        zeros += 16;
      } else {
        zeroLow = i16x8.shr_u(zeroLow, 8);
        zeroHigh = i16x8.shr_u(zeroHigh, 8);
      }
      v128.store(out, v128.and(zeroLow, two), 32);
      v128.store(out, v128.and(zeroHigh, two), 48);
      v128.store(out, v128.and(i16x8.shr_u(zeroLow, 4), two), 96);
      v128.store(out, v128.and(i16x8.shr_u(zeroHigh, 4), two), 112);
    } else {
      const z = v128.load(zeros), y = i16x8.shr_u(z, 4);
      zeroLow = interleaveLow(z, y);
      zeroHigh = interleaveHigh(z, y);
      zeros += 16;
      v128.store(out, v128.and(zeroLow, four), 32);
      v128.store(out, v128.and(zeroHigh, four), 48);
      v128.store(out, v128.and(i16x8.shr_u(zeroLow, 8), four), 96);
      v128.store(out, v128.and(i16x8.shr_u(zeroHigh, 8), four), 112);
    }
    scales += 16;
    second += 16;
    out += 2 * PAIR_SCALES;
  }
}

/** Decodes `pairs` (even) pairs from pair `first` (a multiple of 4) of a panel. */
export function decodeScales(panel: i32, first: i32, pairs: i32, out: usize): void {
  const size = num(A.Group);
  if (size == 16 && num(A.Band) != 0) {
    decode16(panel, first, pairs, out);
    return;
  }
  let group = first * 32 / size;
  // Columns left of the group that the next slab starts in.
  let left = (group + 1) * size - first * 32;
  let m = scales8(panel, group), z = zeros8(panel, group);
  for (let pair = 0; pair < pairs; pair++) {
    const evenM = m, evenZ = z;
    left -= 16;
    if (left == 0) {
      left = size;
      group++;
      m = scales8(panel, group);
      z = zeros8(panel, group);
    }
    v128.store(out, interleaveLow(evenM, m));
    v128.store(out, interleaveHigh(evenM, m), 16);
    v128.store(out, interleaveLow(evenZ, z), 32);
    v128.store(out, interleaveHigh(evenZ, z), 48);
    out += PAIR_SCALES;
    left -= 16;
    if (left == 0 && pair + 1 < pairs) {
      left = size;
      group++;
      m = scales8(panel, group);
      z = zeros8(panel, group);
    }
  }
}
