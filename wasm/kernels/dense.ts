// Dense products for full precision and training: forward, both backward forms, and the few-row forms of decode.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import { NULL, type Ptr } from "../memory.ts";

/** Operands of {@linkcode gemm}. Strides count elements. */
export interface Gemm {
  /** Result, f32 [m, n] row-major; must not overlap the operands. */
  out: Ptr;
  /** Left operand, f32: A(i, p) = a[i · aRow + p · aCol]. */
  a: Ptr;
  /** Right operand, f32 or bf16: B(p, j) = b[p · bRow + j · bCol]. */
  b: Ptr;
  /** Rows of the result. */
  m: number;
  /** Columns of the result. */
  n: number;
  /** Length of the sums; 0 gives the bias or zeros. */
  k: number;
  /** Distance of A's rows. */
  aRow: number;
  /** Distance of A's columns. */
  aCol: number;
  /** Distance of B's rows. */
  bRow: number;
  /** Distance of B's columns. */
  bCol: number;
  /** How b's values are stored. */
  bKind: "f32" | "bf16";
  /** f32 [n], added to every row. */
  bias?: Ptr;
  /** Adds to what `out` holds. */
  accumulate?: boolean;
  /** Plain multiplies and adds: the same bits on every build, engine and CPU. Default: fused where the host can. */
  exact?: boolean;
}

/** The register tile of kernels/tile.ts. */
const TILE_ROWS = 5;
const TILE_COLUMNS = 8;
/** Largest block: 256 steps of both packed operands and the edge tile fit the 1 MiB of scratch. */
const MOST_ROWS = 340;
const MOST_COLUMNS = 512;
/** Up to here reading B in place beats packing it. */
const FEW = 3;
/** Multiply-adds that are worth handing to another thread. */
const WORTH_SHARING = 32768;
/** Blocks per thread, if each is a millisecond's work: they even out threads of different speed. Small ones cost packing. */
const MOST_BLOCKS = 12, LEAST_BLOCKS = 4;
const MILLISECOND = 2 ** 25;

/** out = A · B (+ bias) (+ out). Bits depend on the sizes and strides, never on the number of threads. */
export function gemm(engine: Engine, product: Gemm): void {
  const { m, n, k, aRow, aCol, bRow, bCol } = product;
  if (m === 0 || n === 0) return;
  const bf16 = product.bKind === "bf16";
  if (m <= FEW && k > 0 && (bRow === 1 || bCol === 1)) {
    fewRows(engine, product, bf16);
  } else if (n <= FEW && k > 0 && aCol === 1) {
    fewColumns(engine, product, bf16);
  } else {
    const [rows, columns] = blocks(m, n, engine.threads, m * n * k);
    const rowBlocks = Math.ceil(m / rows), items = rowBlocks * Math.ceil(n / columns);
    engine.call(Op.Gemm, items, 1, [
      ...[product.out, product.a, product.b, m, n, k, aRow, aCol, bRow, bCol, Number(bf16)],
      ...[
        product.bias ?? NULL,
        Number(product.accumulate ?? false),
        Number(product.exact ?? false),
      ],
      ...[rows, columns, rowBlocks],
    ]);
  }
}

/** Rows and columns of a block: few enough for scratch, and enough blocks to keep all threads busy to the end. */
function blocks(m: number, n: number, threads: number, products: number): [number, number] {
  const up = (size: number, parts: number, tile: number) =>
    Math.ceil(Math.ceil(size / parts) / tile) * tile;
  let rowParts = Math.ceil(m / MOST_ROWS), columnParts = Math.ceil(n / MOST_COLUMNS);
  const even = Math.max(
    threads * LEAST_BLOCKS,
    Math.min(threads * MOST_BLOCKS, products / MILLISECOND),
  );
  const wanted = threads === 1 ? 1 : Math.min(even, Math.ceil(products / WORTH_SHARING));
  for (;;) {
    const rows = up(m, rowParts, TILE_ROWS), columns = up(n, columnParts, TILE_COLUMNS);
    if (rowParts * columnParts >= wanted) return [rows, columns];
    // Every cut makes the other operand be packed once more: cut the longer side.
    if (columns >= rows && columns > 4 * TILE_COLUMNS) columnParts++;
    else if (rows > 4 * TILE_ROWS) rowParts++;
    else if (columns > 4 * TILE_COLUMNS) columnParts++;
    else return [rows, columns];
  }
}

function fewRows(engine: Engine, product: Gemm, bf16: boolean): void {
  const { m, n, k, aRow, aCol, bRow, bCol } = product;
  const inPlace = aCol === 1 && (aRow === k || m === 1);
  withOperand(engine, inPlace, product.a, m, k, aRow, aCol, false, (x) => {
    const byColumns = bRow === 1;
    const each = byColumns ? 4 : 32, items = Math.ceil(n / each);
    engine.call(
      byColumns ? Op.GemvColumns : Op.GemvRows,
      items,
      WORTH_SHARING / (each * m * k),
      [
        ...[product.out, x, product.b, m, n, k, n, 1, product.bias ?? NULL, 0, 1],
        ...[Number(product.accumulate ?? false), byColumns ? bCol : bRow, Number(bf16)],
        ...[Number(product.exact ?? false)],
      ],
    );
  });
}

/** The transposed product: the few columns of B play the rows, A's rows the contiguous columns. */
function fewColumns(engine: Engine, product: Gemm, bf16: boolean): void {
  const { m, n, k, aRow, bRow, bCol } = product;
  const inPlace = !bf16 && bRow === 1 && (bCol === k || n === 1);
  withOperand(engine, inPlace, product.b, n, k, bCol, bRow, bf16, (x) => {
    const items = Math.ceil(m / 4);
    engine.call(Op.GemvColumns, items, WORTH_SHARING / (4 * n * k), [
      ...[product.out, x, product.a, n, m, k, 1, n, product.bias ?? NULL, 1, 0],
      ...[Number(product.accumulate ?? false), aRow, 0, Number(product.exact ?? false)],
    ]);
  });
}

/** Runs `body` with the few-row operand as contiguous f32 [rows, k]. */
function withOperand(
  engine: Engine,
  inPlace: boolean,
  source: Ptr,
  rows: number,
  k: number,
  row: number,
  column: number,
  bf16: boolean,
  body: (x: Ptr) => void,
): void {
  if (inPlace) return body(source);
  const copy = engine.memory.allocate(rows * k * 4);
  try {
    engine.call(Op.GatherOperand, rows, rows, [copy, source, k, row, column, Number(bf16)]);
    body(copy);
  } finally {
    engine.memory.free(copy);
  }
}
