// The low-bit products: int8 activations times packed weights. Results are the same bits on every build, dot variant
// and thread count. A packed weight is described by its layout (structurally: src/formats `Layout` fits) and its blob.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import { NULL, offset, type Ptr } from "../memory.ts";
import { chooseDot, type Dot, DOT_CODES } from "./packed_dot.ts";

/** Where the parts of a packed weight lie; `Layout` of src/formats is one. Offsets and strides are bytes. */
export interface PackedLayout {
  /** Bits of a code and kind of grid. */
  readonly format: { readonly kind: "bilevel" | "symmetric"; readonly bits: 2 | 3 | 4 | 8 };
  /** Outputs. */
  readonly rows: number;
  /** Inputs. */
  readonly columns: number;
  /** ceil(rows / 8). */
  readonly panels: number;
  /** ceil(columns / 64). */
  readonly chunks: number;
  /** Columns of a group, a multiple of 16 (8 bits: 64). */
  readonly groupColumns: number;
  /** Groups stored per row. */
  readonly groupStride: number;
  /** Second groups, 0 when scales are explicit. */
  readonly bands: number;
  /** f32 unit per panel. */
  readonly units: { readonly offset: number };
  /** i16 base and step per band and group, when bands > 0. */
  readonly second?: { readonly offset: number };
  /** Scale codes, or i16 scales. */
  readonly scales: { readonly offset: number };
  /** Zero codes. */
  readonly zeros?: { readonly offset: number };
  /** Codes. */
  readonly codes: { readonly offset: number };
  /** From one panel's scales to the next. */
  readonly panelScales: number;
  /** From one panel's zero codes to the next. */
  readonly panelZeros: number;
  /** From one panel's codes to the next. */
  readonly panelCodes: number;
}

/** A packed weight in the engine's memory. */
export interface PackedOperand {
  /** Where its parts lie. */
  readonly layout: PackedLayout;
  /** The blob, 64-byte aligned. */
  readonly blob: Ptr;
}

/** Int8 activations in the engine's memory. Their inner order is the kernels' own. */
export interface QuantizedOperand {
  /** int8 [tokens, chunks · 64]. */
  readonly codes: Ptr;
  /** f32 [tokens, chunks]. */
  readonly scales: Ptr;
  /** i16 [tokens, chunks · 4], sums of 16 codes. */
  readonly sums: Ptr;
}

/** Bytes of each part of {@linkcode QuantizedOperand}. */
export function quantizedBytes(
  tokens: number,
  columns: number,
): { codes: number; scales: number; sums: number } {
  const chunks = tokens * Math.ceil(columns / 64);
  return { codes: chunks * 64, scales: chunks * 4, sums: chunks * 8 };
}

/**
 * Activations f32 [tokens, columns] to int8 with a scale per token and 64 columns, exactly as
 * `quantizeActivationsReference` of src/formats rounds; the codes of every 32 columns are permuted.
 */
export function quantizeActivations(
  engine: Engine,
  out: QuantizedOperand,
  x: Ptr,
  tokens: number,
  columns: number,
): void {
  const grain = Math.ceil(8192 / columns);
  engine.call(Op.QuantizeActivations, tokens, grain, [out.codes, out.scales, out.sums, x, columns]);
}

/** How a packed product may be run; only for tests and benchmarks, results are the same. */
export interface PackedOptions {
  /** The dot variant, instead of the fastest one. */
  readonly dot?: Dot;
  /** Whether to unpack to bytes first, instead of from {@linkcode MATRIX_TOKENS} tokens on. */
  readonly unpackFirst?: boolean;
}

/** From so many tokens on, unpacking a panel's codes to bytes once always pays. */
export const MATRIX_TOKENS = 8;
/** The same at 3 bits, whose codes take twice the work to unpack, and with plain SIMD, whose dots take most of the time. */
const SLOW_MATRIX_TOKENS = 4;

/**
 * out[t, r] = Σ x[t, c] · w[r, c] + bias[r], f32 [tokens, rows], with the exact arithmetic of `packedProductReference`
 * of src/formats.
 *
 * @param bias f32 [rows] or NULL.
 */
export function packedProduct(
  engine: Engine,
  out: Ptr,
  weight: PackedOperand,
  x: QuantizedOperand,
  tokens: number,
  bias: Ptr = NULL,
  options: PackedOptions = {},
): void {
  const { layout } = weight;
  if (tokens === 0) return;
  const { bits } = layout.format;
  const slow = bits === 3 || engine.build !== "relaxed";
  const many = tokens >= (slow ? SLOW_MATRIX_TOKENS : MATRIX_TOKENS);
  const matrix = bits !== 8 && (options.unpackFirst ?? many);
  const dot = options.dot ?? chooseDot(engine, layout.groupColumns % 32 === 0, matrix);
  const ints = weightInts(out, weight, layout.chunks, tokens, DOT_CODES[dot]);
  ints.push(x.codes, x.scales, x.sums, bias);
  const macs = layout.chunks * 512 * tokens;
  const grain = Math.ceil(65536 / macs);
  engine.call(matrix ? Op.PackedMatrix : Op.PackedVector, layout.panels, grain, ints);
}

/**
 * Rows of a packed weight as f32 [count, columns], as `dequantize` of src/formats gives them.
 *
 * @param count how many rows: `ids` names them, or without it they are `first` and the following.
 * @param ids i32 [count] row numbers, each below layout.rows, or NULL.
 */
export function dequantizeRows(
  engine: Engine,
  out: Ptr,
  weight: PackedOperand,
  count: number,
  first: number = 0,
  ids: Ptr = NULL,
): void {
  const { columns } = weight.layout;
  const ints = weightInts(out, weight, columns, count, 0);
  ints.push(ids, NULL, first);
  engine.call(Op.DequantizeRows, count, Math.ceil(8192 / columns), ints);
}

/** The arguments that describe the weight, in the order of kernels/packed_args.ts. */
function weightInts(
  out: Ptr,
  { layout, blob }: PackedOperand,
  width: number,
  tokens: number,
  dot: number,
): (number | Ptr)[] {
  const band = layout.bands > 0 ? layout.rows / layout.bands / 8 : 0;
  return [
    out,
    layout.rows,
    width,
    tokens,
    layout.format.bits,
    dot,
    layout.groupColumns,
    band,
    layout.groupStride,
    layout.panelScales,
    layout.panelZeros,
    layout.panelCodes,
    offset(blob, layout.units.offset),
    offset(blob, layout.second?.offset ?? 0),
    offset(blob, layout.scales.offset),
    offset(blob, layout.zeros?.offset ?? 0),
    offset(blob, layout.codes.offset),
  ];
}
