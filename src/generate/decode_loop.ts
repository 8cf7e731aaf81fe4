// Prefill and decode of several sequences at once. Each round runs every unfinished sequence through one forward pass.
import { badRequest, throwIfAborted } from "../base/errors.ts";
import { KvCache } from "../ops/kv_cache.ts";
import { decode, encodeTiles } from "../models/vlm.ts";
import { type Sequences, sequencesOf } from "../tensor/sequences.ts";
import { bytesOf, floats, sliceRows, type Tensor, width } from "../tensor/tensor.ts";
import type { Runnable } from "./model.ts";
import type { Request } from "./request.ts";

/** One sequence to continue. */
export interface Job {
  /** Prompt and tiles. */
  readonly request: Request;
  /** Most tokens to add. */
  readonly maxTokens: number;
  /** Picks the next token from the logits [vocabulary]; may change them, must not keep them. */
  choose(logits: Float32Array): number;
  /** Takes the picked token; true ends the sequence. */
  accept(id: number): boolean;
}

/**
 * Rows that go through the tower (tiles times tokens per tile) and through the decoder at once: they bound the memory of a
 * pass, and more rows are not faster.
 */
const VISION_ROWS = 1100;
const PREFILL_ROWS = 512;

/** The context length a job needs; throws if it exceeds `limit`. */
export function contextOf(
  { request, maxTokens }: Pick<Job, "request" | "maxTokens">,
  limit: number,
): number {
  const { length } = request.prompt.ids;
  if (length + 1 > limit) {
    throw badRequest(
      `The prompt has ${length} tokens, and with room for an answer does not fit into the context of ${limit}. ` +
        "Use fewer or smaller pictures (--max-tiles), a shorter text, or a larger --ctx.",
    );
  }
  return Math.min(limit, length + maxTokens);
}

/** Runs the jobs to their end. `turn` is called between rounds, so that callers can stream, breathe and stop. */
export async function runJobs(
  model: Runnable,
  jobs: readonly Job[],
  options: {
    readonly context?: number | undefined;
    readonly signal?: AbortSignal | undefined;
    readonly turn?: () => Promise<void> | void;
  } = {},
): Promise<void> {
  const { ops, vlm, engine } = model;
  const { language } = vlm;
  const limit = Math.min(options.context ?? language.maxPositions, language.maxPositions);
  const capacities = jobs.map((job) => contextOf(job, limit));
  const caches: KvCache[] = [];
  try {
    // Caches are reserved first: a job that does not fit fails before any work.
    for (const capacity of capacities) {
      caches.push(new KvCache(engine.memory, language.cacheShape, capacity, model.kvCache));
    }
    let live = jobs.map((_, i) => i).filter((i) => jobs[i]!.maxTokens > 0);
    let next = ops.pass(() =>
      prefill(model, live.map((i) => jobs[i]!.request), live.map((i) => caches[i]!))
    );
    while (live.length > 0) {
      const picked = live.map((i, row) => jobs[i]!.choose(next[row]!));
      const going = live.map((i, row) => {
        const full = caches[i]!.length >= caches[i]!.capacity;
        return !jobs[i]!.accept(picked[row]!) && !full;
      });
      const ids = picked.filter((_, row) => going[row]);
      live = live.filter((_, row) => going[row]);
      await options.turn?.();
      throwIfAborted(options.signal);
      if (live.length > 0) {
        next = ops.pass(() => step(model, ids, live.map((i) => caches[i]!), next));
      }
    }
  } finally {
    for (const cache of caches) cache.free();
  }
}

function prefill(
  model: Runnable,
  requests: readonly Request[],
  caches: readonly KvCache[],
): Float32Array[] {
  const { ops, vlm } = model;
  const rows = encodeImages(model, requests);
  const sequences = sequencesOf(requests.map(({ prompt }) => prompt.ids.length));
  const ids = new Int32Array(sequences.total);
  // A picture may be shown more than once, so each place names the encoded row it takes.
  const at: number[] = [];
  const from: number[] = [];
  let firstRow = 0;
  requests.forEach(({ prompt, images }, i) => {
    ids.set(prompt.ids, sequences.starts[i]!);
    const rowsOf = images.map(({ count }) => count * vlm.input.tokensPerTile);
    for (const { image, start, count } of prompt.images) {
      const first = firstRow + rowsOf.slice(0, image).reduce((sum, rows) => sum + rows, 0);
      for (let row = 0; row < count; row++) {
        at.push(sequences.starts[i]! + start + row);
        from.push(first + row);
      }
    }
    firstRow += rowsOf.reduce((sum, rows) => sum + rows, 0);
  });
  let x = vlm.language.embed(ops, ops.integers(ids));
  if (rows) x = ops.replaceRows(x, ops.takeRows(rows, ops.integers(from)), ops.integers(at));
  const ends = ops.arena.tensor([requests.length, width(x)]);
  for (let first = 0; first < sequences.total; first += PREFILL_ROWS) {
    const rows = { first, end: Math.min(first + PREFILL_ROWS, sequences.total) };
    ops.pass(() => prefillRows(model, x, sequences, caches, rows, ends));
  }
  return logitsOf(model, ends);
}

