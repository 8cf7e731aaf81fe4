// Packing for the attention tiles, into the thread's scratch. Two forms of a set of rows:
// transposed: tiles of 4 or 8 rows, [dim padded to 4][rows], so that one vector holds one column of 4 rows;
// columns: tiles of 8 columns, [BLOCK rows][8], so that a tile is read straight through. Padding columns are zero.

/** Most rows (keys, or queries seen as columns) of one block. */
export const BLOCK: i32 = 64;
/** Bytes from one row of a score tile to the next: BLOCK floats. */
export const SCORE_ROW: usize = 256;
/** Bytes of one column tile: BLOCK rows of 8 floats. */
export const COLUMN_TILE: usize = 2048;

/** The low or the high halves of two vectors. */
// @ts-ignore: decorator
@inline
export function pick(a: v128, b: v128, high: bool): v128 {
  return high
    ? i8x16.shuffle(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
    : i8x16.shuffle(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
}

/** The even lanes of two vectors. */
// @ts-ignore: decorator
@inline
export function even(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
}

/** The odd lanes of two vectors. */
// @ts-ignore: decorator
@inline
export function odd(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}

// @ts-ignore: decorator
@inline
function zip(a: v128, b: v128, high: bool): v128 {
  return high
    ? i8x16.shuffle(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31)
    : i8x16.shuffle(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
}

/** Four rows, times `scale`, become four lanes; `step` bytes lie between columns. */
export function packFour(
  to: usize,
  step: usize,
  r0: usize,
  r1: usize,
  r2: usize,
  r3: usize,
  dim: i32,
  scale: f32,
): void {
  const factor = f32x4.splat(scale);
  const vectors = <usize> (dim & ~3) << 2, all = <usize> dim << 2;
  let d: usize = 0;
  for (; d < vectors; d += 16) {
    const a = f32x4.mul(v128.load(r0 + d), factor), b = f32x4.mul(v128.load(r1 + d), factor);
    const c = f32x4.mul(v128.load(r2 + d), factor), e = f32x4.mul(v128.load(r3 + d), factor);
    const ab = zip(a, b, false), ce = zip(c, e, false);
    const abHigh = zip(a, b, true), ceHigh = zip(c, e, true);
    v128.store(to, pick(ab, ce, false));
    v128.store(to + step, pick(ab, ce, true));
    v128.store(to + 2 * step, pick(abHigh, ceHigh, false));
    v128.store(to + 3 * step, pick(abHigh, ceHigh, true));
    to += 4 * step;
  }
  if (d == all) return;
  for (const padded = vectors + 16; d < padded; d += 4) {
    if (d < all) {
      store<f32>(to, load<f32>(r0 + d) * scale);
      store<f32>(to, load<f32>(r1 + d) * scale, 4);
      store<f32>(to, load<f32>(r2 + d) * scale, 8);
      store<f32>(to, load<f32>(r3 + d) * scale, 12);
    } else v128.store(to, f32x4.splat(0));
    to += step;
  }
}

/** Four score rows of `count` keys as [key][4]. */
export function transposeScores(to: usize, s: usize, count: i32): void {
  packFour(to, 16, s, s + SCORE_ROW, s + 2 * SCORE_ROW, s + 3 * SCORE_ROW, count, 1);
}

/** `count` >= 1 rows, `stride` bytes apart, as transposed tiles of 8; rows missing in the last tile repeat the last row. */
export function packEights(to: usize, from: usize, count: i32, stride: usize, dim: i32): void {
  const half = 16 * <usize> ((dim + 3) & ~3);
  const last = count - 1;
  for (let row = 0; row < count; row += 4) {
    const at = to + <usize> (row >> 3) * 2 * half + <usize> (row & 4) * 4;
    packFour(
      at,
      32,
      from + <usize> row * stride,
      from + <usize> min(row + 1, last) * stride,
      from + <usize> min(row + 2, last) * stride,
      from + <usize> min(row + 3, last) * stride,
      dim,
      1,
    );
  }
}

/** One row into its place of the column tiles. */
export function packColumns(to: usize, from: usize, dim: i32): void {
  const stop = from + (<usize> (dim & ~7) << 2);
  while (from < stop) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    from += 32;
    to += COLUMN_TILE;
  }
  const rest = dim & 7;
  if (rest == 0) return;
  v128.store(to, f32x4.splat(0));
  v128.store(to, f32x4.splat(0), 16);
  for (let i: usize = 0; i < <usize> rest << 2; i += 4) store<f32>(to + i, load<f32>(from + i));
}

/** Bytes of one transposed row: the dimension padded to whole vectors. */
// @ts-ignore: decorator
@inline
export function rowBytes(dim: i32): usize {
  return <usize> ((dim + 3) & ~3) << 2;
}

/** Bytes of one row of column tiles: the dimension padded to whole tiles. */
// @ts-ignore: decorator
@inline
export function tileRowBytes(dim: i32): usize {
  return <usize> ((dim + 7) & ~7) << 2;
}

/** One row as it is, times `scale`, padded with zeros to whole vectors. */
export function packPlain(to: usize, from: usize, dim: i32, scale: f32): void {
  const stop = from + (<usize> dim << 2);
  for (; from < stop; from += 4, to += 4) store<f32>(to, load<f32>(from) * scale);
  for (let i = dim; (i & 3) != 0; i++, to += 4) store<f32>(to, 0);
}
