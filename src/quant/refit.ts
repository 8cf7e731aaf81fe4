// Least squares: the weights with which a linear, reading what it reads after quantization, comes closest to what the
// full-precision one put out. Ridge towards the weights it has: W* = (C + λW)·(H + λI)⁻¹, with C = mean of target·xᵀ.
import { freeTensor, heapTensor } from "../tensor/tensor.ts";
import { type Engine, kernels, offset } from "../../wasm/mod.ts";
import { type Factor, factor, freeFactor } from "./factor.ts";

const BLOCK = 64;

/** What a fit needs; moments centred where a bias takes up the means. */
export interface Fit {
  /** Mean of target·xᵀ, f32 [rows, columns]. */
  readonly cross: Float32Array;
  /** Mean of x·xᵀ, f32 [columns, columns]. */
  readonly hessian: Float32Array;
  /** Where the fit is pulled to, f32 [rows, columns]. */
  readonly weights: Float32Array;
  /** λ as a share of H's mean diagonal. */
  readonly ridge: number;
}

/** The fitted weights, f32 [rows, columns]. */
export function refit(
  engine: Engine,
  { cross, hessian, weights, ridge }: Fit,
  columns: number,
): Float32Array {
  const factored = factor(engine, hessian, columns, ridge);
  try {
    let mean = 0;
    for (let i = 0; i < columns; i++) mean += hessian[i * columns + i]! / columns;
    const pull = mean > 0 ? mean * factored.damping : 1;
    const right = cross.map((value, i) => value + pull * weights[i]!);
    return solveRows(engine, factored, right);
  } finally {
    freeFactor(engine, factored);
  }
}

/** X with X·U·D·Uᵀ = right, f32 [rows, size]. */
export function solveRows(engine: Engine, factored: Factor, right: Float32Array): Float32Array {
  const { size, upper, diagonal } = factored;
  const { memory } = engine;
  const rows = right.length / size;
  const solution = heapTensor(memory, [rows, size]);
  const update = heapTensor(memory, [rows, BLOCK]);
  const x = memory.f32(solution.ptr, rows * size);
  const u = memory.f32(upper.ptr, size * size);
  x.set(right);

  /** Takes the columns `from` to `from + k - 1`, already solved, off the block. */
  const takeOff = (first: number, width: number, from: number, k: number, transposed: boolean) => {
    if (k === 0) return;
    const at = transposed ? first * size + from : from * size + first;
    kernels.gemm(engine, {
      out: update.ptr,
      a: offset(solution.ptr, 4 * from),
      b: offset(upper.ptr, 4 * at),
      bKind: "f32",
      m: rows,
      n: width,
      k,
      aRow: size,
      aCol: 1,
      bRow: transposed ? 1 : size,
      bCol: transposed ? size : 1,
    });
    const values = memory.f32(update.ptr, rows * width);
    for (let row = 0, i = 0; row < rows; row++) {
      for (let j = 0; j < width; j++) x[row * size + first + j]! -= values[i++]!;
    }
  };
  try {
    for (let end = size; end > 0;) { // Z·Uᵀ = right
      const first = Math.max(0, end - BLOCK);
      takeOff(first, end - first, end, size - end, true);
      for (let row = 0; row < rows; row++) {
        for (let k = end - 1; k >= first; k--) {
          let value = x[row * size + k]!;
          for (let j = k + 1; j < end; j++) value -= x[row * size + j]! * u[k * size + j]!;
          x[row * size + k] = value;
        }
      }
      end = first;
    }
    for (let i = 0; i < x.length; i++) x[i]! /= diagonal[i % size]!;
    for (let first = 0; first < size; first += BLOCK) { // X·U = Z·D⁻¹
      const end = Math.min(size, first + BLOCK);
      takeOff(first, end - first, 0, first, false);
      for (let row = 0; row < rows; row++) {
        for (let k = first; k < end; k++) {
          let value = x[row * size + k]!;
          for (let j = first; j < k; j++) value -= x[row * size + j]! * u[j * size + k]!;
          x[row * size + k] = value;
        }
      }
    }
    return x.slice();
  } finally {
    freeTensor(memory, update);
    freeTensor(memory, solution);
  }
}
