// What a vision-language model declares. Quantizers, trainers, the generator and the packed file work on these types and
// know no model by name; a family only has to fill them in.
import type { Linear } from "../formats/weight.ts";
import type { CacheShape, KvCache } from "../ops/kv_cache.ts";
import type { Ops } from "../ops/ops.ts";
import type { Sequences } from "../tensor/sequences.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** The three parts, in the order data flows. */
export type PartName = "vision" | "projector" | "language";

/** A norm weight, class token or other small tensor that is never quantized, with its checkpoint path. */
export interface Vector {
  /** Full checkpoint path. */
  readonly name: string;
  /** f32. */
  readonly tensor: Tensor;
}

/** What a block needs besides its input. */
export interface BlockContext {
  /** Row ranges of the batch. */
  readonly sequences: Sequences;
  /** Rotary angles of the rows; language blocks only. */
  readonly angles?: Tensor | undefined;
  /** One cache per sequence; language blocks only. */
  readonly caches?: readonly KvCache[] | undefined;
}

/** Channels that may be scaled freely: divided where they are made and multiplied into the weights that read them. */
export interface ScalePair {
  /** Weight and bias of the norm that makes the channels, f32 [channels]. */
  readonly vectors?: readonly Tensor[] | undefined;
  /** Or the linear that does; its rows are the channels. */
  readonly from?: Linear | undefined;
  /** All linears that read them. */
  readonly to: readonly Linear[];
  /** The channel that a column reads; the same number if not given. */
  readonly channelOf?: ((column: number) => number) | undefined;
}

/** One transformer layer. */
export interface Block {
  /** Checkpoint path of the layer. */
  readonly name: string;
  /** The products a quantizer may replace. */
  readonly linears: readonly Linear[];
  /** Everything else that can be trained, biases included. */
  readonly vectors: readonly Vector[];
  /** Where channels may be scaled without changing what the block computes. */
  readonly pairs?: readonly ScalePair[] | undefined;
  /** [tokens, dim] -> [tokens, dim]. */
  run(ops: Ops, x: Tensor, context: BlockContext): Tensor;
}

/** Linears and vectors of one modality. */
export interface Part {
  /** Which part. */
  readonly name: PartName;
  /** Transformer layers; the projector has none. */
  readonly blocks: readonly Block[];
  /** Linears outside blocks: patch embedding, projector layers. */
  readonly linears: readonly Linear[];
  /** Vectors outside blocks. */
  readonly vectors: readonly Vector[];
}

/** Turns tiles into features. */
export interface VisionPart extends Part {
  /** Tiles u8 [count, size, size, 3] -> block input. */
  embed(ops: Ops, tiles: Tensor): Tensor;
  /** Context of the blocks for a number of tiles. */
  context(tiles: number): BlockContext;
  /** Last block's output -> features the projector reads. */
  finish(ops: Ops, x: Tensor): Tensor;
}

/** Turns vision features into rows the language model can read among its embeddings. */
export interface ProjectorPart extends Part {
  /** Vision features -> [tiles * tokensPerTile, language dim]. */
  project(ops: Ops, features: Tensor): Tensor;
}

/** Embedding, decoder and head. */
export interface LanguagePart extends Part {
  /** Embedding table [vocabulary, dim]. */
  readonly table: Linear;
  /** Output head [vocabulary, dim]; the table itself when tied. */
  readonly head: Linear;
  /** What a cache of its keys and values needs to know. */
  readonly cacheShape: CacheShape;
  /** Longest context the model was made for. */
  readonly maxPositions: number;
  /** Token ids i32 -> embeddings. */
  embed(ops: Ops, ids: Tensor): Tensor;
  /** Context of the blocks; positions continue after what the caches hold. */
  context(ops: Ops, sequences: Sequences, caches?: readonly KvCache[]): BlockContext;
  /** Final norm, before the head. */
  finish(ops: Ops, x: Tensor): Tensor;
}

/** How the family turns pictures into tiles and tiles into tokens. */
export interface VisionInput {
  /** Pixels per tile side. */
  readonly imageSize: number;
  /** Language tokens per tile. */
  readonly tokensPerTile: number;
  /** Largest number of tiles per picture, without the thumbnail. */
  readonly maxTiles: number;
  /** Smallest number of tiles per picture. */
  readonly minTiles: number;
  /** Whether a picture of several tiles gets a thumbnail besides. */
  readonly thumbnail: boolean;
}

/** A model: three parts and how pictures enter it. */
export interface Vlm {
  /** Tiling. */
  readonly input: VisionInput;
  /** The eyes. */
  readonly vision: VisionPart;
  /** The bridge. */
  readonly projector: ProjectorPart;
  /** The voice. */
  readonly language: LanguagePart;
}

/** The three parts in order. */
export function partsOf(vlm: Vlm): readonly Part[] {
  return [vlm.vision, vlm.projector, vlm.language];
}

/** All linears of a part, those of its blocks included, embedding and head last. */
export function linearsOf(part: Part): Linear[] {
  const linears = [...part.linears, ...part.blocks.flatMap((block) => block.linears)];
  if (part.name === "language") {
    const { table, head } = part as LanguagePart;
    linears.push(table);
    if (head !== table) linears.push(head);
  }
  return linears;
}

/** All vectors of a part, those of its blocks included. */
export function vectorsOf(part: Part): Vector[] {
  return [...part.vectors, ...part.blocks.flatMap((block) => block.vectors)];
}

/** Tiles u8 [count, size, size, 3] -> rows for the language model [count * tokensPerTile, dim]. */
export function encodeTiles(ops: Ops, vlm: Vlm, tiles: Tensor): Tensor {
  return ops.scope(() => {
    const context = vlm.vision.context(tiles.shape[0]!);
    let x = vlm.vision.embed(ops, tiles);
    for (const block of vlm.vision.blocks) x = ops.block(x, (x) => block.run(ops, x, context));
    return vlm.projector.project(ops, vlm.vision.finish(ops, x));
  });
}

/** Embeddings [tokens, dim] -> hidden states after the final norm [tokens, dim]. Caches are not advanced. */
export function decode(
  ops: Ops,
  vlm: Vlm,
  embeddings: Tensor,
  sequences: Sequences,
  caches?: readonly KvCache[],
): Tensor {
  const context = vlm.language.context(ops, sequences, caches);
  let x = embeddings;
  for (const block of vlm.language.blocks) x = ops.block(x, (x) => block.run(ops, x, context));
  return vlm.language.finish(ops, x);
}
