// One shared WebAssembly memory for weights and activations, and the heap that divides it up. Shared memory never
// detaches when it grows, so views made earlier stay valid.
import { badRequest, LobitError } from "../src/base/errors.ts";
import { HEAP } from "./abi.ts";

/** A place in the shared memory. Opaque outside `wasm/`: no arithmetic, only {@linkcode offset}. */
export interface Ptr {
  /** Never present at run time: keeps a Ptr from being mixed up with a number. */
  readonly opaque: never;
}

/** No place: stands for an absent optional operand. */
export const NULL: Ptr = 0 as unknown as Ptr;

/** The pointer as a number, for code inside `wasm/`. */
export function address(ptr: Ptr): number {
  return ptr as unknown as number;
}

/** A place `bytes` further on. */
export function offset(ptr: Ptr, bytes: number): Ptr {
  return (address(ptr) + bytes) as unknown as Ptr;
}

const PAGE = 65536;
const LIMIT_PAGES = 65536;
/** Every allocation starts on a cache line. */
const ALIGN = 64;

interface Hole {
  start: number;
  size: number;
}

/** The shared memory and its heap: best fit over a sorted list of holes, neighbours merged. */
export class Memory {
  /** The memory the kernels import. */
  readonly wasm: WebAssembly.Memory;
  readonly #holes: Hole[] = [];
  readonly #sizes: Map<number, number> = new Map();
  readonly #maxPages: number;
  #end: number = HEAP;
  #used = 0;
  #peak = 0;

  /** Makes a memory that may grow to `maxBytes` (at most 4 GiB). Throws `bad-request` if that is no size. */
  constructor(maxBytes: number = LIMIT_PAGES * PAGE) {
    if (!(maxBytes >= 0)) {
      throw badRequest(`The memory limit must be a number of bytes, not ${maxBytes}.`);
    }
    this.#maxPages = Math.min(LIMIT_PAGES, Math.floor(maxBytes / PAGE));
    this.wasm = new WebAssembly.Memory({ initial: 1, maximum: LIMIT_PAGES, shared: true });
  }

  /** Bytes allocated now. */
  get used(): number {
    return this.#used;
  }

  /** Most bytes allocated at any time. */
  get peak(): number {
    return this.#peak;
  }

  /** Counts the peak from now on, e.g. to measure one piece of the work. */
  restartPeak(): void {
    this.#peak = this.#used;
  }

  /** Reserves bytes (64-byte aligned, content undefined). Throws `no-memory` when the limit is reached. */
  allocate(bytes: number): Ptr {
    if (!(bytes >= 0)) throw new LobitError("internal", `Cannot reserve ${bytes} bytes.`);
    const size = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
    let best = -1;
    for (let i = 0; i < this.#holes.length; i++) {
      const hole = this.#holes[i]!;
      if (hole.size >= size && (best < 0 || hole.size < this.#holes[best]!.size)) best = i;
    }
    let start: number;
    if (best >= 0) {
      const hole = this.#holes[best]!;
      start = hole.start;
      hole.start += size;
      hole.size -= size;
      if (hole.size === 0) this.#holes.splice(best, 1);
    } else {
      start = this.#extend(size);
    }
    this.#sizes.set(start, size);
    this.#used += size;
    this.#peak = Math.max(this.#peak, this.#used);
    return start as unknown as Ptr;
  }

  #extend(size: number): number {
    const last = this.#holes.at(-1);
    const start = last && last.start + last.size === this.#end ? last.start : this.#end;
    const end = start + size;
    const missing = Math.ceil(end / PAGE) - this.wasm.buffer.byteLength / PAGE;
    if (Math.ceil(end / PAGE) > this.#maxPages) throw this.#exhausted(size);
    if (missing > 0) {
      try {
        this.wasm.grow(missing);
      } catch (cause) {
        throw this.#exhausted(size, cause);
      }
    }
    if (start !== this.#end) this.#holes.pop();
    this.#end = end;
    return start;
  }

  #exhausted(size: number, cause?: unknown): LobitError {
    const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    return new LobitError(
      "no-memory",
      `Cannot reserve ${mib(size)}: ${mib(this.#used)} are in use and the limit is ` +
        `${
          mib(this.#maxPages * PAGE)
        }. Use a smaller model, fewer tiles, a shorter context or a larger limit.`,
      { cause },
    );
  }

  /** Gives an allocation back. */
  free(ptr: Ptr): void {
    const start = address(ptr);
    const size = this.#sizes.get(start);
    if (size === undefined) throw new LobitError("internal", `Nothing is allocated at ${start}.`);
    this.#sizes.delete(start);
    this.#used -= size;
    let at = 0;
    for (let high = this.#holes.length; at < high;) {
      const middle = (at + high) >>> 1;
      if (this.#holes[middle]!.start < start) at = middle + 1;
      else high = middle;
    }
    const before = this.#holes[at - 1];
    const after = this.#holes[at];
    const joinsAfter = after !== undefined && start + size === after.start;
    if (before && before.start + before.size === start) {
      before.size += size;
      if (joinsAfter) {
        before.size += after.size;
        this.#holes.splice(at, 1);
      }
    } else if (joinsAfter) {
      after.start = start;
      after.size += size;
    } else {
      this.#holes.splice(at, 0, { start, size });
    }
  }

  /** The bytes at a place. */
  u8(ptr: Ptr, length: number): Uint8Array {
    return new Uint8Array(this.wasm.buffer, address(ptr), length);
  }

  /** Signed bytes at a place. */
  i8(ptr: Ptr, length: number): Int8Array {
    return new Int8Array(this.wasm.buffer, address(ptr), length);
  }

  /** 16-bit words at a place. */
  u16(ptr: Ptr, length: number): Uint16Array {
    return new Uint16Array(this.wasm.buffer, address(ptr), length);
  }

  /** 32-bit integers at a place. */
  i32(ptr: Ptr, length: number): Int32Array {
    return new Int32Array(this.wasm.buffer, address(ptr), length);
  }

  /** 32-bit floats at a place. */
  f32(ptr: Ptr, length: number): Float32Array {
    return new Float32Array(this.wasm.buffer, address(ptr), length);
  }
}
