// Keys and values of the tokens a sequence has seen, per block. Passed in by the caller, never held by a model.
import { badRequest } from "../base/errors.ts";
import { freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import { kernels, type KvKind, type Memory } from "../../wasm/mod.ts";

export type { KvKind };

/** What a decoder's keys and values are like. */
export interface CacheShape {
  /** Transformer blocks. */
  readonly blocks: number;
  /** Heads of keys and of values. */
  readonly kvHeads: number;
  /** Numbers per head. */
  readonly headDim: number;
}

/** Bytes that a cache takes for each token, all blocks together, when its capacity is a multiple of 64. */
export function cacheBytesPerToken(shape: CacheShape, kind: KvKind): number {
  const { keys, values } = kernels.kvCacheBytes(kind, shape.kvHeads, shape.headDim, 64);
  return shape.blocks * (keys + values) / 64;
}

/** Throws a bad request unless `kind` is one. */
export function checkKvKind(kind: string): void {
  if (kind !== "f32" && kind !== "int8") {
    throw badRequest(`kvCache must be "f32" or "int8", not "${kind}".`);
  }
}

/** Keys and values of one sequence, in the order in which attention reads them. */
export class KvCache {
  /** Tokens that fit. */
  readonly capacity: number;
  /** How they are kept. */
  readonly kind: KvKind;
  readonly #memory: Memory;
  readonly #keys: Tensor[] = [];
  readonly #values: Tensor[] = [];
  #length = 0;

  /** Reserves room for `capacity` tokens in each block. */
  constructor(memory: Memory, shape: CacheShape, capacity: number, kind: KvKind = "f32") {
    this.capacity = capacity;
    this.kind = kind;
    this.#memory = memory;
    const bytes = kernels.kvCacheBytes(kind, shape.kvHeads, shape.headDim, capacity);
    try {
      for (let block = 0; block < shape.blocks; block++) {
        this.#keys.push(heapTensor(memory, [bytes.keys], "u8"));
        this.#values.push(heapTensor(memory, [bytes.values], "u8"));
      }
    } catch (error) {
      this.free();
      throw error;
    }
  }

  /** Tokens seen. Attention writes the next ones behind them; {@linkcode KvCache.advance} counts them in. */
  get length(): number {
    return this.#length;
  }

  /** Keys of one block. */
  keys(block: number): Tensor {
    return this.#keys[block]!;
  }

  /** Values of one block. */
  values(block: number): Tensor {
    return this.#values[block]!;
  }

  /** Counts `tokens` in, after all blocks have run. */
  advance(tokens: number): void {
    if (this.#length + tokens > this.capacity) {
      throw badRequest(
        `The context holds ${this.capacity} tokens and would need ${
          this.#length + tokens
        }: ask for a larger context.`,
      );
    }
    this.#length += tokens;
  }

  /** Forgets all tokens after the first `length`, e.g. to keep a shared prefix. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  /** Gives the memory back. */
  free(): void {
    for (const tensor of [...this.#keys, ...this.#values]) freeTensor(this.#memory, tensor);
    this.#keys.length = this.#values.length = 0;
  }
}
