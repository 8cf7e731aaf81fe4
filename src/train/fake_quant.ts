// Quantization-aware weights: the optimiser moves a latent weight, products see it on the grid that it will be stored
// on (or, to reproduce SPEED-Q's training, on the released one), and the gradient passes straight through the rounding
// wherever the weight lies inside its group's range, s (0 - z) <= w <= s (2^bits - 1 - z). The grid follows the latent
// weights' range, stays as it started, or its scales are learned, too (Esser et al., "Learned step size quantization").
import { badRequest } from "../base/errors.ts";
import { type BilevelFormat, checkFormat, type Format, formatName } from "../formats/format.ts";
import { codesOn, dequantize, type Grid, gridFrom, rangeOf, scalesOf } from "../formats/grid.ts";
import { type Coded, unpack } from "../formats/pack.ts";
import { type FakeQuantWeight, freeWeight, type Linear } from "../formats/weight.ts";
import {
  bytesOf,
  floats,
  freeTensor,
  heapTensor,
  type Tensor,
  tensorFrom,
  valuesOf,
} from "../tensor/tensor.ts";
import { type Engine, kernels, type Memory } from "../../wasm/mod.ts";
import { floatCopy } from "./trainable.ts";

/** Which grid the weight is seen on, and where its gradient passes. */
export interface FakeQuantOptions {
  /** The grid that lobit stores and runs (default), or the released one of SPEED-Q; the latter only follows ranges. */
  readonly form?: "stored" | "reference";
  /** Steps by which the range within which the gradient passes is wider on both sides; 0 as released, or 0.5. */
  readonly slack?: number;
  /** Where scales and zero codes come from while the weight moves; default `range`. */
  readonly scales?: ScaleSource;
  /** What a packed weight was before: its latent weight starts there, moved as little as its codes ask. */
  readonly original?: Tensor | undefined;
}

/** Scales and zero codes of the latent weights' range; as they were at the start; or scales learned from there. */
export type ScaleSource = "range" | "kept" | "learned";

/** How far from its code's middle a latent weight may start, in steps: it keeps its code, and may soon change it. */
const REACH = 0.45;

/** A linear in training. */
export class FakeQuant {
  /** What is trained; its weight is fake-quant as long as this is not closed. */
  readonly linear: Linear;
  /** What the optimiser moves. */
  readonly weight: FakeQuantWeight;
  /** What the optimiser moves besides, if scales are learned: shares of the start, f32 [rows, columns / group]. */
  readonly growths: Tensor | undefined;
  readonly #engine: Engine;
  readonly #format: BilevelFormat;
  readonly #options: Required<Omit<FakeQuantOptions, "original">>;
  /** The grid that is kept or grows; none if it follows the range. */
  readonly #start: Grid | undefined;
  /** f32 [rows, columns / group]. */
  readonly #scales: Tensor;
  readonly #zeros: Tensor;
  /** Scales at growth 0. */
  readonly #starts: Tensor | undefined;

  /**
   * Makes a dense linear, or one packed in this format, fake-quant and gives the old weight's memory back. A packed one
   * starts in the middle of its codes or close to what it was. Call {@linkcode FakeQuant.see} next.
   */
  constructor(engine: Engine, linear: Linear, format: Format, options: FakeQuantOptions = {}) {
    const { weight, rows, columns } = linear;
    if (format.kind !== "bilevel") {
      throw badRequest(
        `${linear.name}: training takes bilevel formats, not ${formatName(format)}.`,
      );
    }
    if (
      weight.kind === "fake-quant" ||
      weight.kind === "packed" && formatName(weight.format) !== formatName(format)
    ) {
      throw badRequest(
        `${linear.name} is ${weight.kind} as ${
          formatName(weight.format)
        } already; training towards ` +
          `${formatName(format)} starts from a dense weight or from that format.`,
      );
    }
    checkFormat(format, rows, columns);
    const { memory } = engine;
    this.#engine = engine;
    this.#format = format;
    this.#options = { form: "stored", slack: 0, scales: "range", ...options };
    this.linear = linear;
    const packed = weight.kind === "packed"
      ? unpack(weight.layout, bytesOf(memory, weight.blob))
      : undefined;
    const latent = weight.kind === "dense"
      ? floatCopy(memory, weight.tensor)
      : tensorFrom(memory, [rows, columns], start(memory, packed!, options.original));
    if (this.#options.scales !== "range") {
      this.#start = packed?.grid ??
        gridFrom(
          format,
          rows,
          columns,
          rangeOf(rows, columns, format.group, floats(memory, latent)),
        );
    }
    const groups = [rows, columns / format.group];
    const grid = this.#start;
    this.#scales = grid ? tensorFrom(memory, groups, scalesOf(grid)) : heapTensor(memory, groups);
    this.#zeros = grid
      ? tensorFrom(memory, groups, Float32Array.from(grid.zeroCodes!))
      : heapTensor(memory, groups);
    if (this.#options.scales === "learned") {
      this.#starts = tensorFrom(memory, groups, scalesOf(grid!));
      this.growths = tensorFrom(memory, groups, new Float32Array(grid!.scales.length));
    }
    freeWeight(memory, weight);
    this.weight = { kind: "fake-quant", format, latent, seen: heapTensor(memory, [rows, columns]) };
    linear.weight = this.weight;
  }

