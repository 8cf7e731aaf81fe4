/**
 * The kernels and their border: shared memory, threads and one typed call per kernel.
 *
 * @module
 */
export { Engine, type EngineOptions, SCRATCH_BYTES } from "./engine.ts";
export { type Build, hasRelaxedSimd, hasSimd } from "./features.ts";
export { Memory, NULL, offset, type Ptr } from "./memory.ts";
/** Typed calls, one function per kernel. */
export * as kernels from "./kernels/mod.ts";
export { Op } from "./abi.ts";
export { warmUp } from "./warm_up.ts";
export type { KvKind } from "./kernels/kv_cache.ts";
export type { PackedLayout } from "./kernels/packed.ts";
