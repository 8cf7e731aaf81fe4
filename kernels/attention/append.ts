// Puts rows of new keys and values into a cache (layout.ts). Int8: scale = largest magnitude / 127 per token and head,
// code = nearest(x * (127 / largest)); rows below 2^-100 become zeros. Plain IEEE operations: the same bits everywhere.
import { KeysAs } from "../../wasm/abi";
import { int, ptr } from "../args";
import { load4 } from "../lanes";
import { keyBlock, keyCodes, VALUE_TILE, valueBlock, valueCodes } from "./layout";
import { BLOCK, packColumns } from "./pack";
import { codes4, inverseOf, largestOf } from "./round";

const MOST: f32 = 127;

// ints: cached keys, cached values, k, v, position of the first row, kvHeads, headDim, kind. Items: rows (tokens).
export function append_keys_values(begin: i32, end: i32): void {
  const kvHeads = int(5), dim = int(6), kind = int(7);
  const keyBytes = keyBlock(kind, dim), valueBytes = valueBlock(kind, dim), headBytes = <usize> dim << 2;
  for (let row = begin; row < end; row++) {
    const token = int(4) + row, slot = token & (BLOCK - 1);
    for (let head = 0; head < kvHeads; head++) {
      const from = (<usize> row * kvHeads + head) * headBytes, block = <usize> (token / BLOCK) * kvHeads + head;
      const k = ptr(0) + block * keyBytes, v = ptr(1) + block * valueBytes;
      if (kind == KeysAs.Int8Blocks) {
        keyRow(k, ptr(2) + from, slot, dim);
        valueRow(v, ptr(3) + from, slot, dim);
      } else {
        transposedRow(k, ptr(2) + from, slot, dim);
        packColumns(v + (<usize> slot << 5), ptr(3) + from, dim);
      }
    }
  }
}

function transposedRow(block: usize, from: usize, slot: i32, dim: i32): void {
  const padded = (dim + 3) & ~3;
  let to = block + (<usize> (slot >> 3) * <usize> padded << 5) + (<usize> (slot & 7) << 2);
  for (let d = 0; d < padded; d++, to += 32) store<f32>(to, d < dim ? load<f32>(from + (<usize> d << 2)) : 0);
}

function keyRow(block: usize, from: usize, slot: i32, dim: i32): void {
  const bytes = <usize> dim << 2, largest = largestOf(from, bytes);
  store<f32>(block + keyCodes(dim) + (<usize> slot << 2), largest / MOST);
  const inverse = f32x4.splat(inverseOf(largest, MOST)), most = f32x4.splat(MOST);
  const padded = <usize> ((dim + 3) & ~3);
  let to = block + (<usize> (slot >> 3) * padded << 3) + (<usize> (slot & 7) << 1);
  for (let d: usize = 0; d < bytes; d += 16, to += 32) {
    const codes = codes4(load4(from + d, bytes - d), inverse, most);
    store<u8>(to, <u8> i32x4.extract_lane(codes, 0));
    store<u8>(to, <u8> i32x4.extract_lane(codes, 1), 1);
    store<u8>(to, <u8> i32x4.extract_lane(codes, 2), 16);
    store<u8>(to, <u8> i32x4.extract_lane(codes, 3), 17);
  }
}

function valueRow(block: usize, from: usize, slot: i32, dim: i32): void {
  const bytes = <usize> dim << 2, largest = largestOf(from, bytes);
  store<f32>(block + valueCodes(dim) + (<usize> slot << 2), largest / MOST);
  const inverse = f32x4.splat(inverseOf(largest, MOST)), most = f32x4.splat(MOST);
  const to = block + (<usize> (slot >> 1) << 4) + <usize> (slot & 1);
  for (let d: usize = 0; d < bytes; d += 16) {
    const codes = codes4(load4(from + d, bytes - d), inverse, most);
    const at = to + (d >> 5) * VALUE_TILE + ((d & 16) >> 1);
    store<u8>(at, <u8> i32x4.extract_lane(codes, 0));
    store<u8>(at, <u8> i32x4.extract_lane(codes, 1), 2);
    store<u8>(at, <u8> i32x4.extract_lane(codes, 2), 4);
    store<u8>(at, <u8> i32x4.extract_lane(codes, 3), 6);
  }
}
