// Operands in the engine's memory with guard words around every one, so that a kernel which writes outside its
// output is caught, and comparisons that say where two arrays differ.
import { Random } from "../../src/base/random.ts";
import type { Engine, Ptr } from "../../wasm/mod.ts";
import { offset } from "../../wasm/mod.ts";

const GUARD = 64;
const WORD = 0x5aa5c33c;

type Values = Float32Array | Int32Array | Uint16Array | Uint8Array | Int8Array;

/** Allocations of one test case; `check` looks at all guards, `release` frees everything. */
export class Buffers {
  readonly #engine: Engine;
  readonly #all: { base: Ptr; bytes: number }[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Copies values into the engine's memory between guards. */
  put(values: Values): Ptr {
    const bytes = values.byteLength;
    // The second guard starts right behind the last byte; odd sizes are guarded by bytes.
    const base = this.#engine.memory.allocate(GUARD + bytes + GUARD);
    this.#guard(base, bytes, true);
    const at = offset(base, GUARD);
    this.#engine.memory.u8(at, bytes).set(
      new Uint8Array(values.buffer, values.byteOffset, bytes),
    );
    this.#all.push({ base, bytes });
    return at;
  }

  /** Room for `count` floats, filled with a value that a correct kernel overwrites. */
  room(count: number, fill = 12345.678): Ptr {
    return this.put(new Float32Array(count).fill(fill));
  }

  /** A copy of `count` floats. */
  get(ptr: Ptr, count: number): Float32Array {
    return this.#engine.memory.f32(ptr, count).slice();
  }

  /** Throws if a guard was overwritten. */
  check(what: string): void {
    for (const { base, bytes } of this.#all) {
      if (!this.#guard(base, bytes, false)) throw new Error(`${what} wrote outside an operand.`);
    }
  }

  /** Checks the guards and frees everything. */
  release(what: string): void {
    this.check(what);
    for (const { base } of this.#all.splice(0)) this.#engine.memory.free(base);
  }

  #guard(base: Ptr, bytes: number, write: boolean): boolean {
    const memory = this.#engine.memory;
    const mark = new Uint8Array(new Uint32Array(GUARD / 4).fill(WORD).buffer);
    for (const at of [base, offset(base, GUARD + bytes)]) {
      const view = memory.u8(at, GUARD);
      if (write) view.set(mark);
      else if (view.some((byte, i) => byte !== mark[i])) return false;
    }
    return true;
  }
}

/** Normal values times `spread`, with some zeros and a few large and tiny magnitudes among them. */
export function samples(count: number, seed: number, spread = 1): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: count }, () => {
    const kind = random.integer(40);
    const value = random.normal() * spread;
    return kind === 0 ? 0 : kind === 1 ? value * 8 : kind === 2 ? value * 1e-6 : value;
  });
}

/** Throws unless every value lies within `absolute + relative * |expected|` of the expected one. */
export function assertNear(
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  absolute: number,
  relative: number,
  what: string,
): void {
  if (got.length !== expected.length) {
    throw new Error(`${what}: ${got.length} values, expected ${expected.length}.`);
  }
  for (let i = 0; i < got.length; i++) {
    const [a, b] = [got[i]!, expected[i]!];
    if (!(Math.abs(a - b) <= absolute + relative * Math.abs(b))) {
      throw new Error(`${what}: value ${i} is ${a}, expected ${b} (off by ${a - b}).`);
    }
  }
}

/** Remembers the first result under each name and throws when a later one has other bits. */
export class SameBits {
  readonly #first: Map<string, Uint32Array> = new Map();

  /** Compares with the first array seen under this name. */
  check(name: string, values: Float32Array, variant: string): void {
    const bits = new Uint32Array(values.slice().buffer);
    const first = this.#first.get(name);
    if (!first) {
      this.#first.set(name, bits);
      return;
    }
    const at = bits.findIndex((word, i) => word !== first[i]);
    if (at >= 0) throw new Error(`${name} on ${variant}: the bits of value ${at} differ.`);
  }
}
