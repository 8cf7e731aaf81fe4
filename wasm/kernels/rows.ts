// Moving rows of f32 values. Indices are not checked here: whoever made them has compared them with the table.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import { NULL, type Ptr } from "../memory.ts";

/** out[i] = table[ids[i]] as f32; ids i32 [count], table f32 or bf16 [any, dim]. Embedding lookup. */
export function gatherRows(
  engine: Engine,
  out: Ptr,
  table: Ptr,
  kind: "f32" | "bf16",
  ids: Ptr,
  count: number,
  dim: number,
): void {
  const grain = 16384 / dim;
  engine.call(Op.GatherRows, count, grain, [out, table, Number(kind === "bf16"), ids, dim]);
}

/** table[ids[i]] += rows[i], repeated ids added in order. The gradient of an embedding; table f32. */
export function scatterAddRows(
  engine: Engine,
  table: Ptr,
  rows: Ptr,
  ids: Ptr,
  count: number,
  dim: number,
): void {
  const items = Math.ceil(dim / 16);
  const grain = 1024 / Math.max(1, count);
  engine.call(Op.ScatterAddRows, items, grain, [table, rows, ids, count, dim]);
}

/** x[at[i]] = rows[i], or 0 where `rows` is NULL; `at` i32 [count] without repeats. In place. */
export function replaceRows(
  engine: Engine,
  x: Ptr,
  rows: Ptr,
  at: Ptr,
  count: number,
  dim: number,
): void {
  engine.call(Op.ReplaceRows, count, 16384 / dim, [x, rows, at, dim]);
}

/**
 * x [tiles, 1 + grid², dim] with the class token first -> out [tiles, (grid / 2)², 4 · dim], the class token dropped,
 * neighbours in the order of InternVL's ps_version v2; grid even.
 */
export function pixelShuffle(
  engine: Engine,
  out: Ptr,
  x: Ptr,
  tiles: number,
  grid: number,
  dim: number,
): void {
  shuffle(engine, out, x, tiles, grid, dim, false);
}

/** The way back: dx from dout, class token 0. */
export function pixelShuffleBackward(
  engine: Engine,
  dx: Ptr,
  dout: Ptr,
  tiles: number,
  grid: number,
  dim: number,
): void {
  shuffle(engine, dout, dx, tiles, grid, dim, true);
}

function shuffle(
  engine: Engine,
  shuffled: Ptr,
  tokens: Ptr,
  tiles: number,
  grid: number,
  dim: number,
  inverse: boolean,
): void {
  const items = tiles * grid / 2, grain = 8192 / (dim * grid);
  engine.call(Op.PixelShuffle, items, grain, [shuffled, tokens, grid, dim, Number(inverse)]);
}

/**
 * out [tiles, tokensPerTile, dim] from patches [tiles, tokensPerTile - 1, dim], the class token cls [dim] put first,
 * and positions [tokensPerTile, dim] added.
 */
export function assembleTokens(
  engine: Engine,
  out: Ptr,
  patches: Ptr,
  cls: Ptr,
  positions: Ptr,
  tiles: number,
  tokensPerTile: number,
  dim: number,
): void {
  const items = tiles * tokensPerTile, grain = 8192 / dim;
  engine.call(Op.AssembleTokens, items, grain, [out, patches, cls, positions, tokensPerTile, dim]);
}

/** Gradients of {@linkcode assembleTokens}: dpatches written, dcls and dpositions added to; each may be NULL. */
export function assembleTokensBackward(
  engine: Engine,
  dpatches: Ptr,
  dcls: Ptr,
  dpositions: Ptr,
  dout: Ptr,
  tiles: number,
  tokensPerTile: number,
  dim: number,
): void {
  if (dpatches === NULL && dcls === NULL && dpositions === NULL) return;
  const grain = 8192 / (dim * Math.max(1, tiles));
  engine.call(Op.AssembleTokensBackward, tokensPerTile, grain, [
    ...[dpatches, dcls, dpositions, dout, tiles, tokensPerTile, dim],
  ]);
}

/**
 * out f32 [tiles · (imageSize / patch)², 3 · patch²] from tiles u8 [tile, row, column, rgb]: features in the order
 * channel, row, column (a convolution's weight, flattened), value (u8 / 255 - mean) / std of the channel.
 */
export function extractPatches(
  engine: Engine,
  out: Ptr,
  pixels: Ptr,
  tiles: number,
  imageSize: number,
  patch: number,
  mean: readonly [number, number, number],
  std: readonly [number, number, number],
): void {
  const items = tiles * Math.floor(imageSize / patch) ** 2;
  const grain = 4096 / (3 * patch * patch);
  engine.call(Op.ExtractPatches, items, grain, [out, pixels, imageSize, patch], [...mean, ...std]);
}
