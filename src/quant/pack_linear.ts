// Turns one linear's dense weight into a packed one, a few rows at a time. How weights become codes is the caller's
// choice; this file only moves data.
import { throwIfAborted } from "../base/errors.ts";
import { packRows, rowUnit } from "../formats/assemble.ts";
import type { Format } from "../formats/format.ts";
import { layoutOf } from "../formats/layout.ts";
import type { Coded } from "../formats/pack.ts";
import { freeWeight, type Linear, type PackedWeight } from "../formats/weight.ts";
import { bytesOf, freeTensor, heapTensor, type Tensor, valuesOf } from "../tensor/tensor.ts";
import type { Memory } from "../../wasm/mod.ts";

/** Codes for some rows of a weight, f32 [rows, columns]. */
export type Coder = (weights: Float32Array, rows: number, columns: number, format: Format) => Coded;

/** Weights coded at a time. */
const STEP = 1 << 20;

/** Packs a dense or fake-quant weight. The old tensors stay; see {@linkcode replaceWeight}. */
export function packLinear(
  memory: Memory,
  { rows, columns, weight }: Linear,
  format: Format,
  code: Coder,
  signal?: AbortSignal,
): PackedWeight {
  const source = weight.kind === "dense"
    ? weight.tensor
    : weight.kind === "fake-quant"
    ? weight.latent
    : undefined;
  if (!source) throw new TypeError("only dense and fake-quant weights can be packed");
  const layout = layoutOf(format, rows, columns);
  const blob = heapTensor(memory, [layout.bytes], "u8");
  try {
    const bytes = bytesOf(memory, blob);
    bytes.fill(0);
    const unit = rowUnit(format);
    const step = Math.max(1, Math.floor(STEP / columns / unit)) * unit;
    for (let first = 0; first < rows; first += step) {
      throwIfAborted(signal);
      const taken = Math.min(step, rows - first);
      const values = readRows(memory, source, columns, first, taken);
      packRows(layout, first, code(values, taken, columns, format), bytes);
    }
  } catch (error) {
    freeTensor(memory, blob);
    throw error;
  }
  return { kind: "packed", format, layout, blob };
}

/** Rows of a dense tensor as f32, copied out of the shared memory. */
export function readRows(
  memory: Memory,
  tensor: Tensor,
  columns: number,
  first: number,
  rows: number,
): Float32Array {
  return valuesOf(memory, tensor, first * columns, (first + rows) * columns);
}

/** Puts a new weight in place of the old one and gives the old one's memory back. */
export function replaceWeight(memory: Memory, linear: Linear, weight: Linear["weight"]): void {
  const old = linear.weight;
  linear.weight = weight;
  freeWeight(memory, old);
}

/** Packs codes of a whole weight that a method has found. */
export function packCoded(memory: Memory, linear: Linear, coded: Coded): PackedWeight {
  const { format } = coded.grid;
  const layout = layoutOf(format, linear.rows, linear.columns);
  const blob = heapTensor(memory, [layout.bytes], "u8");
  try {
    const bytes = bytesOf(memory, blob);
    bytes.fill(0);
    packRows(layout, 0, coded, bytes);
  } catch (error) {
    freeTensor(memory, blob);
    throw error;
  }
  return { kind: "packed", format, layout, blob };
}
