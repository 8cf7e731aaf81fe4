// Dense matrix product over tiles: out [m, n] = base + A * B, A(i, p) f32 and B(p, j) f32 or bf16 with any strides.
// An item is one block of `rows` x `columns` of out, computed whole by one thread. Per DEPTH steps of the sum the block
// packs its share of both operands into scratch, then sweeps register tiles: a sliver of b stays in the first-level
// cache while the slivers of a pass by. DEPTH alone decides the order of the sums, so blocks never change a result.
import { int, ptr } from "./args";
import { packColumns, packColumnsWide, packRows, packRowsWide, WIDE_COLUMNS, WIDE_ROWS } from "./pack";
import { TILE_COLUMNS, TILE_ROWS, tileExact, tileFused } from "./tile";

/** Steps of the sum per packed block: 5 KiB of a and 8 KiB of b per register tile. */
const DEPTH: i32 = 256;

// A tile at the edge is computed whole in scratch; only the part inside out is copied.
function copyEdge(
  out: usize, outStride: usize, base: usize, baseStride: usize, tile: usize, rows: i32, columns: i32,
): void {
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < columns; j++) {
      const at = <usize> j << 2;
      store<f32>(out + at, load<f32>(base + at) + load<f32>(tile + at));
    }
    out += outStride;
    base += baseStride;
    tile += 32;
  }
}

// out += bias in one block, for products that add to out.
function addBias(out: usize, outStride: usize, bias: usize, rows: i32, columns: i32): void {
  for (let r = 0; r < rows; r++) {
    for (let j: usize = 0; j < <usize> columns << 2; j += 4) store<f32>(out + j, load<f32>(out + j) + load<f32>(bias + j));
    out += outStride;
  }
}

// ints: out, a, b, m, n, k, aRow, aCol, bRow, bCol (strides in elements), bf16, bias, accumulate, exact, rows, columns
// (of a block), blocks of rows.
// scratch: 64 zero bytes, a 5x8 edge tile, packed b, packed a.
export function gemm(begin: i32, end: i32, scratch: usize): void {
  const m = int(3), n = int(4), k = int(5);
  const bf16 = int(10) != 0, bias = ptr(11), accumulate = int(12) != 0, exact = int(13) != 0;
  const rows = int(14), columns = int(15), rowBlocks = int(16);
  const bShift: usize = bf16 ? 1 : 2;
  const aRow = <usize> int(6) << 2, aCol = <usize> int(7) << 2;
  const bRow = <usize> int(8) << bShift, bCol = <usize> int(9) << bShift;
  const outStride = <usize> n << 2;
  const zeros = scratch, edge = scratch + 64;
  const packedB = scratch + 256;
  const packedA = packedB + (<usize> columns * DEPTH << 2);
  memory.fill(zeros, 0, 64);

  for (let item = begin; item < end; item++) {
    const i0 = (item % rowBlocks) * rows, j0 = (item / rowBlocks) * columns;
    const iEnd = min(i0 + rows, m), jEnd = min(j0 + columns, n);
    if (accumulate && bias) {
      const at = <usize> j0 << 2;
      addBias(ptr(0) + <usize> i0 * outStride + at, outStride, bias + at, iEnd - i0, jEnd - j0);
    }
    let p0 = 0;
    do {
      const depth = min(DEPTH, k - p0);
      const sliverA = <usize> depth * 20, sliverB = <usize> depth * 32;
      let to = packedA;
      let i = i0;
      if (aRow == 4) {
        for (; i + WIDE_ROWS <= iEnd; i += WIDE_ROWS) {
          packRowsWide(to, sliverA, ptr(1) + <usize> i * aRow + <usize> p0 * aCol, depth, aCol);
          to += 4 * sliverA;
        }
      }
      for (; i < iEnd; i += TILE_ROWS) {
        const from = ptr(1) + <usize> i * aRow + <usize> p0 * aCol;
        packRows(to, from, min(TILE_ROWS, iEnd - i), depth, aRow, aCol);
        to += sliverA;
      }
      to = packedB;
      let j = j0;
      if (bCol == <usize> 1 << bShift) {
        for (; j + WIDE_COLUMNS <= jEnd; j += WIDE_COLUMNS) {
          packColumnsWide(to, sliverB, ptr(2) + <usize> p0 * bRow + <usize> j * bCol, depth, bRow, bf16);
          to += 4 * sliverB;
        }
      }
      for (; j < jEnd; j += TILE_COLUMNS) {
        const from = ptr(2) + <usize> p0 * bRow + <usize> j * bCol;
        packColumns(to, from, min(TILE_COLUMNS, jEnd - j), depth, bCol, bRow, bf16);
        to += sliverB;
      }

      let b = packedB;
      for (let j = j0; j < jEnd; j += TILE_COLUMNS) {
        let a = packedA;
        for (let i = i0; i < iEnd; i += TILE_ROWS) {
          const out = ptr(0) + <usize> i * outStride + (<usize> j << 2);
          let base = out, baseStride = outStride;
          if (p0 == 0 && !accumulate) {
            base = bias ? bias + (<usize> j << 2) : zeros;
            baseStride = 0;
          }
          const whole = i + TILE_ROWS <= iEnd && j + TILE_COLUMNS <= jEnd;
          const to = whole ? out : edge, toStride: usize = whole ? outStride : 32;
          const from = whole ? base : zeros, fromStride: usize = whole ? baseStride : 0;
          if (exact) tileExact(to, toStride, from, fromStride, a, b, depth);
          else tileFused(to, toStride, from, fromStride, a, b, depth);
          if (!whole) {
            copyEdge(out, outStride, base, baseStride, edge, min(TILE_ROWS, iEnd - i), min(TILE_COLUMNS, jEnd - j));
          }
          a += sliverA;
        }
        b += sliverB;
      }
      p0 += DEPTH;
    } while (p0 < k);
  }
}
