// Products and rows of packed weights.
import type { Linear, PackedWeight } from "../formats/weight.ts";
import type { Arena } from "../tensor/arena.ts";
import { count, rows, type Tensor } from "../tensor/tensor.ts";
import { type Engine, kernels, NULL, type Ptr } from "../../wasm/mod.ts";

/** Int8 activations with their scales and sums; kept while several linears read the same input. */
export interface Quantized {
  /** Codes. */
  readonly codes: Ptr;
  /** A scale per token and 64 columns. */
  readonly scales: Ptr;
  /** Sums of 16 codes. */
  readonly sums: Ptr;
}

/** x [tokens, columns] times a packed weight -> [tokens, rows]; `known` are x's codes from an earlier call. */
export function packedLinear(
  engine: Engine,
  arena: Arena,
  x: Tensor,
  linear: Linear,
  { layout, blob }: PackedWeight,
  known?: Quantized,
): { out: Tensor; codes: Quantized } {
  const tokens = rows(x);
  const out = arena.tensor([tokens, linear.rows]);
  const codes = known ?? quantize(engine, arena, x, tokens, linear.columns);
  const operand = { layout, blob: blob.ptr };
  kernels.packedProduct(engine, out.ptr, operand, codes, tokens, linear.bias?.ptr ?? NULL);
  return { out, codes };
}

function quantize(
  engine: Engine,
  arena: Arena,
  x: Tensor,
  tokens: number,
  columns: number,
): Quantized {
  const bytes = kernels.quantizedBytes(tokens, columns);
  const place = (size: number) => arena.tensor([size], "u8").ptr;
  const codes = { codes: place(bytes.codes), scales: place(bytes.scales), sums: place(bytes.sums) };
  kernels.quantizeActivations(engine, codes, x.ptr, tokens, columns);
  return codes;
}

/** Rows of a packed weight as f32: those of `ids` (i32), or all. */
export function packedRows(
  engine: Engine,
  arena: Arena,
  { layout, blob }: PackedWeight,
  ids?: Tensor,
): Tensor {
  const number = ids ? count(ids) : layout.rows;
  const out = arena.tensor([number, layout.columns]);
  const operand = { layout, blob: blob.ptr };
  kernels.dequantizeRows(engine, out.ptr, operand, number, 0, ids?.ptr ?? NULL);
  return out;
}
