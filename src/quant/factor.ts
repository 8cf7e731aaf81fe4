// H = U·D·Uᵀ with U upper triangular with ones on its diagonal and D diagonal: the order of feedback of gptq.ts, and how
// least squares are solved (refit.ts). Blocked from the last column to the first; the bulk runs in the dense kernels.
import { LobitError } from "../base/errors.ts";
import { freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import { type Engine, kernels, offset } from "../../wasm/mod.ts";

/** A factored matrix on the heap; {@linkcode freeFactor} gives it back. */
export interface Factor {
  /** Rows and columns. */
  readonly size: number;
  /** f32 [size, size]: U above the diagonal; what lies on and below it means nothing. */
  readonly upper: Tensor;
  /** D: what is left of each diagonal entry once all later columns have been accounted for. */
  readonly diagonal: Float64Array;
  /** What was added to the diagonal in the end, as a share of its mean. */
  readonly damping: number;
}

const BLOCK = 64;

/**
 * Factors H + λI, λ being `damping` times the mean of H's diagonal; λ grows tenfold until every pivot is positive.
 *
 * @param matrix f32 [size, size], symmetric and positive semidefinite up to rounding.
 * @throws {LobitError} bad-request, when the matrix holds numbers that are not finite.
 */
export function factor(
  engine: Engine,
  matrix: Float32Array,
  size: number,
  damping: number,
): Factor {
  let mean = 0;
  for (let i = 0; i < size; i++) mean += matrix[i * size + i]! / size;
  if (!Number.isFinite(mean)) {
    throw new LobitError(
      "bad-request",
      "The calibration inputs hold numbers that are not finite: the model or its input is damaged.",
    );
  }
  const upper = heapTensor(engine.memory, [size, size]);
  const values = engine.memory.f32(upper.ptr, size * size);
  for (let share = damping;; share = Math.max(share * 10, 1e-6)) {
    values.set(matrix);
    // A matrix of zeros (a linear whose input is always zero) gets the identity.
    const added = mean > 0 ? share * mean : 1;
    for (let i = 0; i < size; i++) values[i * size + i]! += added;
    const diagonal = eliminate(engine, upper, size);
    if (diagonal) return { size, upper, diagonal, damping: share };
    if (share > 1e3) {
      freeTensor(engine.memory, upper);
      throw new LobitError("bad-request", "The calibration inputs cannot be factored.");
    }
  }
}

/** Gives a factor's memory back. */
export function freeFactor(engine: Engine, { upper }: Factor): void {
  freeTensor(engine.memory, upper);
}

/** In place, block after block from the right; nothing where a pivot is not positive. */
function eliminate(engine: Engine, upper: Tensor, size: number): Float64Array | undefined {
  const { memory } = engine;
  const a = memory.f32(upper.ptr, size * size);
  const diagonal = new Float64Array(size);
  const scaled = heapTensor(memory, [size, size]); // U·D
  const update = heapTensor(memory, [size, BLOCK]);
  try {
    for (let end = size; end > 0;) {
      const first = Math.max(0, end - BLOCK);
      const width = end - first;
      if (end < size) {
        kernels.gemm(engine, {
          out: update.ptr,
          a: offset(scaled.ptr, 4 * end),
          b: offset(upper.ptr, 4 * (first * size + end)),
          bKind: "f32",
          m: end,
          n: width,
          k: size - end,
          aRow: size,
          aCol: 1,
          bRow: 1,
          bCol: size,
        });
        const values = memory.f32(update.ptr, end * width);
        for (let row = 0, at = 0; row < end; row++) {
          for (let k = first; k < end; k++) a[row * size + k]! -= values[at++]!;
        }
      }
      const both = memory.f32(scaled.ptr, size * size);
      if (!eliminateBlock(a, both, size, first, end, diagonal)) return undefined;
      end = first;
    }
    return diagonal;
  } finally {
    freeTensor(memory, update);
    freeTensor(memory, scaled);
  }
}

/** Columns first to end - 1 of all rows above, once everything right of them has been taken off. */
function eliminateBlock(
  a: Float32Array,
  scaled: Float32Array,
  size: number,
  first: number,
  end: number,
  diagonal: Float64Array,
): boolean {
  for (let k = end - 1; k >= first; k--) {
    let pivot = a[k * size + k]!;
    for (let j = k + 1; j < end; j++) pivot -= a[k * size + j]! * scaled[k * size + j]!;
    if (!(pivot > 0 && Number.isFinite(pivot))) return false;
    diagonal[k] = pivot;
    for (let row = 0; row < k; row++) {
      let value = a[row * size + k]!;
      for (let j = k + 1; j < end; j++) value -= scaled[row * size + j]! * a[k * size + j]!;
      a[row * size + k] = value / pivot;
      scaled[row * size + k] = value;
    }
  }
  return true;
}
