/** One typed function per kernel; see `kernels/README.md` for what each computes. */
export * from "./ceilings.ts";
export * from "./checksum.ts";
export * from "./attention.ts";
export * from "./copy.ts";
export { appendKeysValues, kvCacheBytes, type KvKind, type NewKeysValues } from "./kv_cache.ts";
export * from "./norm.ts";
export * from "./pointwise.ts";
export * from "./sequence.ts";
export * from "./dense.ts";
export * from "./packed.ts";
export { chooseDot, type Dot, dotsOf } from "./packed_dot.ts";
export { addScaled, scaleRows, sumColumnProducts, sumColumns } from "./columns.ts";
export * from "./losses.ts";
export * from "./optimise.ts";
export * from "./rope.ts";
export * from "./rows.ts";
export * from "./fake_quant.ts";
