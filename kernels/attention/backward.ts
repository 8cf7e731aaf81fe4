// Gradients of attention. With P = exp(S - lse), S = q k^T * scale and delta = sum(dout * out) per row:
// dS = P * (dout v^T - delta); dq = scale * dS k; dk = scale * dS^T q; dv = P^T dout.
// Two jobs, each recomputing its part of P: one over queries for dq, one over keys for dk and dv, so that every row is
// summed whole by one thread in a fixed order (for dk and dv: over queries, then over the heads that share the kv head).
import { float, int, ptr } from "../args";
import { exp4 } from "../exp";
import { madd, sumLanes } from "../lanes";
import { writeRow } from "./forward";
import { BLOCK, packColumns, packEights, packFour, rowBytes, SCORE_ROW, tileRowBytes, transposeScores } from "./pack";
import { headIndex, partRows, seenBy, Sequence, sequenceAt } from "./rows";
import { mix4Fused, scores4Fused } from "./tiles";

/** Bytes set aside for the factors of mix4, all 1 here. */
const FACTORS: usize = 64;

function dot(a: usize, b: usize, dim: i32): f32 {
  const stop = a + (<usize> dim << 2);
  let sum = f32x4.splat(0);
  for (; a + 16 <= stop; a += 16, b += 16) sum = madd(v128.load(a), v128.load(b), sum);
  let total = sumLanes(sum);
  for (; a < stop; a += 4, b += 4) total += load<f32>(a) * load<f32>(b);
  return total;
}

function fillOnes(at: usize): void {
  v128.store(at, f32x4.splat(1));
}

/** Packs rows [row, row + 4) of the group; rows beyond `last` repeat it. `step` as in packFour. */
function packRows(to: usize, step: usize, from: usize, sequence: Sequence, kvHead: i32, row: i32, last: i32, scale: f32): void {
  const heads = int(3), dim = int(5), group = heads / int(4), headBytes = <usize> dim << 2;
  const first = sequence.first;
  packFour(
    to,
    step,
    from + headBytes * headIndex(first, heads, kvHead, group, row),
    from + headBytes * headIndex(first, heads, kvHead, group, min(row + 1, last)),
    from + headBytes * headIndex(first, heads, kvHead, group, min(row + 2, last)),
    from + headBytes * headIndex(first, heads, kvHead, group, min(row + 3, last)),
    dim,
    scale,
  );
}

// ints: dq, q, sequences, heads, kvHeads, headDim, causal, lse, most rows per part, parts per head, dout, out;
// floats: scale. Items: (sequence, kv head, part of its rows).
export function attend_backward_queries(scratch: usize, begin: i32, end: i32): void {
  const kvHeads = int(4), parts = int(9);
  for (let item = begin; item < end; item++) {
    const head = item / parts;
    queriesPart(scratch, sequenceAt(ptr(2), head / kvHeads), head % kvHeads, parts - 1 - (item - head * parts));
  }
}

