// Packs operands of dense products into slivers: W consecutive rows (of a, W = 5) or columns (of b, W = 8) side by side,
// sliver[p * W + i] = source(i, p), so that the register tile reads both operands in order. bf16 is widened here, and
// what lies outside the matrix becomes 0. Strides are in bytes; `along` steps i, `deep` steps p.

// @ts-ignore: decorator
@inline
function one(p: usize, bf16: bool): f32 {
  return bf16 ? reinterpret<f32>(load<u16>(p) << 16) : load<f32>(p);
}

/** Four consecutive values as f32. */
// @ts-ignore: decorator
@inline
export function four(p: usize, bf16: bool): v128 {
  return bf16 ? i32x4.shl(v128.load16x4_u(p), 16) : v128.load(p);
}

// Any strides, `valid` of `width` lines present.
// @ts-ignore: decorator
@inline
function packAny(
  out: usize, source: usize, width: i32, valid: i32, depth: i32, along: usize, deep: usize, bf16: bool,
): void {
  for (let p = 0; p < depth; p++) {
    let at = source + <usize> p * deep;
    for (let i = 0; i < width; i++) {
      store<f32>(out, i < valid ? one(at, bf16) : 0);
      at += along;
      out += 4;
    }
  }
}

// Four lines, each contiguous along p: a 4x4 transpose per four steps. `step` is the distance of steps in out.
// @ts-ignore: decorator
@inline
function packFour(out: usize, step: usize, source: usize, depth: i32, along: usize, bf16: bool): void {
  const size: usize = bf16 ? 2 : 4;
  let s0 = source, s1 = source + along, s2 = source + 2 * along, s3 = source + 3 * along;
  let p = 0;
  for (; p + 4 <= depth; p += 4) {
    const a = four(s0, bf16), b = four(s1, bf16), c = four(s2, bf16), d = four(s3, bf16);
    const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
    const ef = v128.shuffle<i32>(a, b, 2, 6, 3, 7), gh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
    v128.store(out, v128.shuffle<i64>(ab, cd, 0, 2));
    v128.store(out + step, v128.shuffle<i64>(ab, cd, 1, 3));
    v128.store(out + 2 * step, v128.shuffle<i64>(ef, gh, 0, 2));
    v128.store(out + 3 * step, v128.shuffle<i64>(ef, gh, 1, 3));
    out += 4 * step;
    s0 += 4 * size;
    s1 += 4 * size;
    s2 += 4 * size;
    s3 += 4 * size;
  }
  for (; p < depth; p++) {
    store<f32>(out, one(s0, bf16));
    store<f32>(out, one(s1, bf16), 4);
    store<f32>(out, one(s2, bf16), 8);
    store<f32>(out, one(s3, bf16), 12);
    out += step;
    s0 += size;
    s1 += size;
    s2 += size;
    s3 += size;
  }
}

// One f32 line, contiguous along p, into the fifth place of each step of a.
function packFifth(out: usize, source: usize, depth: i32): void {
  let p = 0;
  for (; p + 4 <= depth; p += 4) {
    const v = v128.load(source);
    v128.store32_lane(out, v, 0);
    v128.store32_lane(out, v, 1, 20);
    v128.store32_lane(out, v, 2, 40);
    v128.store32_lane(out, v, 3, 60);
    out += 80;
    source += 16;
  }
  for (; p < depth; p++) {
    store<f32>(out, load<f32>(source));
    out += 20;
    source += 4;
  }
}

/** Rows (of a) and columns (of b) that packRowsWide and packColumnsWide take at once: four slivers. */
export const WIDE_ROWS: i32 = 20;
export const WIDE_COLUMNS: i32 = 32;

/**
 * Four slivers of a whose rows lie next to each other in memory: whole cache lines of the source are used while they
 * are there, which matters where the distance of steps is a multiple of the page size and lines compete for one set.
 */
export function packRowsWide(out: usize, sliver: usize, source: usize, depth: i32, deep: usize): void {
  for (let p = 0; p < depth; p++) {
    let to = out, from = source;
    for (let i = 0; i < 4; i++) {
      v128.store(to, v128.load(from));
      store<f32>(to, load<f32>(from, 16), 16);
      to += sliver;
      from += 20;
    }
    source += deep;
    out += 20;
  }
}

// @ts-ignore: decorator
@inline
function packColumnsWideOf(out: usize, sliver: usize, source: usize, depth: i32, deep: usize, bf16: bool): void {
  const size: usize = bf16 ? 2 : 4;
  for (let p = 0; p < depth; p++) {
    let to = out, from = source;
    for (let i = 0; i < 4; i++) {
      v128.store(to, four(from, bf16));
      v128.store(to, four(from + 4 * size, bf16), 16);
      to += sliver;
      from += 8 * size;
    }
    source += deep;
    out += 32;
  }
}

/** Four slivers of b whose columns lie next to each other in memory. */
export function packColumnsWide(
  out: usize, sliver: usize, source: usize, depth: i32, deep: usize, bf16: bool,
): void {
  if (bf16) packColumnsWideOf(out, sliver, source, depth, deep, true);
  else packColumnsWideOf(out, sliver, source, depth, deep, false);
}

/** One sliver of a: 5 rows of which `valid` exist. */
export function packRows(out: usize, source: usize, valid: i32, depth: i32, along: usize, deep: usize): void {
  if (valid == 5 && deep == 4) {
    packFour(out, 20, source, depth, along, false);
    packFifth(out + 16, source + 4 * along, depth);
  } else if (valid == 5 && along == 4) {
    for (let p = 0; p < depth; p++) {
      v128.store(out, v128.load(source));
      store<f32>(out, load<f32>(source, 16), 16);
      source += deep;
      out += 20;
    }
  } else {
    packAny(out, source, 5, valid, depth, along, deep, false);
  }
}

// @ts-ignore: decorator
@inline
function packColumnsOf(
  out: usize, source: usize, valid: i32, depth: i32, along: usize, deep: usize, bf16: bool,
): void {
  const size: usize = bf16 ? 2 : 4;
  if (valid == 8 && deep == size) {
    packFour(out, 32, source, depth, along, bf16);
    packFour(out + 16, 32, source + 4 * along, depth, along, bf16);
  } else if (valid == 8 && along == size) {
    for (let p = 0; p < depth; p++) {
      v128.store(out, four(source, bf16));
      v128.store(out, four(source + 4 * size, bf16), 16);
      source += deep;
      out += 32;
    }
  } else {
    packAny(out, source, 8, valid, depth, along, deep, bf16);
  }
}

/** One sliver of b: 8 columns of which `valid` exist. */
export function packColumns(
  out: usize, source: usize, valid: i32, depth: i32, along: usize, deep: usize, bf16: bool,
): void {
  if (bf16) packColumnsOf(out, source, valid, depth, along, deep, true);
  else packColumnsOf(out, source, valid, depth, along, deep, false);
}
