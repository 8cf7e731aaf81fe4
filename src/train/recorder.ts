// What a tape remembers: which tensors gradients flow into, the gradients, and the steps back.
import { Infer } from "../ops/infer.ts";
import type { Arena } from "../tensor/arena.ts";
import { count, type Tensor } from "../tensor/tensor.ts";
import { type Engine, kernels, NULL, type Ptr } from "../../wasm/mod.ts";
import type { Parameters } from "./parameters.ts";

/** How a tape trades memory for time. */
export interface TapeOptions {
  /** Keeps only each block's input and computes the rest again on the way back. */
  checkpoint?: boolean;
}

/** Records steps and sums gradients. The verbs are in tape.ts. */
export class Recorder {
  /** Kernels and memory. */
  readonly engine: Engine;
  /** Computes every forward; packed weights are read as the numbers they stand for, which have a gradient. */
  protected readonly infer: Infer;
  readonly #parameters: Parameters;
  readonly #checkpoint: boolean;
  readonly #followed = new Set<Tensor>();
  readonly #gradients = new Map<Tensor, Tensor>();
  #steps: (() => void)[] = [];
  #recording = true;

  /** Makes an empty tape whose parameter gradients go to `parameters`. */
  constructor(engine: Engine, parameters: Parameters, options: TapeOptions = {}) {
    this.engine = engine;
    this.infer = new Infer(engine, { activations: "f32" });
    this.#parameters = parameters;
    this.#checkpoint = options.checkpoint ?? false;
  }

  /** Where activations and their gradients live until {@linkcode Recorder.reset}. */
  get arena(): Arena {
    return this.infer.arena;
  }

  /** Forgets everything recorded and takes back its memory. Gradients of parameters stay. */
  reset(): void {
    this.#steps = [];
    this.#followed.clear();
    this.#gradients.clear();
    this.#recording = true;
    this.arena.release({ chunk: -1, used: 0 });
  }

  /** Gives the memory back. */
  free(): void {
    this.reset();
    this.infer.free();
  }

  /** Follows a tensor that is no parameter, so that its gradient is kept. */
  watch(tensor: Tensor): void {
    this.#followed.add(tensor);
  }

  /** Whether gradients flow into a tensor. */
  follows(tensor: Tensor): boolean {
    return this.#followed.has(tensor) || this.#parameters.has(tensor);
  }

  /** Gradient of a tensor: zero when first asked for, summed into by every use of the tensor. */
  gradient(tensor: Tensor): Tensor {
    const known = this.#known(tensor);
    if (known) return known;
    const gradient = this.arena.tensor(tensor.shape);
    kernels.zero(this.engine, gradient.ptr, count(gradient));
    this.#gradients.set(tensor, gradient);
    return gradient;
  }

  /** Sends the gradients that losses have put on their inputs back through everything recorded. */
  backward(): void {
    this.#recording = false;
    const steps = this.#steps;
    this.#steps = [];
    for (let i = steps.length - 1; i >= 0; i--) steps[i]!();
  }

  /** Whether verbs are remembered now. */
  protected get recording(): boolean {
    return this.#recording;
  }

  /** Notes that `out` was computed from `inputs`; `back` gets the gradient of `out`, if there is one. */
  protected record(
    out: Tensor,
    inputs: readonly (Tensor | undefined)[],
    back: (dy: Tensor) => void,
  ): Tensor {
    if (!this.#recording || !inputs.some((input) => input && this.follows(input))) return out;
    this.#followed.add(out);
    this.#steps.push(() => {
      const dy = this.#gradients.get(out);
      if (dy) back(dy);
    });
    return out;
  }

  /** Adds what `fill` computes to the gradient of `x`: `fill` writes the place, or adds to it where `add` says so. */
  protected send(x: Tensor, fill: (dx: Ptr, add: boolean) => void): void {
    if (!this.follows(x)) return;
    const known = this.#known(x);
    const dx = known ?? this.arena.tensor(x.shape);
    if (!known) this.#gradients.set(x, dx);
    fill(dx.ptr, known !== undefined);
  }

  /** Adds `dx`, made in the arena and not used afterwards, to the gradient of `x`. */
  protected give(x: Tensor, dx: Tensor): void {
    if (!this.follows(x)) return;
    const known = this.#known(x);
    if (known) kernels.addInto(this.engine, known.ptr, dx.ptr, count(x));
    else this.#gradients.set(x, dx);
  }

  /** Where a kernel may add a parameter's gradient, or no place if it does not train. */
  protected sink(tensor: Tensor | undefined): Ptr {
    return tensor && this.follows(tensor) ? this.gradient(tensor).ptr : NULL;
  }

  /** Runs a block, which must read nothing that trains but `x` and parameters; see Ops. */
  block(x: Tensor, body: (x: Tensor) => Tensor): Tensor {
    if (!this.#recording || !this.#checkpoint) return this.scope(() => body(x));
    this.#recording = false;
    const out = this.infer.scope(() => body(x));
    this.#recording = true;
    // Whether a parameter inside trains shows only on the way back, so the output is followed in any case.
    this.#followed.add(out);
    this.#steps.push(() => {
      const dy = this.#gradients.get(out);
      if (dy) this.#again(x, body, dy);
    });
    return out;
  }

  /** Computes a block once more, this time recording, and runs it back. */
  #again(x: Tensor, body: (x: Tensor) => Tensor, dy: Tensor): void {
    // The gradient of x outlives the block's own tensors, so it is made before the mark.
    if (this.follows(x)) this.gradient(x);
    const mark = this.arena.mark();
    this.#recording = true;
    const out = body(x);
    // Steps may change the gradient they are given, and a body may hand its input through.
    this.give(out, this.#copy(dy));
    this.backward();
    this.arena.release(mark);
  }

  #copy(tensor: Tensor): Tensor {
    const copy = this.arena.tensor(tensor.shape);
    kernels.appendRows(this.engine, copy.ptr, tensor.ptr, 1, 4 * count(tensor));
    return copy;
  }

  #known(tensor: Tensor): Tensor | undefined {
    return this.#parameters.gradient(tensor) ?? this.#gradients.get(tensor);
  }

  /** Keeps every tensor while recording, since the way back needs them; see Ops. */
  scope(body: () => Tensor): Tensor {
    return this.#recording ? body() : this.infer.scope(body);
  }
}
