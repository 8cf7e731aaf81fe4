// Calibration data on its way through a part: hidden states before a block, in chunks that fit into memory, as the
// full-precision teacher and as the student with everything quantized so far produce them.
import { throwIfAborted } from "../base/errors.ts";
import { readImage } from "../data/files.ts";
import type { ChatItem } from "../data/items.ts";
import { encodeImages } from "../generate/decode_loop.ts";
import { type Request, tileOptions } from "../generate/request.ts";
import { decodeImage } from "../input/image/decode.ts";
import { tileImage } from "../input/image/tiles.ts";
import { buildTrainingPrompt } from "../input/prompt.ts";
import type { Assets } from "../models/assets.ts";
import type { BlockContext, VisionInput, Vlm } from "../models/vlm.ts";
import type { Infer } from "../ops/infer.ts";
import type { Ops } from "../ops/ops.ts";
import { sequencesOf } from "../tensor/sequences.ts";
import { bytesOf, floats, type Tensor } from "../tensor/tensor.ts";

/** Hidden states f32 [rows, dim], one array per chunk, in ordinary memory. */
export type States = Float32Array[];

/** A part's calibration data. */
export interface Feed {
  /** Numbers per row. */
  readonly dim: number;
  /** What blocks need besides their input, for one chunk; lives in the ops' arena. */
  context(ops: Ops, chunk: number): BlockContext;
}

/** Rows that run at once: bounds the memory of a pass. */
const CHUNK_ROWS = 2048;

/** Whole conversations, pictures cut into tiles. Items must have an answer. */
export function calibrationRequests(
  assets: Assets,
  input: VisionInput,
  items: readonly ChatItem[],
  signal?: AbortSignal,
): Request[] {
  return items.map((item) => {
    throwIfAborted(signal);
    const images = item.images.map((image) => {
      const { bytes, name } = readImage(image);
      return tileImage(decodeImage(bytes, name), tileOptions(input));
    });
    const prompt = buildTrainingPrompt(item.messages, assets.tokenizer, assets.template, {
      tokensPerTile: input.tokensPerTile,
      tiles: images.map(({ count }) => count),
    });
    return { prompt, images };
  });
}

/** All tiles of the requests, cut into chunks. */
export function visionFeed(vlm: Vlm, requests: readonly Request[]): Feed & { tiles: Uint8Array[] } {
  const { vision, input } = vlm;
  const perTile = vision.context(1).sequences.total;
  const most = Math.max(1, Math.floor(CHUNK_ROWS / perTile));
  const bytes = 3 * input.imageSize ** 2;
  const all = requests.flatMap(({ images }) =>
    images.flatMap(({ data, count }) =>
      Array.from({ length: count }, (_, i) => data.subarray(i * bytes, (i + 1) * bytes))
    )
  );
  const tiles: Uint8Array[] = [];
  for (let first = 0; first < all.length; first += most) {
    const some = all.slice(first, first + most);
    const chunk = new Uint8Array(some.length * bytes);
    some.forEach((tile, i) => chunk.set(tile, i * bytes));
    tiles.push(chunk);
  }
  return {
    dim: vision.blocks[0]?.linears[0]?.columns ?? 0,
    tiles,
    context: (_, chunk) => vision.context(tiles[chunk]!.length / bytes),
  };
}

/** What the tower's first block reads. */
export function visionStates(ops: Infer, vlm: Vlm, feed: { tiles: readonly Uint8Array[] }): States {
  const { imageSize } = vlm.input;
  return feed.tiles.map((tiles) =>
    ops.pass(() => {
      const shape = [tiles.length / (3 * imageSize ** 2), imageSize, imageSize, 3];
      return copyOut(ops, vlm.vision.embed(ops, ops.bytes(tiles, shape)));
    })
  );
}

/** The requests' tokens, cut into chunks. */
export function languageFeed(
  vlm: Vlm,
  requests: readonly Request[],
): Feed & { chunks: Request[][] } {
  const chunks: Request[][] = [];
  let rows = Infinity;
  for (const request of requests) {
    const { length } = request.prompt.ids;
    if (rows + length > CHUNK_ROWS) {
      chunks.push([]);
      rows = 0;
    }
    chunks.at(-1)!.push(request);
    rows += length;
  }
  return {
    dim: vlm.language.table.columns,
    chunks,
    context: (ops, chunk) =>
      vlm.language.context(ops, sequencesOf(chunks[chunk]!.map(({ prompt }) => prompt.ids.length))),
  };
}

/** What the decoder's first block reads: embeddings, pictures in their places as tower and projector now see them. */
export function languageStates(
  ops: Infer,
  vlm: Vlm,
  feed: { chunks: readonly (readonly Request[])[] },
): States {
  return feed.chunks.map((requests) =>
    ops.pass(() => {
      const pictures = encodeImages({ ops, vlm, engine: ops.engine }, requests);
      const at: number[] = [];
      const ids: number[] = [];
      for (const { prompt } of requests) {
        for (const { start, count } of [...prompt.images].sort((a, b) => a.image - b.image)) {
          for (let row = 0; row < count; row++) at.push(ids.length + start + row);
        }
        for (const id of prompt.ids) ids.push(id);
      }
      const x = vlm.language.embed(ops, ops.integers(ids));
      return copyOut(ops, pictures ? ops.replaceRows(x, pictures, ops.integers(at)) : x);
    })
  );
}

/** Puts a chunk's states where kernels can read them. */
export function copyIn(ops: Infer, states: Float32Array, dim: number): Tensor {
  const tensor = ops.arena.tensor([states.length / dim, dim]);
  floats(ops.engine.memory, tensor).set(states);
  return tensor;
}

/** Takes states out of the shared memory. */
export function copyOut(ops: Infer, tensor: Tensor): Float32Array {
  return new Float32Array(bytesOf(ops.engine.memory, tensor).slice().buffer);
}