function queriesPart(scratch: usize, sequence: Sequence, kvHead: i32, part: i32): void {
  const heads = int(3), kvHeads = int(4), dim = int(5), causal = int(6) != 0;
  const group = heads / kvHeads, all = sequence.queries * group;
  if (all <= 0) return;
  const most = partRows(all, int(8)), base = part * most;
  const rows = min(all - base, most);
  if (rows <= 0) return;
  const padded = <usize> ((rows + 3) & ~3), last = base + rows - 1;
  const bytes = rowBytes(dim), tileBytes = tileRowBytes(dim), headBytes = <usize> dim << 2;
  const tiles = (dim + 7) >> 3;

  const keys = scratch, values = keys + <usize> BLOCK * bytes;
  const keyColumns = values + <usize> BLOCK * bytes;
  const s = keyColumns + <usize> BLOCK * tileBytes, d = s + 4 * SCORE_ROW;
  const weights = d + 4 * SCORE_ROW, ones = weights + 4 * SCORE_ROW;
  const queries = ones + FACTORS, douts = queries + padded * bytes;
  const sums = douts + padded * bytes, norms = sums + padded * tileBytes, deltas = norms + (padded << 2);

  const q = ptr(1), lse = ptr(7), dout = ptr(10), out = ptr(11);
  fillOnes(ones);
  memory.fill(sums, 0, padded * tileBytes);
  for (let i = 0; i < rows; i += 4) {
    const at = <usize> i * bytes;
    packRows(queries + at, 16, q, sequence, kvHead, base + i, last, float(0));
    packRows(douts + at, 16, dout, sequence, kvHead, base + i, last, 1);
  }
  for (let i = 0; i < <i32> padded; i++) {
    const index = headIndex(sequence.first, heads, kvHead, group, min(base + i, last));
    store<f32>(norms + (<usize> i << 2), load<f32>(lse + (index << 2)));
    store<f32>(deltas + (<usize> i << 2), dot(dout + index * headBytes, out + index * headBytes, dim));
  }

  const stride = <usize> kvHeads * headBytes;
  const k = sequence.k + <usize> kvHead * headBytes, v = sequence.v + <usize> kvHead * headBytes;
  const stop = seenBy(sequence, causal, group, last);
  for (let start = 0; start < stop; start += BLOCK) {
    const here = min(BLOCK, stop - start), at = <usize> start * stride;
    packEights(keys, k + at, here, stride, dim);
    packEights(values, v + at, here, stride, dim);
    for (let i = 0; i < here; i++) packColumns(keyColumns + (<usize> i << 5), k + at + <usize> i * stride, dim);
    for (let i = 0; i < rows; i += 4) {
      const count = min(here, seenBy(sequence, causal, group, min(base + i + 3, last)) - start);
      if (count <= 0) continue;
      scores4Fused(s, queries + <usize> i * bytes, keys, bytes, (count + 7) >> 3);
      scores4Fused(d, douts + <usize> i * bytes, values, bytes, (count + 7) >> 3);
      for (let j = 0; j < 4; j++) {
        const seen = min(count, seenBy(sequence, causal, group, min(base + i + j, last)) - start);
        const row = <usize> j * SCORE_ROW, state = <usize> (i + j) << 2;
        scoreGradient(s + row, d + row, seen, count, load<f32>(norms + state), load<f32>(deltas + state));
      }
      transposeScores(weights, d, count);
      mix4Fused(sums + <usize> i * tileBytes, weights, keyColumns, ones, count, tiles);
    }
  }
  for (let i = 0; i < rows; i++) {
    const to = ptr(0) + headBytes * headIndex(sequence.first, heads, kvHead, group, base + i);
    writeRow(to, sums + <usize> (i & ~3) * tileBytes + (<usize> (i & 3) << 5), 128, dim, float(0));
  }
}

/** d[0, seen) = exp(s - lse) * (d - delta) and zeros up to `count`, for one query. */
function scoreGradient(s: usize, d: usize, seen: i32, count: i32, lse: f32, delta: f32): void {
  const l = f32x4.splat(lse), shift = f32x4.splat(delta);
  const bytes = <usize> max(0, seen) << 2, end = <usize> count << 2;
  for (let i: usize = 0; i < bytes; i += 16) {
    const p = exp4(f32x4.sub(v128.load(s + i), l));
    v128.store(d + i, f32x4.mul(p, f32x4.sub(v128.load(d + i), shift)));
  }
  for (let i = bytes; i < end; i += 4) store<f32>(d + i, 0);
}

// ints: dk, q, sequences, heads, kvHeads, headDim, causal, lse, most keys per part, parts per head, dout, out, dv, k, v;
// floats: scale. Items: (sequence, kv head, part of its keys).
export function attend_backward_keys(scratch: usize, begin: i32, end: i32): void {
  const kvHeads = int(4), parts = int(9);
  for (let item = begin; item < end; item++) {
    const head = item / parts;
    keysPart(scratch, sequenceAt(ptr(2), head / kvHeads), head % kvHeads, item - head * parts);
  }
}

/** First row of the group that sees a key. */
// @ts-ignore: decorator
@inline
function seesFrom(sequence: Sequence, causal: bool, group: i32, key: i32): i32 {
  return causal ? max(0, key - sequence.position) * group : 0;
}

