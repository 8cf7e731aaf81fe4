// Rows of a packed weight as f32: s^ = unit * m, out = s^ (q - z), as `dequantize` of src/formats gives them. For the
// embedding, the f32-activation path and export.
import { store4 } from "./lanes";
import { A, num, place } from "./packed_args";
import { scales8, zeros8 } from "./packed_scales";

// @ts-ignore: decorator
@inline
function codeAt(bits: i32, pair: usize, quad: usize, byte: usize, word: usize): i32 {
  if (bits == 2) return (<i32> load<u8>(pair + 32 * quad + 16 * (word >> 2) + byte) >> <i32> (2 * (word & 3))) & 3;
  if (bits == 3) {
    const low = (<i32> load<u8>(pair + 32 * quad + 16 * (word >> 2) + byte) >> <i32> (2 * (word & 3))) & 3;
    return low | ((<i32> load<u8>(pair + 64 + 16 * quad + byte) >> <i32> word) & 1) << 2;
  }
  const at = pair + 64 * quad + 16 * (word >> 1) + byte;
  const low = (<i32> load<u8>(at) >> <i32> (4 * (word & 1))) & 15;
  if (bits == 4) return low;
  return low | ((<i32> load<u8>(at, 128) >> <i32> (4 * (word & 1))) & 15) << 4;
}

// Arguments: packed_args.ts, with `tokens` i32 row numbers at Activations, or the rows from Sums on when that is 0;
// Chunks is the columns' count here. Items: wanted rows.
export function dequantize_rows(begin: i32, end: i32, scratch: usize): void {
  const columns = num(A.Chunks), bits = num(A.Bits), size = num(A.Group), ids = place(A.Activations);
  for (let i = begin; i < end; i++) {
    const row = ids != 0 ? load<i32>(ids + (<usize> i << 2)) : num(A.Sums) + i;
    const panel = row >> 3, quad = <usize> (row >> 2) & 1, lane = <usize> (row & 7);
    const unit = load<f32>(place(A.Units) + (<usize> panel << 2));
    const codes = place(A.Codes) + <usize> panel * <usize> num(A.PanelCodes);
    const pairCodes = <usize> (bits == 2 ? 64 : bits == 3 ? 96 : bits == 4 ? 128 : 256);
    const out = place(A.Out) + ((<usize> i * <usize> columns) << 2);
    let group = -1;
    let scale = f32x4.splat(0), zero = i32x4.splat(0);
    for (let column = 0; column < columns; column += 4) {
      if (column / size != group) {
        group = column / size;
        v128.store(scratch, scales8(panel, group));
        v128.store(scratch, zeros8(panel, group), 16);
        scale = f32x4.splat(unit * <f32> load<i16>(scratch + 2 * lane));
        zero = i32x4.splat(load<i16>(scratch + 16 + 2 * lane));
      }
      const pair = codes + <usize> (column >> 5) * pairCodes;
      const byte = 4 * (lane & 3) + 2 * (<usize> (column >> 4) & 1), word = <usize> (column & 15) >> 1;
      let q = i32x4.splat(codeAt(bits, pair, quad, byte, word));
      q = i32x4.replace_lane(q, 1, codeAt(bits, pair, quad, byte + 1, word));
      q = i32x4.replace_lane(q, 2, codeAt(bits, pair, quad, byte, word + 1));
      q = i32x4.replace_lane(q, 3, codeAt(bits, pair, quad, byte + 1, word + 1));
      const value = f32x4.mul(scale, f32x4.convert_i32x4_s(i32x4.sub(q, zero)));
      store4(out + (<usize> column << 2), value, <usize> (columns - column) << 2);
    }
  }
}
