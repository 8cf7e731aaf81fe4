// What the rest of lobit knows about an InternVL model: sizes and constants, the same for both checkpoint layouts.
import type { Qwen2Config } from "../decoders/qwen2.ts";

/** One number for each of red, green and blue. */
export type Channels = readonly [number, number, number];

/** The vision tower (InternViT-300M kind: layer norms, layer scale, no norm on queries and keys). */
export interface VisionConfig {
  /** Width. */
  readonly hidden: number;
  /** Number of blocks. */
  readonly blocks: number;
  /** Attention heads; they divide `hidden`. */
  readonly heads: number;
  /** Width inside the MLP. */
  readonly intermediate: number;
  /** Side of the square image the position table was made for, in pixels. */
  readonly imageSize: number;
  /** Side of a patch, in pixels. */
  readonly patchSize: number;
  /** Colour channels. */
  readonly channels: 3;
  /** Added to the variance in layer norms. */
  readonly eps: number;
  /** Whether the query, key and value linears have a bias. */
  readonly qkvBias: boolean;
  /** The only norm supported. */
  readonly norm: "layer_norm";
  /** Norms on queries and keys (the 6B tower's) are refused. */
  readonly qkNorm: false;
}

/** The projector: pixel shuffle, layer norm, linear, GELU, linear. */
export interface ProjectorConfig {
  /** Side of the token grid after pixel shuffle over the side before. */
  readonly downsampleRatio: number;
  /** Width after pixel shuffle: vision width / downsampleRatio². */
  readonly inputs: number;
  /** Width between the two linears; the language width in every InternVL. */
  readonly inner: number;
  /** Added to the variance in the layer norm. */
  readonly eps: number;
}

/** The language model. */
export type LanguageConfig = Qwen2Config;

/** How images are cut into tiles. */
export interface TilesConfig {
  /** Side of a tile, in pixels. */
  readonly size: number;
  /** Fewest tiles. */
  readonly min: number;
  /** Most tiles, thumbnail not counted. */
  readonly max: number;
  /** Whether a thumbnail of the whole image follows two or more tiles. */
  readonly thumbnail: boolean;
  /** Whether images are cut at all; else each is one tile. */
  readonly dynamic: boolean;
  /** Per channel mean, of values from 0 to 1. */
  readonly mean: Channels;
  /** Per channel standard deviation, of values from 0 to 1. */
  readonly std: Channels;
}

/** Everything about an InternVL model but its weights and its words. */
export interface InternVlConfig {
  /** Which of the two checkpoint layouts the config belongs to. */
  readonly layout: "native" | "original";
  /** The vision tower. */
  readonly vision: VisionConfig;
  /** The projector. */
  readonly projector: ProjectorConfig;
  /** The language model. */
  readonly language: LanguageConfig;
  /** Image cutting. */
  readonly tiles: TilesConfig;
  /** Tokens of one tile after pixel shuffle. */
  readonly tokensPerTile: number;
  /** Id of the image placeholder token; null where only the tokenizer knows it. */
  readonly imageTokenId: number | null;
  /** Name of a built-in conversation template; null where the config names none. */
  readonly template: string | null;
}