function keysPart(scratch: usize, sequence: Sequence, kvHead: i32, part: i32): void {
  const heads = int(3), kvHeads = int(4), dim = int(5), causal = int(6) != 0;
  const group = heads / kvHeads, rows = sequence.queries * group, all = sequence.keys;
  if (all <= 0) return;
  const most = partRows(all, int(8)), base = part * most;
  const keys = min(all - base, most);
  if (keys <= 0) return;
  const padded = <usize> ((keys + 3) & ~3), last = base + keys - 1;
  const bytes = rowBytes(dim), tileBytes = tileRowBytes(dim), headBytes = <usize> dim << 2;
  const tiles = (dim + 7) >> 3, block = <usize> BLOCK;

  const queries = scratch, douts = queries + block * bytes;
  const queryColumns = douts + block * bytes, doutColumns = queryColumns + block * tileBytes;
  const s = doutColumns + block * tileBytes, d = s + 4 * SCORE_ROW;
  const weights = d + 4 * SCORE_ROW, ones = weights + 4 * SCORE_ROW;
  const norms = ones + FACTORS, deltas = norms + SCORE_ROW;
  const k4 = deltas + SCORE_ROW, v4 = k4 + padded * bytes;
  const dkSums = v4 + padded * bytes, dvSums = dkSums + padded * tileBytes;

  const q = ptr(1), lse = ptr(7), dout = ptr(10), out = ptr(11);
  const stride = <usize> kvHeads * headBytes;
  const kBytes = sequence.k - ptr(13) + <usize> kvHead * headBytes;
  const vBytes = sequence.v - ptr(14) + <usize> kvHead * headBytes;
  fillOnes(ones);
  memory.fill(dkSums, 0, 2 * padded * tileBytes);
  for (let i = 0; i < keys; i += 4) {
    const r0 = <usize> (base + i) * stride, r1 = <usize> min(base + i + 1, last) * stride;
    const r2 = <usize> min(base + i + 2, last) * stride, r3 = <usize> min(base + i + 3, last) * stride;
    const k = ptr(13) + kBytes, v = ptr(14) + vBytes, at = <usize> i * bytes;
    packFour(k4 + at, 16, k + r0, k + r1, k + r2, k + r3, dim, float(0));
    packFour(v4 + at, 16, v + r0, v + r1, v + r2, v + r3, dim, 1);
  }

  for (let start = seesFrom(sequence, causal, group, base) & ~(BLOCK - 1); start < rows; start += BLOCK) {
    const here = min(BLOCK, rows - start);
    for (let i = 0; i < here; i += 4) {
      const at = 8 * bytes * <usize> (i >> 3) + (<usize> (i & 4) << 2);
      packRows(queries + at, 32, q, sequence, kvHead, start + i, rows - 1, 1);
      packRows(douts + at, 32, dout, sequence, kvHead, start + i, rows - 1, 1);
    }
    for (let i = 0; i < here; i++) {
      const index = headIndex(sequence.first, heads, kvHead, group, start + i), at = index * headBytes;
      packColumns(queryColumns + (<usize> i << 5), q + at, dim);
      packColumns(doutColumns + (<usize> i << 5), dout + at, dim);
      store<f32>(norms + (<usize> i << 2), load<f32>(lse + (index << 2)));
      store<f32>(deltas + (<usize> i << 2), dot(dout + at, out + at, dim));
    }
    for (let i = 0; i < keys; i += 4) {
      if (seesFrom(sequence, causal, group, base + i) >= start + here) continue;
      scores4Fused(s, k4 + <usize> i * bytes, queries, bytes, (here + 7) >> 3);
      scores4Fused(d, v4 + <usize> i * bytes, douts, bytes, (here + 7) >> 3);
      for (let j = 0; j < 4; j++) {
        const from = seesFrom(sequence, causal, group, min(base + i + j, last)) - start;
        const row = <usize> j * SCORE_ROW;
        keyGradient(s + row, d + row, min(from, here), here, norms, deltas);
      }
      const at = <usize> i * tileBytes;
      transposeScores(weights, s, here);
      mix4Fused(dvSums + at, weights, doutColumns, ones, here, tiles);
      transposeScores(weights, d, here);
      mix4Fused(dkSums + at, weights, queryColumns, ones, here, tiles);
    }
  }
  for (let i = 0; i < keys; i++) {
    const at = <usize> (i & ~3) * tileBytes + (<usize> (i & 3) << 5), row = <usize> (base + i) * stride;
    writeRow(ptr(0) + kBytes + row, dkSums + at, 128, dim, float(0));
    writeRow(ptr(12) + vBytes + row, dvSums + at, 128, dim, 1);
  }
}

/** s = exp(s - lse) and d = s * (d - delta) for one key and queries [from, count); zeros before. */
function keyGradient(s: usize, d: usize, from: i32, count: i32, lse: usize, delta: usize): void {
  const end = <usize> count << 2;
  for (let i: usize = 0; i < end; i += 16) {
    const p = exp4(f32x4.sub(v128.load(s + i), v128.load(lse + i)));
    v128.store(s + i, p);
    v128.store(d + i, f32x4.mul(p, f32x4.sub(v128.load(d + i), v128.load(delta + i))));
  }
  const hidden = <usize> max(0, from) << 2;
  for (let i: usize = 0; i < hidden; i += 4) {
    store<f32>(s + i, 0);
    store<f32>(d + i, 0);
  }
}
