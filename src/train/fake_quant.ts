// Quantization-aware weights: the optimiser moves a latent weight, products see it on the grid that it will be stored
// on (or, to reproduce SPEED-Q's training, on the released one), and the gradient passes straight through the rounding
// wherever the weight lies inside its group's range, s (0 - z) <= w <= s (2^bits - 1 - z).
import { badRequest } from "../base/errors.ts";
import { type BilevelFormat, checkFormat, type Format, formatName } from "../formats/format.ts";
import type { FakeQuantWeight, Linear } from "../formats/weight.ts";
import { freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";
import { floatCopy } from "./trainable.ts";

/** Which grid the weight is seen on, and where its gradient passes. */
export interface FakeQuantOptions {
  /** The grid that lobit stores and runs (default), or the released one of SPEED-Q. */
  readonly form?: "stored" | "reference";
  /** Steps by which the range within which the gradient passes is wider on both sides; 0 as released, or 0.5. */
  readonly slack?: number;
}

/** A linear in training. */
export class FakeQuant {
  /** What is trained; its weight is fake-quant as long as this is not closed. */
  readonly linear: Linear;
  /** What the optimiser moves. */
  readonly weight: FakeQuantWeight;
  readonly #engine: Engine;
  readonly #format: BilevelFormat;
  readonly #form: "stored" | "reference";
  readonly #slack: number;
  /** f32 [rows, columns / group]. */
  readonly #scales: Tensor;
  readonly #zeros: Tensor;

  /** Makes a dense linear fake-quant and gives the dense weight's memory back. Call {@linkcode FakeQuant.see} next. */
  constructor(engine: Engine, linear: Linear, format: Format, options: FakeQuantOptions = {}) {
    const { weight, rows, columns } = linear;
    if (weight.kind !== "dense") {
      throw badRequest(
        `${linear.name} is ${weight.kind} already; training starts from a dense weight.`,
      );
    }
    if (format.kind !== "bilevel") {
      throw badRequest(
        `${linear.name}: training takes bilevel formats, not ${formatName(format)}.`,
      );
    }
    checkFormat(format, rows, columns);
    const { memory } = engine;
    this.#engine = engine;
    this.#format = format;
    this.#form = options.form ?? "stored";
    this.#slack = options.slack ?? 0;
    this.linear = linear;
    const latent = floatCopy(memory, weight.tensor);
    const seen = heapTensor(memory, [rows, columns]);
    this.#scales = heapTensor(memory, [rows, columns / format.group]);
    this.#zeros = heapTensor(memory, [rows, columns / format.group]);
    freeTensor(memory, weight.tensor);
    this.weight = { kind: "fake-quant", format, latent, seen };
    linear.weight = this.weight;
  }

  /** Brings what products see up to date with the latent weight; scales and zero codes too, or as they were. */
  see(refreshScales = true): void {
    if (refreshScales) kernels.fakeQuantGrid(this.#engine, this.#operand, this.#form);
    kernels.fakeQuantSee(this.#engine, this.weight.seen.ptr, this.#operand);
  }

  /** Turns the gradient of what was seen, summed over a whole step, into that of the latent weight, in place. */
  mask(gradient: Tensor): void {
    kernels.fakeQuantMask(this.#engine, gradient.ptr, this.#operand, this.#slack);
  }

  get #operand(): kernels.FakeQuantOperand {
    const { rows, columns } = this.linear;
    const [latent, scales, zeros] = [this.weight.latent.ptr, this.#scales.ptr, this.#zeros.ptr];
    return { latent, scales, zeros, rows, columns, ...this.#format };
  }

  /** Gives back what only training needs. The weight stays fake-quant until it is packed. */
  close(): void {
    freeTensor(this.#engine.memory, this.#scales);
    freeTensor(this.#engine.memory, this.#zeros);
  }
}
