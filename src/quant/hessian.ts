// What calibration tells about a linear: H = mean of x·xᵀ over its inputs. The squared error of its output is then
// tr((W - Ŵ)·H·(W - Ŵ)ᵀ) per token, which every method of this folder lowers.
import { badRequest } from "../base/errors.ts";
import { floats, freeTensor, heapTensor, rows, type Tensor, width } from "../tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";

/** Sums left·rightᵀ over tokens, f32, in the dense kernels, and the means of both. Tokens may have weights. */
export class Moments {
  /** Numbers per token of the left operand. */
  readonly left: number;
  /** Numbers per token of the right operand. */
  readonly right: number;
  readonly #engine: Engine;
  readonly #product: Tensor;
  readonly #sums: readonly [Float64Array, Float64Array];
  readonly #magnitudes: Float64Array;
  #tokens = 0;
  #weight = 0;

  /** Reserves [left, right] on the heap. */
  constructor(engine: Engine, left: number, right: number = left) {
    this.left = left;
    this.right = right;
    this.#engine = engine;
    this.#product = heapTensor(engine.memory, [left, right]);
    kernels.zero(engine, this.#product.ptr, left * right);
    this.#sums = [new Float64Array(left), new Float64Array(right)];
    this.#magnitudes = new Float64Array(right);
  }

  /** Tokens seen. */
  get tokens(): number {
    return this.#tokens;
  }

  /**
   * Adds every token, f32 [tokens, left] and [tokens, right].
   *
   * @param roots square roots of the tokens' weights; both operands have been multiplied with them already.
   */
  add(left: Tensor, right: Tensor = left, roots?: Float64Array): void {
    const k = rows(left);
    if (width(left) !== this.left || width(right) !== this.right || rows(right) !== k) {
      throw badRequest(
        `Moments of ${this.left} x ${this.right} were given [${left.shape}] and [${right.shape}].`,
      );
    }
    kernels.gemm(this.#engine, {
      out: this.#product.ptr,
      a: left.ptr,
      b: right.ptr,
      bKind: "f32",
      m: this.left,
      n: this.right,
      k,
      aRow: 1,
      aCol: this.left,
      bRow: this.right,
      bCol: 1,
      accumulate: true,
    });
    this.#tokens += k;
    this.#weight += roots ? roots.reduce((sum, root) => sum + root * root, 0) : k;
    const { memory } = this.#engine;
    addRows(this.#sums[1], this.#magnitudes, floats(memory, right), roots);
    if (left !== right) addRows(this.#sums[0], undefined, floats(memory, left), roots);
    else this.#sums[0].set(this.#sums[1]);
  }

  /** Mean over tokens, f32 [left, right], copied out. */
  mean(): Float32Array {
    const scale = 1 / this.#total;
    return floats(this.#engine.memory, this.#product).map((value) => value * scale);
  }

  /** As {@linkcode Moments.mean}, of what differs from the operands' means: covariances. */
  centred(): Float32Array {
    const product = this.mean();
    const [left, right] = this.means();
    for (let i = 0; i < this.left; i++) {
      for (let j = 0; j < this.right; j++) product[i * this.right + j]! -= left[i]! * right[j]!;
    }
    return product;
  }

  /** Means of the left and right operand. */
  means(): [Float64Array, Float64Array] {
    const scale = 1 / this.#total;
    const [left, right] = this.#sums.map((sum) => sum.map((value) => value * scale));
    return [left!, right!];
  }

  /** Means of the right operand's magnitudes. */
  magnitudes(): Float64Array {
    return this.#magnitudes.map((value) => value / this.#total);
  }

  get #total(): number {
    return this.#weight > 0 ? this.#weight : 1;
  }

  /** Gives the memory back. */
  free(): void {
    freeTensor(this.#engine.memory, this.#product);
  }
}

function addRows(
  sums: Float64Array,
  sizes: Float64Array | undefined,
  values: Float32Array,
  roots: Float64Array | undefined,
): void {
  for (let at = 0, token = 0; at < values.length; at += sums.length, token++) {
    const root = roots ? roots[token]! : 1;
    for (let j = 0; j < sums.length; j++) {
      sums[j]! += root * values[at + j]!;
      if (sizes) sizes[j]! += Math.abs(root * values[at + j]!);
    }
  }
}

/** Rows f32 [rows, columns] times a square matrix f32 [columns, columns], in the dense kernels. */
export function timesSquare(
  engine: Engine,
  values: Float32Array,
  matrix: Float32Array,
  columns: number,
): Float32Array {
  const { memory } = engine;
  const m = values.length / columns;
  const [left, right, out] = [m, columns, m].map((n) => heapTensor(memory, [n, columns]));
  try {
    floats(memory, left!).set(values);
    floats(memory, right!).set(matrix);
    kernels.gemm(engine, {
      out: out!.ptr,
      a: left!.ptr,
      b: right!.ptr,
      bKind: "f32",
      m,
      n: columns,
      k: columns,
      aRow: columns,
      aCol: 1,
      bRow: columns,
      bCol: 1,
    });
    return floats(memory, out!).slice();
  } finally {
    for (const tensor of [left!, right!, out!]) freeTensor(memory, tensor);
  }
}

/** Squared output error per token (W - Ŵ)·H·(W - Ŵ)ᵀ, summed over rows. */
export function outputError(
  engine: Engine,
  hessian: Float32Array,
  weights: Float32Array,
  approximation: Float32Array,
  columns: number,
): number {
  const miss = weights.map((weight, i) => weight - approximation[i]!);
  const product = timesSquare(engine, miss, hessian, columns);
  return product.reduce((sum, value, i) => sum + value * miss[i]!, 0);
}
