// softmax(q k^T * scale) v over a ragged batch, never holding more than 4 rows x 64 keys of scores. Plain IEEE
// operations in a fixed order: a row's bits depend on its query and keys alone, not on build, threads, batch, or
// whether it came by prefill or decode (blocks of keys start at key 0 for everybody).
import { float, int, ptr } from "../args";
import {
  BLOCK,
  COLUMN_TILE,
  packColumns,
  packEights,
  packFour,
  packPlain,
  rowBytes,
  SCORE_ROW,
  tileRowBytes,
  transposeScores,
} from "./pack";
import { headIndex, partRows, seenBy, Sequence, sequenceAt } from "./rows";
import { LOWEST, softmaxFour, softmaxRow } from "./softmax";
import { mix1, mix4, scores1, scores4 } from "./tiles";

// ints: out, q, sequences, heads, kvHeads, headDim, causal, lse, most rows per part, parts per head; floats: scale.
// Items: (sequence, kv head, part of its rows); parts beyond a sequence's rows are empty.
export function attend(scratch: usize, begin: i32, end: i32): void {
  const kvHeads = int(4), parts = int(9);
  for (let item = begin; item < end; item++) {
    const head = item / parts;
    const sequence = sequenceAt(ptr(2), head / kvHeads);
    // Later parts of a causal sequence see more keys: they go first, so that threads finish together.
    attendPart(scratch, sequence, head % kvHeads, parts - 1 - (item - head * parts));
  }
}

function attendPart(scratch: usize, sequence: Sequence, kvHead: i32, part: i32): void {
  const heads = int(3), kvHeads = int(4), dim = int(5), causal = int(6) != 0;
  const group = heads / kvHeads, all = sequence.queries * group;
  if (all <= 0) return;
  const most = partRows(all, int(8)), base = part * most;
  const rows = min(all - base, most);
  if (rows <= 0) return;
  const quads = (rows + 2) >> 2, single = (rows & 3) == 1;
  const padded = (quads << 2) + i32(single);
  const bytes = rowBytes(dim), tileBytes = tileRowBytes(dim), headBytes = <usize> dim << 2;
  const tiles = (dim + 7) >> 3;

  const keys = scratch, values = keys + <usize> BLOCK * bytes;
  const s = values + <usize> BLOCK * tileBytes, weights = s + 4 * SCORE_ROW;
  const factors = weights + 4 * SCORE_ROW;
  const queries = factors + 64, sums = queries + <usize> padded * bytes;
  const maxima = sums + <usize> padded * tileBytes, totals = maxima + (<usize> padded << 2);

  const q = ptr(1), scale = float(0), first = sequence.first;
  for (let i = 0; i < quads; i++) {
    const r = base + (i << 2), last = base + rows - 1;
    packFour(
      queries + 4 * bytes * <usize> i,
      16,
      q + headBytes * headIndex(first, heads, kvHead, group, r),
      q + headBytes * headIndex(first, heads, kvHead, group, min(r + 1, last)),
      q + headBytes * headIndex(first, heads, kvHead, group, min(r + 2, last)),
      q + headBytes * headIndex(first, heads, kvHead, group, min(r + 3, last)),
      dim,
      scale,
    );
  }
  if (single) {
    const row = headIndex(first, heads, kvHead, group, base + rows - 1);
    packPlain(queries + 4 * bytes * <usize> quads, q + headBytes * row, dim, scale);
  }
  memory.fill(sums, 0, <usize> padded * tileBytes);
  for (let i = 0; i < padded; i++) {
    store<f32>(maxima + (<usize> i << 2), LOWEST);
    store<f32>(totals + (<usize> i << 2), 0);
  }

  const stride = <usize> kvHeads * headBytes;
  const k = sequence.k + <usize> kvHead * headBytes, v = sequence.v + <usize> kvHead * headBytes;
  // Few rows do not earn back a copy of V.
  const direct = rows <= 4 && (dim & 7) == 0;
  const rowStep = direct ? stride : 32, tileStep = direct ? 32 : COLUMN_TILE;
  const stop = seenBy(sequence, causal, group, base + rows - 1);
  for (let start = 0; start < stop; start += BLOCK) {
    const here = min(BLOCK, stop - start), at = <usize> start * stride;
    packEights(keys, k + at, here, stride, dim);
    let from = v + at;
    if (!direct) {
      for (let i = 0; i < here; i++) packColumns(values + (<usize> i << 5), from + <usize> i * stride, dim);
      from = values;
    }
    for (let i = 0; i < quads; i++) {
      const row = i << 2, last = min(base + row + 3, base + rows - 1);
      const count = min(here, seenBy(sequence, causal, group, last) - start);
      if (count <= 0) continue;
      scores4(s, queries + <usize> row * bytes, keys, bytes, (count + 7) >> 3);
      softmaxFour(
        s,
        seenBy(sequence, causal, group, base + row) - start,
        seenBy(sequence, causal, group, min(base + row + 1, last)) - start,
        seenBy(sequence, causal, group, min(base + row + 2, last)) - start,
        seenBy(sequence, causal, group, last) - start,
        count,
        maxima + (<usize> row << 2),
        totals + (<usize> row << 2),
        factors,
      );
      transposeScores(weights, s, count);
      mix4(sums + <usize> row * tileBytes, weights, from, rowStep, tileStep, factors, count, tiles);
    }
    if (single) {
      const row = quads << 2, state = <usize> row << 2;
      scores1(s, queries + <usize> row * bytes, keys, bytes, (here + 7) >> 3);
      const f = softmaxRow(s, here, maxima + state, totals + state);
      mix1(sums + <usize> row * tileBytes, s, from, rowStep, tileStep, f, here, tiles);
    }
  }

  const out = ptr(0), lse = ptr(7);
  for (let i = 0; i < rows; i++) {
    const index = headIndex(first, heads, kvHead, group, base + i);
    const total = load<f32>(totals + (<usize> i << 2));
    const alone = single && i == rows - 1;
    const sum = alone
      ? sums + <usize> i * tileBytes
      : sums + <usize> (i & ~3) * tileBytes + (<usize> (i & 3) << 5);
    writeRow(out + index * headBytes, sum, alone ? 32 : 128, dim, total > 0 ? 1 / total : 0);
    if (lse != 0) {
      store<f32>(lse + (index << 2), load<f32>(maxima + (<usize> i << 2)) + NativeMathf.log(total));
    }
  }
}

/** One row out of accumulator tiles that lie `step` bytes apart, times `scale`. */
export function writeRow(out: usize, sums: usize, step: usize, dim: i32, scale: f32): void {
  const factor = f32x4.splat(scale);
  const stop = out + (<usize> dim << 2);
  while (out + 32 <= stop) {
    v128.store(out, f32x4.mul(v128.load(sums), factor));
    v128.store(out, f32x4.mul(v128.load(sums, 16), factor), 16);
    out += 32;
    sums += step;
  }
  for (; out < stop; out += 4, sums += 4) store<f32>(out, load<f32>(sums) * scale);
}
