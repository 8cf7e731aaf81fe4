// softmax(q k^T * scale) v over a ragged batch, never holding more than 4 rows x 64 keys of scores. Plain IEEE
// operations in a fixed order: a row's bits depend on its query and keys alone, not on build, threads, batch, or
// whether it came by prefill or decode. Spans of 256 keys, counted from key 0, are summed each by itself and then joined
// in ascending order, by one thread or, where queries are few (decode), by several: the same sums either way.
import { KeysAs } from "../../wasm/abi";
import { float, int, ptr } from "../args";
import { packQueries, packQuery } from "./int8";
import { keyBlock } from "./layout";
import { packFour, packPlain, rowBytes, SCORE_ROW } from "./pack";
import { headIndex, partRows, seenBy, sequenceAt } from "./rows";
import { addSpan } from "./span";
import { beginState, joinState, maximumOf, Part, SPAN, stateBytes, sumOf, totalOf } from "./state";

// ints: out, q, sequences, heads, kvHeads, headDim, causal, lse, most rows per part, parts per head, kind of K and V,
// spans per part that are items of their own (0: none), their states; floats: scale.
// Items: (sequence, kv head, part of its rows, span if separate); parts beyond a sequence's rows are empty.
export function attend(scratch: usize, begin: i32, end: i32): void {
  const parts = int(9), spans = int(11), most = max(1, spans);
  for (let item = begin; item < end; item++) {
    const piece = item / most, head = piece / parts;
    // Later parts of a causal sequence see more keys: they go first, so that threads finish together.
    const part = beginPart(scratch, head, parts - 1 - (piece - head * parts));
    if (part === null) continue;
    packRows(part);
    if (spans == 0) {
      writeRows(part, allSpans(part));
    } else {
      const span = item - piece * most;
      if (span * SPAN >= part.stop) continue;
      const state = ptr(12) + <usize> item * stateBytes(int(8), int(5));
      beginState(part, state);
      addSpan(part, state, span * SPAN);
    }
  }
}

// Joins the states of the spans that were items of their own. Arguments as attend's. Items: (sequence, kv head, part).
export function attend_join(scratch: usize, begin: i32, end: i32): void {
  const parts = int(9), spans = int(11);
  for (let item = begin; item < end; item++) {
    const head = item / parts;
    const part = beginPart(scratch, head, parts - 1 - (item - head * parts));
    if (part === null) continue;
    const bytes = stateBytes(int(8), int(5)), state = ptr(12) + <usize> (item * spans) * bytes;
    if (part.stop <= 0) beginState(part, state);
    for (let span = 1; span * SPAN < part.stop; span++) joinState(part, state, state + <usize> span * bytes);
    writeRows(part, state);
  }
}

/** What is to be done for a part of one kv head's rows, and where; null if it has none. */
function beginPart(scratch: usize, item: i32, index: i32): Part | null {
  const kvHeads = int(4), dim = int(5), group = int(3) / kvHeads;
  const sequence = sequenceAt(ptr(2), item / kvHeads), all = sequence.queries * group;
  if (all <= 0) return null;
  const most = partRows(all, int(8)), base = index * most, rows = min(all - base, most);
  if (rows <= 0) return null;
  const part = changetype<Part>(scratch), causal = int(6) != 0;
  part.sequence = sequence;
  part.kvHead = item % kvHeads;
  part.group = group;
  part.causal = causal;
  part.base = base;
  part.rows = rows;
  part.quads = (rows + 2) >> 2;
  part.single = (rows & 3) == 1;
  part.padded = (part.quads << 2) + i32(part.single);
  part.dim = dim;
  part.stop = seenBy(sequence, causal, group, base + rows - 1);
  part.s = scratch + 256;
  part.weights = part.s + 4 * SCORE_ROW;
  part.factors = part.weights + 4 * SCORE_ROW;
  part.times = part.factors + 128;
  part.rowScales = part.times + SCORE_ROW;
  part.queries = part.rowScales + (<usize> (int(8) + 4) << 2);
  part.state = part.queries + <usize> part.padded * rowBytes(dim);
  part.spare = part.state + stateBytes(int(8), dim);
  part.keys = part.spare + stateBytes(int(8), dim);
  part.values = part.keys + keyBlock(KeysAs.Blocks, dim);
  return part;
}

function rowAt(part: Part, row: i32): usize {
  return ptr(1) + (<usize> part.dim << 2) * headIndex(part.sequence.first, int(3), part.kvHead, part.group, row);
}

/** The part's query rows as the tiles take them: quads, and a lone last row as it is. */
function packRows(part: Part): void {
  const dim = part.dim, scale = float(0), bytes = rowBytes(dim), int8 = int(10) == KeysAs.Int8Blocks;
  const last = part.base + part.rows - 1;
  for (let i = 0; i < part.quads; i++) {
    const r = part.base + (i << 2), to = part.queries + 4 * bytes * <usize> i;
    const r0 = rowAt(part, r), r1 = rowAt(part, min(r + 1, last));
    const r2 = rowAt(part, min(r + 2, last)), r3 = rowAt(part, min(r + 3, last));
    if (int8) packQueries(to, part.rowScales + (<usize> i << 4), r0, r1, r2, r3, dim, scale);
    else packFour(to, 16, r0, r1, r2, r3, dim, scale);
  }
  if (part.single) {
    const to = part.queries + 4 * bytes * <usize> part.quads, row = rowAt(part, last);
    if (int8) packQuery(to, part.rowScales + (<usize> part.quads << 4), row, dim, scale);
    else packPlain(to, row, dim, scale);
  }
}

/** All spans, one after the other; answers the state of their sum. */
function allSpans(part: Part): usize {
  beginState(part, part.state);
  if (part.stop > 0) addSpan(part, part.state, 0);
  for (let start = SPAN; start < part.stop; start += SPAN) {
    beginState(part, part.spare);
    addSpan(part, part.spare, start);
    joinState(part, part.state, part.spare);
  }
  return part.state;
}

function writeRows(part: Part, state: usize): void {
  const out = ptr(0), lse = ptr(7), headBytes = <usize> part.dim << 2;
  for (let i = 0; i < part.rows; i++) {
    const index = headIndex(part.sequence.first, int(3), part.kvHead, part.group, part.base + i);
    const total = load<f32>(totalOf(part, state, i));
    const step: usize = part.single && i == part.rows - 1 ? 32 : 128;
    writeRow(out + index * headBytes, sumOf(part, state, i), step, part.dim, total > 0 ? 1 / total : 0);
    if (lse != 0) store<f32>(lse + (index << 2), load<f32>(maximumOf(part, state, i)) + NativeMathf.log(total));
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
