// Positions of the packed product's integer arguments; wasm/kernels/packed.ts writes them in this order.
import { int, ptr } from "./args";

/** Positions. Strides are bytes per panel; `group` is columns per group, `band` panels per second group (0: scales are explicit). */
export const enum A {
  Out,
  Rows,
  Chunks,
  Tokens,
  Bits,
  Dot,
  Group,
  Band,
  GroupStride,
  PanelScales,
  PanelZeros,
  PanelCodes,
  Units,
  Second,
  Scales,
  Zeros,
  Codes,
  Activations,
  ActivationScales,
  Sums,
  Bias,
}

/** The ways to compute a dot of int8 activations and codes below 128; all give the same integers. */
export const enum Dot {
  /** Plain SIMD: bytes widened to 16 bits, multiplied and added. */
  Wide,
  /** Relaxed dot to 16 bits, then 16-bit adds: one multiply per 16 products on x86. */
  Pairs,
  /** Relaxed dot to 32 bits with its own accumulator: AVX-VNNI, SDOT. */
  Quads,
}

// @ts-ignore: decorator
@inline
export function num(at: A): i32 {
  return int(at as i32);
}

// @ts-ignore: decorator
@inline
export function place(at: A): usize {
  return ptr(at as i32);
}

/** Columns that are decoded or unpacked at a time, in chunks of 64 and in pairs of slabs: their scratch stays in L1. */
export const BLOCK_CHUNKS: i32 = 32;
export const BLOCK_PAIRS: i32 = 64;
