// Keys and values of the tokens a sequence has seen, per block. Passed in by the caller, never held by a model.
import { badRequest } from "../base/errors.ts";
import { freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import type { Memory } from "../../wasm/mod.ts";

/** Keys and values of one sequence, f32 [capacity, kvHeads * headDim] per block. */
export class KvCache {
  /** Tokens that fit. */
  readonly capacity: number;
  readonly #memory: Memory;
  readonly #keys: Tensor[];
  readonly #values: Tensor[];
  #length = 0;

  /** Reserves room for `capacity` tokens in each of `blocks` blocks. */
  constructor(memory: Memory, blocks: number, width: number, capacity: number) {
    this.capacity = capacity;
    this.#memory = memory;
    this.#keys = Array.from({ length: blocks }, () => heapTensor(memory, [capacity, width]));
    this.#values = Array.from({ length: blocks }, () => heapTensor(memory, [capacity, width]));
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
