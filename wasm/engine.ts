// The engine: kernels, memory and threads together. Everything above calls kernels through it.
import { badRequest, LobitError } from "../src/base/errors.ts";
import {
  FINISHED,
  FLOATS,
  INTS,
  type Op,
  SCRATCH,
  SCRATCH_SIZE,
  TICKET,
  TICKET_BIAS,
} from "./abi.ts";
import { type Build, hasRelaxedSimd, hasSimd } from "./features.ts";
import { relaxed } from "./generated/relaxed.ts";
import { simd } from "./generated/simd.ts";
import { address, Memory, type Ptr } from "./memory.ts";
import { Pool } from "./pool.ts";

/** How to start an {@linkcode Engine}. */
export interface EngineOptions {
  /** Threads including the caller's; default: the machine's cores, at most 8. */
  threads?: number;
  /** Which build of the kernels; default: relaxed where the host runs it. */
  build?: Build;
  /** Most bytes the shared memory may take; default and limit 4 GiB. */
  maxMemory?: number;
}

interface Exports {
  dispatch(op: number, items: number, grain: number, workers: number, maySleep: number): number;
  await_job(maySleep: number): number;
}

/** Bytes of scratch each thread has for packing and partial results. */
export const SCRATCH_BYTES: number = 1 << 20;
/** A job that makes no progress for this long has lost a worker. */
const PATIENCE_MS = 120_000;

/** Kernels, memory and threads. Close it to end the threads. */
export class Engine {
  /** The shared memory: weights, activations, everything. */
  readonly memory: Memory;
  /** Which build of the kernels runs. */
  readonly build: Build;
  /** While set, sees each call's operation and milliseconds: for profiles. */
  watch: ((op: Op, milliseconds: number) => void) | undefined;
  readonly #exports: Exports;
  readonly #pool: Pool | undefined;
  readonly #ints: Int32Array;
  readonly #floats: Float32Array;
  readonly #maySleep: number;
  #broken = false;

  private constructor(memory: Memory, build: Build, exports: Exports, pool: Pool | undefined) {
    this.memory = memory;
    this.build = build;
    this.#exports = exports;
    this.#pool = pool;
    this.#ints = new Int32Array(memory.wasm.buffer, INTS, 32);
    this.#floats = new Float32Array(memory.wasm.buffer, FLOATS, 16);
    // A browser's main thread must not block; everywhere else a short sleep is kinder than spinning.
    this.#maySleep = typeof (globalThis as { document?: unknown }).document === "undefined" ? 1 : 0;
  }

  /** Threads that work on a job, including the caller's. */
  get threads(): number {
    return 1 + (this.#pool?.size ?? 0);
  }

  /** Compiles the kernels, makes the memory and starts the threads. */
  static async create(options: EngineOptions = {}): Promise<Engine> {
    if (!hasSimd()) throw badRequest("This engine has no WebAssembly SIMD, which lobit needs.");
    const build = options.build ?? (hasRelaxedSimd() ? "relaxed" : "simd");
    const threads = options.threads ?? Math.min(8, globalThis.navigator?.hardwareConcurrency ?? 1);
    if (!Number.isInteger(threads) || threads < 1 || threads > 64) {
      throw badRequest(`threads must be a whole number from 1 to 64, not ${threads}.`);
    }
    const memory = new Memory(options.maxMemory);
    const text = atob(build === "relaxed" ? relaxed : simd);
    const module = await WebAssembly.compile(Uint8Array.from(text, (c) => c.charCodeAt(0)));
    const instance = await WebAssembly.instantiate(module, { env: { memory: memory.wasm } });
    const words = new Int32Array(memory.wasm.buffer);
    Atomics.store(words, TICKET >> 2, TICKET_BIAS);
    words[SCRATCH >> 2] = address(memory.allocate(threads * SCRATCH_BYTES));
    words[SCRATCH_SIZE >> 2] = SCRATCH_BYTES;
    const pool = threads > 1 && canShare()
      ? await Pool.start(threads - 1, module, memory.wasm)
      : undefined;
    return new Engine(memory, build, instance.exports as unknown as Exports, pool);
  }

  /**
   * Runs one kernel over `items` pieces of work on all threads; fewer than `grain` pieces are not worth another
   * thread's while. Arguments go by position; `wasm/kernels/` has a typed function per kernel.
   */
  call(
    op: Op,
    items: number,
    grain: number,
    ints: readonly (number | Ptr)[],
    floats: readonly number[] = [],
  ): void {
    if (items === 0) return;
    const { watch } = this;
    const begun = watch && performance.now();
    if (this.#broken) {
      throw new LobitError(
        "internal",
        "This engine was closed or lost a worker; create a new one.",
      );
    }
    for (let i = 0; i < ints.length; i++) this.#ints[i] = ints[i] as number;
    for (let i = 0; i < floats.length; i++) this.#floats[i] = floats[i]!;
    const workers = this.#pool?.size ?? 0;
    let state: number;
    try {
      state = this.#exports.dispatch(
        op,
        items,
        Math.max(1, Math.ceil(grain)),
        workers,
        this.#maySleep,
      );
    } catch (trap) {
      throw this.#lost(`the caller's thread trapped (${trap})`, trap);
    }
    const start = Date.now();
    while (state !== FINISHED) {
      const failure = this.#pool?.failure ??
        (Date.now() - start > PATIENCE_MS ? "a worker stopped answering" : undefined);
      if (failure) throw this.#lost(failure);
      state = this.#exports.await_job(this.#maySleep);
    }
    watch?.(op, performance.now() - begun!);
  }

  /** After a trap tickets are missing for ever, so no later job could finish: the engine ends. */
  #lost(failure: string, cause?: unknown): LobitError {
    this.close();
    return new LobitError(
      "internal",
      `A kernel did not finish: ${failure}. Load the model again.`,
      { cause },
    );
  }

  /** Ends the threads. The engine cannot be used afterwards. */
  close(): void {
    this.#broken = true;
    this.#pool?.stop();
  }
}

/** Whether memory can be posted to workers: in browsers only cross-origin isolated pages can. */
function canShare(): boolean {
  return (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated !== false ||
    (globalThis as { Deno?: unknown }).Deno !== undefined;
}
