// What moves parameters: AdamW (Loshchilov & Hutter, "Decoupled weight decay regularization") and sign-SGD. Parameters
// come in groups, each with its own learning rate and decay. The state can be saved and restored to the bit.
import { count, freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";
import type { Parameter } from "./parameters.ts";

/** Parameters that move alike. */
export interface Group {
  /** What moves. */
  readonly parameters: readonly Parameter[];
  /** Learning rate at the schedule's peak. */
  readonly lr: number;
  /** Decoupled weight decay: a step shrinks the parameter by lr * decay. */
  readonly decay: number;
}

/** Moves parameters along their gradients. */
export interface Optimiser {
  /** Takes one step with every group's learning rate times `rate`, gradients times `scale`. */
  step(rate: number, scale: number): void;
  /** Tensors that belong to the state, by name, to be saved and restored. */
  readonly state: readonly { readonly name: string; readonly tensor: Tensor }[];
  /** Steps taken; to be saved and restored. */
  steps: number;
  /** The first group's learning rate at the schedule's peak; 0 if there is no group. */
  readonly lr: number;
  /** Gives the state's memory back. */
  free(): void;
}

/** AdamW's numbers. */
export interface AdamWSettings {
  /** Decay of the mean of gradients. */
  readonly beta1: number;
  /** Decay of the mean of their squares. */
  readonly beta2: number;
  /** Added to the root of the latter. */
  readonly eps: number;
}

/** As in the paper. */
export const ADAMW: AdamWSettings = { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

interface Moments {
  readonly parameter: Parameter;
  readonly group: Group;
  readonly first: Tensor;
  readonly second: Tensor;
}

/** AdamW with bias correction. */
export class AdamW implements Optimiser {
  readonly #engine: Engine;
  readonly #settings: AdamWSettings;
  readonly #moments: readonly Moments[];
  /** Of the first group. */
  readonly lr: number;
  /** Steps taken. */
  steps = 0;

  /** Starts with moments of zero. */
  constructor(engine: Engine, groups: readonly Group[], settings: AdamWSettings = ADAMW) {
    const zeros = ({ tensor }: Parameter): Tensor => {
      const moment = heapTensor(engine.memory, tensor.shape);
      kernels.zero(engine, moment.ptr, count(moment));
      return moment;
    };
    this.#engine = engine;
    this.#settings = settings;
    this.lr = groups[0]?.lr ?? 0;
    this.#moments = groups.flatMap((group) =>
      group.parameters.map((parameter) => ({
        parameter,
        group,
        first: zeros(parameter),
        second: zeros(parameter),
      }))
    );
  }

  /** Both moments of every parameter. */
  get state(): { name: string; tensor: Tensor }[] {
    return this.#moments.flatMap(({ parameter: { name }, first, second }) => [
      { name: `${name}#first`, tensor: first },
      { name: `${name}#second`, tensor: second },
    ]);
  }

  /** Takes one step; see {@linkcode Optimiser}. */
  step(rate: number, scale: number): void {
    const { beta1, beta2, eps } = this.#settings;
    this.steps++;
    const correction1 = 1 - beta1 ** this.steps;
    const correction2 = 1 - beta2 ** this.steps;
    for (const { parameter, group, first, second } of this.#moments) {
      const { tensor, gradient } = parameter;
      const places = [tensor.ptr, gradient.ptr, first.ptr, second.ptr] as const;
      kernels.adamw(this.#engine, ...places, count(tensor), {
        lr: rate * group.lr,
        beta1,
        beta2,
        eps,
        decay: group.decay,
        correction1,
        correction2,
        gradScale: scale,
      });
    }
  }

  /** Gives the moments' memory back. */
  free(): void {
    for (const { first, second } of this.#moments) {
      freeTensor(this.#engine.memory, first);
      freeTensor(this.#engine.memory, second);
    }
  }
}

/** Moves every parameter by its learning rate against the sign of its gradient; has no state and no decay. */
export class SignSgd implements Optimiser {
  readonly #engine: Engine;
  readonly #groups: readonly Group[];
  /** Nothing. */
  readonly state: readonly [] = [];
  /** Of the first group. */
  readonly lr: number;
  /** Steps taken. */
  steps = 0;

  /** Takes groups without decay. */
  constructor(engine: Engine, groups: readonly Group[]) {
    this.#engine = engine;
    this.#groups = groups;
    this.lr = groups[0]?.lr ?? 0;
  }

  /** Takes one step; a gradient's scale has no effect. */
  step(rate: number): void {
    this.steps++;
    for (const { parameters, lr } of this.#groups) {
      for (const { tensor, gradient } of parameters) {
        kernels.signSgd(this.#engine, tensor.ptr, gradient.ptr, count(tensor), rate * lr);
      }
    }
  }

  /** Does nothing: there is no state. */
  free(): void {}
}

/** The factor that brings a gradient of this norm down to `limit`; 1 if it is shorter or there is no limit (0). */
export function clipFactor(norm: number, limit: number): number {
  return limit > 0 && norm > limit ? limit / (norm + 1e-6) : 1;
}
