// Adds one span of keys to a part's state, block by block of 64 keys: scores, softmax, weighted values. Rows of K and V are
// packed into scratch first; cached ones lie packed already (layout.ts).
import { KeysAs } from "../../wasm/abi";
import { int } from "../args";
import { mix1Int8, mix4Int8, packWeight, packWeights, scores1Int8, scores4Int8 } from "./int8";
import { keyBlock, keyCodes, valueBlock, valueCodes } from "./layout";
import { BLOCK, packColumns, packEights, rowBytes, tileRowBytes, transposeScores } from "./pack";
import { seenBy } from "./rows";
import { softmaxFour, softmaxFourTimes, softmaxRow } from "./softmax";
import { maximumOf, Part, SPAN, totalOf } from "./state";
import { mix1, mix4, scores1, scores4 } from "./tiles";

/** Keys [start, start + SPAN) as far as the part sees them. */
export function addSpan(part: Part, state: usize, start: i32): void {
  const kvHeads = int(4), kind = int(10), dim = part.dim, sequence = part.sequence;
  const headBytes = <usize> dim << 2, stride = <usize> kvHeads * headBytes;
  const keyBytes = keyBlock(kind, dim), valueBytes = valueBlock(kind, dim);
  const stop = min(part.stop, start + SPAN);
  for (; start < stop; start += BLOCK) {
    const here = min(BLOCK, stop - start);
    if (kind == KeysAs.Rows) {
      const at = <usize> start * stride + <usize> part.kvHead * headBytes;
      packEights(part.keys, sequence.k + at, here, stride, dim);
      const v = sequence.v + at;
      for (let i = 0; i < here; i++) packColumns(part.values + (<usize> i << 5), v + <usize> i * stride, dim);
      addBlock(part, state, part.keys, part.values, start, here);
    } else {
      const block = <usize> (start / BLOCK) * kvHeads + part.kvHead;
      const k = sequence.k + block * keyBytes, v = sequence.v + block * valueBytes;
      if (kind == KeysAs.Blocks) addBlock(part, state, k, v, start, here);
      else addInt8Block(part, state, k, v, start, here);
    }
  }
}

/** Keys of this block that a row sees; more than there are or less than none also occur. */
// @ts-ignore: decorator
@inline
function seen(part: Part, row: i32, start: i32): i32 {
  return seenBy(part.sequence, part.causal, part.group, part.base + min(row, part.rows - 1)) - start;
}

// @ts-ignore: decorator
@inline
function softmaxQuadTimes(part: Part, state: usize, row: i32, start: i32, count: i32): void {
  softmaxFourTimes(
    part.s,
    seen(part, row, start),
    seen(part, row + 1, start),
    seen(part, row + 2, start),
    seen(part, row + 3, start),
    count,
    maximumOf(part, state, row),
    totalOf(part, state, row),
    part.factors,
    part.times,
    part.factors + 64,
  );
}

// @ts-ignore: decorator
@inline
function softmaxQuad(part: Part, state: usize, row: i32, start: i32, count: i32): void {
  softmaxFour(
    part.s,
    seen(part, row, start),
    seen(part, row + 1, start),
    seen(part, row + 2, start),
    seen(part, row + 3, start),
    count,
    maximumOf(part, state, row),
    totalOf(part, state, row),
    part.factors,
  );
}

function addBlock(part: Part, state: usize, k: usize, v: usize, start: i32, here: i32): void {
  const s = part.s, bytes = rowBytes(part.dim), tileBytes = tileRowBytes(part.dim), tiles = (part.dim + 7) >> 3;
  for (let i = 0; i < part.quads; i++) {
    const row = i << 2, count = min(here, seen(part, row + 3, start));
    if (count <= 0) continue;
    scores4(s, part.queries + <usize> row * bytes, k, bytes, (count + 7) >> 3);
    softmaxQuad(part, state, row, start, count);
    transposeScores(part.weights, s, count);
    mix4(state + <usize> row * tileBytes, part.weights, v, part.factors, count, tiles);
  }
  if (!part.single) return;
  const row = part.quads << 2;
  scores1(s, part.queries + <usize> row * bytes, k, bytes, (here + 7) >> 3);
  const f = softmaxRow(s, here, maximumOf(part, state, row), totalOf(part, state, row));
  mix1(state + <usize> row * tileBytes, s, v, f, here, tiles);
}

function addInt8Block(part: Part, state: usize, k: usize, v: usize, start: i32, here: i32): void {
  const s = part.s, bytes = rowBytes(part.dim), tileBytes = tileRowBytes(part.dim), tiles = (part.dim + 7) >> 3;
  const keyScales = k + keyCodes(part.dim), codes = bytes >> 2;
  // Behind the last key there are no scales, and whatever lies there must not meet a weight of 0.
  memory.copy(part.times, v + valueCodes(part.dim), <usize> here << 2);
  memory.fill(part.times + (<usize> here << 2), 0, <usize> (BLOCK - here) << 2);
  const weightScales = part.factors + 16;
  for (let i = 0; i < part.quads; i++) {
    const row = i << 2, count = min(here, seen(part, row + 3, start));
    if (count <= 0) continue;
    const rowScales = part.rowScales + (<usize> row << 2);
    scores4Int8(s, part.queries + <usize> row * bytes, rowScales, k, keyScales, codes, (count + 7) >> 3);
    softmaxQuadTimes(part, state, row, start, count);
    packWeights(part.weights, weightScales, s, part.factors + 64, count);
    mix4Int8(state + <usize> row * tileBytes, part.weights, weightScales, v, part.factors, count, tiles);
  }
  if (!part.single) return;
  const row = part.quads << 2;
  const rowScale = part.rowScales + (<usize> row << 2);
  scores1Int8(s, part.queries + <usize> row * bytes, rowScale, k, keyScales, codes, (here + 7) >> 3);
  const f = softmaxRow(s, here, maximumOf(part, state, row), totalOf(part, state, row));
  const scale = packWeight(part.weights, s, part.times, here);
  mix1Int8(state + <usize> row * tileBytes, part.weights, scale, v, f, here, tiles);
}