  /** Brings what products see up to date with the latent weight; scales and zero codes too, or as they were. */
  see(refreshScales = true): void {
    const { form, scales } = this.#options;
    if (refreshScales && scales === "range") {
      kernels.fakeQuantGrid(this.#engine, this.#operand, form);
    }
    if (refreshScales && this.growths) {
      const growing = { starts: this.#starts!.ptr, growths: this.growths.ptr };
      kernels.fakeQuantScales(this.#engine, growing, this.#operand);
    }
    kernels.fakeQuantSee(this.#engine, this.weight.seen.ptr, this.#operand);
  }

  /**
   * Turns the gradient of what was seen, summed over a whole step, into that of the latent weight, in place; writes that
   * of the growths, if they train.
   */
  mask(gradient: Tensor, growthGradient?: Tensor): void {
    if (this.#starts && growthGradient) {
      const places = [gradient.ptr, growthGradient.ptr, this.#starts.ptr] as const;
      kernels.fakeQuantScaleGradient(this.#engine, ...places, this.#operand);
    }
    kernels.fakeQuantMask(this.#engine, gradient.ptr, this.#operand, this.#options.slack);
  }

  /** The codes that the latent weight is seen as on the stored grid. */
  get coded(): Coded {
    const { memory } = this.#engine;
    const { rows, columns } = this.linear;
    const latent = floats(memory, this.weight.latent);
    const grid = this.#start
      ? this.growths ? this.#grown(this.#start, floats(memory, this.growths)) : this.#start
      : gridFrom(this.#format, rows, columns, rangeOf(rows, columns, this.#format.group, latent));
    return { grid, codes: codesOn(grid, latent) };
  }

  #grown(start: Grid, growths: Float32Array): Grid {
    const { fround } = Math;
    const scales = scalesOf(start).map((scale, i) => scale * fround(1 + growths[i]!));
    const none = new Float32Array(scales.length);
    const choice = { scales, zeroCodes: start.zeroCodes };
    return gridFrom(this.#format, start.rows, start.columns, { min: none, max: none }, choice);
  }

  get #operand(): kernels.FakeQuantOperand {
    const { rows, columns } = this.linear;
    const [latent, scales, zeros] = [this.weight.latent.ptr, this.#scales.ptr, this.#zeros.ptr];
    return { latent, scales, zeros, rows, columns, ...this.#format };
  }

  /** Gives back what only training needs. The weight stays fake-quant until it is packed. */
  close(): void {
    for (const tensor of [this.#scales, this.#zeros, this.#starts, this.growths]) {
      if (tensor) freeTensor(this.#engine.memory, tensor);
    }
  }
}

/** The values of codes, f32 [rows, columns]; or the original's, as far as these lie within the same codes. */
function start(memory: Memory, { grid, codes }: Coded, original: Tensor | undefined): Float32Array {
  const values = dequantize(grid, codes);
  if (!original) return values;
  const scales = scalesOf(grid);
  return valuesOf(memory, original).map((value, i) => {
    const reach = REACH * scales[Math.floor(i / grid.format.group)]!;
    return Math.min(values[i]! + reach, Math.max(values[i]! - reach, value));
  });
}
