// How cached keys and values lie: blocks of 64 tokens, in each the kv heads one after the other, ready for the tiles of
// attention so that nothing is packed again when they are read.
// Blocks: K as transposed tiles of 8 keys [dim to 4][8], V as tiles of 8 columns [64][8], f32.
// Int8Blocks: codes and one f32 scale per token and head (behind the codes). K as tiles of 8 keys [dim to 4 / 2][8][2], V
// as tiles of 8 columns [32 pairs of tokens][8][2], so that 16 bytes feed two vectors of 16-bit dot products.
import { KeysAs } from "../../wasm/abi";
import { BLOCK, rowBytes, tileRowBytes } from "./pack";

/** Bytes of one head's scales in a block. */
const SCALES: usize = 256;
/** Bytes of a tile of 8 columns of int8 values. */
export const VALUE_TILE: usize = 512;

/** Bytes of the codes of one head's keys in a block; its scales follow. */
// @ts-ignore: decorator
@inline
export function keyCodes(dim: i32): usize {
  return <usize> BLOCK * (rowBytes(dim) >> 2);
}

/** As keyCodes for values. */
// @ts-ignore: decorator
@inline
export function valueCodes(dim: i32): usize {
  return <usize> BLOCK * (tileRowBytes(dim) >> 2);
}

/** Bytes of one head's keys in a block. */
export function keyBlock(kind: i32, dim: i32): usize {
  return kind == KeysAs.Int8Blocks ? keyCodes(dim) + SCALES : <usize> BLOCK * rowBytes(dim);
}

/** Bytes of one head's values in a block. */
export function valueBlock(kind: i32, dim: i32): usize {
  return kind == KeysAs.Int8Blocks ? valueCodes(dim) + SCALES : <usize> BLOCK * tileRowBytes(dim);
}
