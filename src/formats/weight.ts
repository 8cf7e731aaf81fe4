// What a linear's weight can be. Models hold `Linear`s and never look inside; ops pick the product that fits the kind.
import { freeTensor, type Tensor } from "../tensor/tensor.ts";
import type { Memory } from "../../wasm/mod.ts";
import type { Format } from "./format.ts";
import type { Layout } from "./layout.ts";

/** Numbers as the checkpoint has them. */
export interface DenseWeight {
  /** Tells the kinds apart. */
  readonly kind: "dense";
  /** bf16 or f32 [rows, columns]. */
  readonly tensor: Tensor;
}

/** Low-bit codes in the kernels' layout. */
export interface PackedWeight {
  /** Tells the kinds apart. */
  readonly kind: "packed";
  /** How weights became codes. */
  readonly format: Format;
  /** Where scales and codes lie in the blob. */
  readonly layout: Layout;
  /** All of it, u8 [layout.bytes]. */
  readonly blob: Tensor;
}

/** A trainable weight seen through the grid it will be stored on. */
export interface FakeQuantWeight {
  /** Tells the kinds apart. */
  readonly kind: "fake-quant";
  /** The grid. */
  readonly format: Format;
  /** What the optimiser moves, f32 [rows, columns]. */
  readonly latent: Tensor;
  /** What products see: the latent weight quantized and dequantized, f32 [rows, columns]. */
  readonly seen: Tensor;
}

/** Any kind of weight. */
export type Weight = DenseWeight | PackedWeight | FakeQuantWeight;

/** y = x·Wᵀ + bias, or, as an embedding table, one row per token id. */
export interface Linear {
  /** Full checkpoint path without `.weight`. */
  readonly name: string;
  /** Outputs (or table rows). */
  readonly rows: number;
  /** Inputs (or embedding width). */
  readonly columns: number;
  /** Replaced by quantizers and trainers. */
  weight: Weight;
  /** f32 [rows]. */
  readonly bias?: Tensor | undefined;
}

/** Gives a weight's memory back. */
export function freeWeight(memory: Memory, weight: Weight): void {
  if (weight.kind === "dense") freeTensor(memory, weight.tensor);
  else if (weight.kind === "packed") freeTensor(memory, weight.blob);
  else {
    freeTensor(memory, weight.latent);
    freeTensor(memory, weight.seen);
  }
}
