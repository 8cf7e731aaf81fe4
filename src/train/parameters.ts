// The tensors that train: each has a gradient of its own on the heap that backward passes sum into.
import { badRequest } from "../base/errors.ts";
import { count, freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";

/** One trainable tensor. */
export interface Parameter {
  /** Full checkpoint path. */
  readonly name: string;
  /** f32 values, changed in place by the optimiser. */
  readonly tensor: Tensor;
  /** Gradient, same shape. */
  readonly gradient: Tensor;
}

/** All tensors that train together. */
export class Parameters {
  readonly #engine: Engine;
  readonly #all: Parameter[] = [];
  readonly #byTensor = new Map<Tensor, Parameter>();

  /** An empty set. */
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** In the order they were added. */
  get all(): readonly Parameter[] {
    return this.#all;
  }

  /** Lets a tensor train. It must be f32; its gradient starts at zero. */
  add(name: string, tensor: Tensor): Parameter {
    if (tensor.dtype !== "f32") {
      throw badRequest(`${name} is ${tensor.dtype}; only f32 tensors train.`);
    }
    const known = this.#byTensor.get(tensor);
    if (known) return known;
    const gradient = heapTensor(this.#engine.memory, tensor.shape);
    const parameter = { name, tensor, gradient };
    kernels.zero(this.#engine, gradient.ptr, count(gradient));
    this.#all.push(parameter);
    this.#byTensor.set(tensor, parameter);
    return parameter;
  }

  /** Whether a tensor trains. */
  has(tensor: Tensor): boolean {
    return this.#byTensor.has(tensor);
  }

  /** The gradient of a tensor, if it trains. */
  gradient(tensor: Tensor): Tensor | undefined {
    return this.#byTensor.get(tensor)?.gradient;
  }

  /** Sets all gradients to zero. */
  zeroGradients(): void {
    for (const { gradient } of this.#all) kernels.zero(this.#engine, gradient.ptr, count(gradient));
  }

  /** Euclidean norm over all gradients, in a fixed order. */
  gradientNorm(): number {
    let sum = 0;
    for (const { gradient } of this.#all) {
      sum += kernels.sumSquares(this.#engine, gradient.ptr, count(gradient));
    }
    return Math.sqrt(sum);
  }

  /** Gives the gradients' memory back. */
  free(): void {
    for (const { gradient } of this.#all) freeTensor(this.#engine.memory, gradient);
    this.#all.length = 0;
    this.#byTensor.clear();
  }
}
