// Every verb a model may use. The same model code runs on `Infer` (prefill, decode, teacher, packed or dense) and on the
// training tape (student), because both implement this interface.
import type { Linear } from "../formats/weight.ts";
import type { Sequences } from "../tensor/sequences.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { KvCache } from "./kv_cache.ts";

/** Scale, shift and the constant that keeps a norm from dividing by zero. */
export interface Norm {
  /** f32 [dim]. */
  readonly weight: Tensor;
  /** f32 [dim]; layer norms only. */
  readonly bias?: Tensor | undefined;
  /** Added to the variance. */
  readonly eps: number;
}

/** What attention needs to know besides queries, keys and values. */
export interface AttentionShape {
  /** Query heads. */
  readonly heads: number;
  /** Key-value heads; divides `heads`. */
  readonly kvHeads: number;
  /** Numbers per head. */
  readonly headDim: number;
  /** Whether a query sees only keys at or before its own position. */
  readonly causal: boolean;
  /** Row ranges of the batch. */
  readonly sequences: Sequences;
  /** One cache per sequence, and which block's keys and values to use in it. */
  readonly cache?: { readonly of: readonly KvCache[]; readonly block: number } | undefined;
}

/** How tiles become patches. */
export interface PatchShape {
  /** Pixels per tile side. */
  readonly imageSize: number;
  /** Pixels per patch side. */
  readonly patchSize: number;
  /** Subtracted per channel, after scaling to 0..1. */
  readonly mean: readonly [number, number, number];
  /** Divided by per channel. */
  readonly std: readonly [number, number, number];
}

/** The operations of a model. Tensors are f32 unless said otherwise; results live in the ops' arena. */
export interface Ops {
  /**
   * Runs one transformer block. Inference takes back the block's intermediate tensors; training may drop them and
   * compute them again on the way back.
   */
  block(x: Tensor, body: (x: Tensor) => Tensor): Tensor;
  /** Takes back every tensor made in the body but its result. */
  scope(body: () => Tensor): Tensor;
  /** Puts integers where kernels can read them: i32 [values.length]. */
  integers(values: ArrayLike<number>): Tensor;
  /** Puts bytes where kernels can read them: u8 with the given shape. */
  bytes(values: Uint8Array, shape: readonly number[]): Tensor;

  /** [tokens, columns] -> [tokens, rows]. */
  linear(x: Tensor, linear: Linear): Tensor;
  /** Layer norm over the last dimension. */
  layerNorm(x: Tensor, norm: Norm): Tensor;
  /** Root-mean-square norm over the last dimension. */
  rmsNorm(x: Tensor, norm: Norm): Tensor;
  /** x + y. */
  add(x: Tensor, y: Tensor): Tensor;
  /** x + scale * y, scale f32 [dim] (InternViT's layer scale). */
  addScaled(x: Tensor, y: Tensor, scale: Tensor): Tensor;
  /** Exact (erf) GELU. */
  gelu(x: Tensor): Tensor;
  /** silu(gate) * up. */
  swiGlu(gate: Tensor, up: Tensor): Tensor;

  /** Cosines and sines of rotary positions, positions i32 [tokens]; for {@linkcode Ops.rotate}. */
  angles(positions: Tensor, headDim: number, theta: number): Tensor;
  /** Rotary position embedding of [tokens, heads * headDim], halves paired as Qwen2 does. */
  rotate(x: Tensor, angles: Tensor, headDim: number): Tensor;
  /** Scaled dot-product attention: q [tokens, heads * headDim], k and v [tokens, kvHeads * headDim]. */
  attend(q: Tensor, k: Tensor, v: Tensor, shape: AttentionShape): Tensor;

  /** Rows of a table, ids i32 [tokens] -> [tokens, columns]. */
  embed(ids: Tensor, table: Linear): Tensor;
  /** x with rows[i] put at row at[i]; at i32. Consumes x. */
  replaceRows(x: Tensor, rows: Tensor, at: Tensor): Tensor;
  /** Rows at[i] of x; at i32. */
  takeRows(x: Tensor, at: Tensor): Tensor;

  /** Tiles u8 [tiles, size, size, 3] -> normalised patches [tiles * grid², 3 * patch²], channel slowest. */
  patches(tiles: Tensor, shape: PatchShape): Tensor;
  /** [tiles * grid², dim] -> [tiles * (1 + grid²), dim]: class token in front, position embeddings added. */
  assembleTokens(patches: Tensor, classToken: Tensor, positions: Tensor): Tensor;
  /** [tiles * (1 + grid²), dim] -> [tiles * (grid/2)², 4 * dim], class token dropped (InternVL ps_version v2). */
  pixelShuffle(x: Tensor, grid: number): Tensor;
}
