// The end of a packed product: 8 sums of a panel and token become out = y * unit + bias.
import { A, num, place } from "./packed_args";

// @ts-ignore: decorator
@inline
export function finish(panel: i32, token: i32, y0: v128, y1: v128): void {
  const unit = v128.load32_splat(place(A.Units) + (<usize> panel << 2));
  const rows = num(A.Rows), left = rows - 8 * panel;
  const bias = place(A.Bias), shift = <usize> panel << 5;
  let a = f32x4.mul(y0, unit), b = f32x4.mul(y1, unit);
  const out = place(A.Out) + ((<usize> token * <usize> rows) << 2) + shift;
  if (left >= 8) {
    if (bias != 0) {
      a = f32x4.add(a, v128.load(bias + shift));
      b = f32x4.add(b, v128.load(bias + shift, 16));
    }
    v128.store(out, a);
    v128.store(out, b, 16);
  } else {
    finishPart(out, bias == 0 ? 0 : bias + shift, left, a, b);
  }
}

function finishPart(out: usize, bias: usize, left: i32, a: v128, b: v128): void {
  for (let row = 0; row < left; row++) {
    if (row == 4) a = b;
    let y = f32x4.extract_lane(a, 0);
    a = i8x16.shuffle(a, a, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3);
    if (bias != 0) y += load<f32>(bias + (<usize> row << 2));
    store<f32>(out + (<usize> row << 2), y);
  }
}
