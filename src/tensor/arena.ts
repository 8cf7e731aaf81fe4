// Short-lived tensors. An arena hands out memory in a row and takes back everything since a mark at once, so a forward
// pass neither frees tensors one by one nor fragments the heap.
import { type Memory, offset, type Ptr } from "../../wasm/mod.ts";
import { bytesOf, countOf, type Dtype, ELEMENT_BYTES, type Tensor } from "./tensor.ts";

interface Chunk {
  ptr: Ptr;
  size: number;
  used: number;
}

/** A position in an arena, to release back to. */
export interface Mark {
  /** Chunk in use. */
  readonly chunk: number;
  /** Bytes used in it. */
  readonly used: number;
}

const ALIGN = 64;

/** Stack of activations in the shared memory. */
export class Arena {
  readonly #memory: Memory;
  readonly #chunks: Chunk[] = [];
  readonly #chunkBytes: number;
  #current = -1;

  /** Makes an empty arena; memory is taken from the heap in chunks as needed and kept until {@linkcode Arena.free}. */
  constructor(memory: Memory, chunkBytes: number = 4 << 20) {
    this.#memory = memory;
    this.#chunkBytes = chunkBytes;
  }

  /** A tensor that lives until a mark before it is released. Content undefined. */
  tensor(shape: readonly number[], dtype: Dtype = "f32"): Tensor {
    return { shape, dtype, ptr: this.#take(countOf(shape) * ELEMENT_BYTES[dtype]) };
  }

  #take(bytes: number): Ptr {
    const size = Math.ceil(Math.max(1, bytes) / ALIGN) * ALIGN;
    let chunk = this.#chunks[this.#current];
    while (!chunk || chunk.used + size > chunk.size) {
      // Later chunks are empty leftovers of a larger pass: one that is too small makes way for a fitting one.
      const next = this.#chunks[this.#current + 1];
      if (next && next.size < size) {
        this.#memory.free(next.ptr);
        this.#chunks.splice(this.#current + 1, 1);
        continue;
      }
      if (!next) {
        const wanted = Math.max(size, this.#chunkBytes);
        this.#chunks.push({ ptr: this.#memory.allocate(wanted), size: wanted, used: 0 });
      }
      this.#current++;
      chunk = this.#chunks[this.#current]!;
      chunk.used = 0;
    }
    const ptr = offset(chunk.ptr, chunk.used);
    chunk.used += size;
    return ptr;
  }

  /** Remembers the present position. */
  mark(): Mark {
    return { chunk: this.#current, used: this.#chunks[this.#current]?.used ?? 0 };
  }

  /** Takes back everything since the mark. */
  release(mark: Mark): void {
    this.#current = mark.chunk;
    const chunk = this.#chunks[mark.chunk];
    if (chunk) chunk.used = mark.used;
  }

  /** Takes back everything since the mark but one tensor, which moves down to the mark. */
  keep(mark: Mark, tensor: Tensor): Tensor {
    const source = bytesOf(this.#memory, tensor);
    this.release(mark);
    // Freeing a leftover chunk in #take could hand the source's memory to somebody else, but nothing writes there
    // before the copy below, and `set` copies overlapping ranges correctly.
    const moved = this.tensor(tensor.shape, tensor.dtype);
    bytesOf(this.#memory, moved).set(source);
    return moved;
  }

  /** Gives all memory back to the heap. */
  free(): void {
    for (const chunk of this.#chunks) this.#memory.free(chunk.ptr);
    this.#chunks.length = 0;
    this.#current = -1;
  }
}
