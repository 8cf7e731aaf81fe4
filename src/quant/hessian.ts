// What calibration tells about a linear: H = mean of x·xᵀ over its inputs. The squared error of its output is then
// tr((W - Ŵ)·H·(W - Ŵ)ᵀ) per token, which every method of this folder lowers.
import { badRequest } from "../base/errors.ts";
import { floats, freeTensor, heapTensor, rows, type Tensor, width } from "../tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";

/** Sums a·bᵀ over tokens, f32, in the dense kernels. */
export class Moments {
  /** Numbers per token of the left and right operand. */
  readonly size: number;
  readonly #engine: Engine;
  readonly #sum: Tensor;
  #tokens = 0;

  /** Reserves [size, size] on the heap. */
  constructor(engine: Engine, size: number) {
    this.size = size;
    this.#engine = engine;
    this.#sum = heapTensor(engine.memory, [size, size]);
    kernels.zero(engine, this.#sum.ptr, size * size);
  }

  /** Tokens seen. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Adds left·rightᵀ of every token, both f32 [tokens, size]; of a token with itself for H. */
  add(left: Tensor, right: Tensor = left): void {
    const { size } = this;
    if (width(left) !== size || width(right) !== size || rows(left) !== rows(right)) {
      throw badRequest(
        `Moments of ${size} columns were given [${left.shape}] and [${right.shape}].`,
      );
    }
    const k = rows(left);
    kernels.gemm(this.#engine, {
      out: this.#sum.ptr,
      a: left.ptr,
      b: right.ptr,
      bKind: "f32",
      m: size,
      n: size,
      k,
      aRow: 1,
      aCol: size,
      bRow: size,
      bCol: 1,
      accumulate: true,
    });
    this.#tokens += k;
  }

  /** The mean over tokens, f32 [size, size], copied out. */
  mean(): Float32Array {
    const scale = 1 / Math.max(1, this.#tokens);
    return floats(this.#engine.memory, this.#sum).map((value) => value * scale);
  }

  /** Gives the memory back. */
  free(): void {
    freeTensor(this.#engine.memory, this.#sum);
  }
}

/** Per row, the squared output error (w - ŵ)·H·(w - ŵ)ᵀ, H being f32 [columns, columns]. */
export function outputErrors(
  hessian: Float32Array,
  weights: Float32Array,
  approximation: Float32Array,
  columns: number,
): Float64Array {
  const errors = new Float64Array(weights.length / columns);
  const miss = new Float64Array(columns);
  for (let row = 0; row < errors.length; row++) {
    for (let c = 0; c < columns; c++) {
      miss[c] = weights[row * columns + c]! - approximation[row * columns + c]!;
    }
    for (let c = 0; c < columns; c++) {
      let sum = 0;
      for (let d = 0; d < columns; d++) sum += hessian[c * columns + d]! * miss[d]!;
      errors[row]! += sum * miss[c]!;
    }
  }
  return errors;
}