/** Runs some rows of all sequences' tokens through the decoder; last tokens' hidden states go to `ends`. */
function prefillRows(
  { ops, vlm, engine }: Runnable,
  x: Tensor,
  { starts, lengths }: Sequences,
  caches: readonly KvCache[],
  rows: { readonly first: number; readonly end: number },
  ends: Tensor,
): void {
  const parts = starts.map((start, sequence) => {
    const first = Math.max(start, rows.first);
    const stop = start + lengths[sequence]!;
    return { sequence, count: Math.min(stop, rows.end) - first, last: stop - 1 };
  }).filter(({ count }) => count > 0);
  const hidden = decode(
    ops,
    vlm,
    sliceRows(x, rows.first, rows.end),
    sequencesOf(parts.map(({ count }) => count)),
    parts.map(({ sequence }) => caches[sequence]!),
  );
  for (const { sequence, count, last } of parts) {
    caches[sequence]!.advance(count);
    if (last >= rows.end) continue;
    const at = last - rows.first;
    bytesOf(engine.memory, sliceRows(ends, sequence, sequence + 1))
      .set(bytesOf(engine.memory, sliceRows(hidden, at, at + 1)));
  }
}

function step(
  model: Runnable,
  ids: readonly number[],
  caches: readonly KvCache[],
  before: readonly Float32Array[],
): Float32Array[] {
  const { ops, vlm } = model;
  const x = vlm.language.embed(ops, ops.integers(ids));
  const hidden = decode(ops, vlm, x, sequencesOf(ids.map(() => 1)), caches);
  for (const cache of caches) cache.advance(1);
  return logitsOf(model, hidden, before);
}

/** Logits as ordinary arrays, those of the round before where given: new ones of 150,000 numbers would cost much. */
function logitsOf(
  { ops, vlm, engine }: Runnable,
  hidden: Tensor,
  before: readonly Float32Array[] = [],
): Float32Array[] {
  const logits = ops.linear(hidden, vlm.language.head);
  return Array.from({ length: logits.shape[0]! }, (_, row) => {
    const values = floats(engine.memory, sliceRows(logits, row, row + 1));
    const copy = before[row] ?? new Float32Array(values.length);
    copy.set(values);
    return copy;
  });
}

/** All requests' tiles through tower and projector: [image tokens, dim], or nothing without pictures. */
export function encodeImages(model: Runnable, requests: readonly Request[]): Tensor | undefined {
  const { ops, vlm, engine } = model;
  const { imageSize, tokensPerTile } = vlm.input;
  const images = requests.flatMap(({ images }) => images);
  const tiles = images.reduce((sum, { count }) => sum + count, 0);
  if (tiles === 0) return undefined;
  const pixels = new Uint8Array(tiles * imageSize * imageSize * 3);
  let end = 0;
  for (const { data } of images) {
    pixels.set(data, end);
    end += data.length;
  }
  const perTile = vlm.vision.context(1).sequences.total;
  const group = Math.max(1, Math.floor(VISION_ROWS / perTile));
  const rows = ops.arena.tensor([tiles * tokensPerTile, vlm.language.table.columns]);
  for (let first = 0; first < tiles; first += group) {
    const count = Math.min(group, tiles - first);
    ops.pass(() => {
      const size = pixels.length / tiles;
      const part = pixels.subarray(first * size, (first + count) * size);
      const encoded = encodeTiles(ops, vlm, ops.bytes(part, [count, imageSize, imageSize, 3]));
      const target = sliceRows(rows, first * tokensPerTile, (first + count) * tokensPerTile);
      bytesOf(engine.memory, target).set(bytesOf(engine.memory, encoded));
    });
  }
  return rows;
}
