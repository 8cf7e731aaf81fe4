// Rounds column after column; what a column's rounding takes from the output, later columns give back as far as
// calibration inputs let them. Frantar et al., "GPTQ", 2023, in the form of Chee et al., "QuIP", 2023 (the same numbers
// by one factorisation): H = U·D·Uᵀ, q_k = round(w_k + (w - ŵ)_{<k}·U_{<k,k}).
import { throwIfAborted } from "../base/errors.ts";
import { largestCode } from "../formats/format.ts";
import { dequantize, type Grid, zeroOf } from "../formats/grid.ts";
import type { Coded } from "../formats/pack.ts";
import { roundCode } from "../formats/rounding.ts";
import { symmetricGrid } from "../formats/symmetric.ts";
import { freeTensor, heapTensor } from "../tensor/tensor.ts";
import { kernels, offset } from "../../wasm/mod.ts";
import { factor, freeFactor } from "./factor.ts";
import { GroupGrid } from "./group_grid.ts";
import { outputError } from "./hessian.ts";
import type { Task } from "./task.ts";

/** How {@linkcode gptq} works. */
export interface GptqOptions {
  /** Added to H's diagonal, as a share of its mean. */
  readonly damping?: number;
  /** Fixes each group's scales before anything is rounded, not when its first column is reached. */
  readonly staticGroups?: boolean;
  /** Takes the groups, and the columns in a group, with the strongest inputs first. */
  readonly activationOrder?: boolean;
}

/** Columns between two products with the errors of all columns before. */
const BLOCK = 64;

/** Codes by rounding with error feedback. Symmetric formats keep the grid of their own search. */
export function gptq(task: Task, options: GptqOptions = {}): Coded {
  const { engine, weights, rows, columns, format } = task;
  const { damping = 0.01, staticGroups = false, activationOrder = true } = options;
  const { group } = format;
  const order = columnOrder(task, activationOrder);
  const factored = factor(engine, permuted(task.hessian, columns, order), columns, damping);
  const { memory } = engine;
  const misses = heapTensor(memory, [rows, columns]); // w - ŵ, columns in the order they are taken
  const feedback = heapTensor(memory, [rows, BLOCK]);
  try {
    const upper = memory.f32(factored.upper.ptr, columns * columns);
    const miss = memory.f32(misses.ptr, rows * columns);
    const codes = new Uint8Array(rows * columns);
    const shifted = new Float64Array(rows * BLOCK); // this block's weights with the feedback of earlier blocks
    const wanted = new Float64Array(rows * group);
    const importance = new Float64Array(group);
    const building = format.kind === "bilevel"
      ? new GroupGrid(format, rows, columns, weights)
      : undefined;
    const grid: Grid = building ? building.grid : symmetricGrid(
      format as Extract<typeof format, { kind: "symmetric" }>,
      rows,
      columns,
      weights,
    );
    const largest = largestCode(format);

    /** The weight of a row and place in order, with all feedback up to `known` places. */
    const current = (row: number, place: number, first: number, known: number): number => {
      let value = shifted[row * BLOCK + place - first]!;
      for (let k = first; k < known; k++) {
        value += miss[row * columns + k]! * upper[k * columns + place]!;
      }
      return value;
    };
    const fix = (first: number, value: (row: number, place: number) => number): void => {
      const g = Math.floor(order[first]! / group);
      for (let j = 0; j < group; j++) {
        const column = order[first + j]! % group;
        importance[column] = factored.diagonal[first + j]!;
        for (let row = 0; row < rows; row++) wanted[row * group + column] = value(row, first + j);
      }
      building!.fix(g, wanted, importance);
    };
    if (building && staticGroups) {
      for (let first = 0; first < columns; first += group) {
        fix(first, (row, place) => weights[row * columns + order[place]!]!);
      }
    }
    const unitsOf = grid.units;
    const perRow = columns / group;
    let fixed = staticGroups || !building ? columns : 0;
    // A block ends where a group ends, or inside a group wider than a block, whose scales are then fixed from weights
    // that lack the feedback of its own first block only in part.
    for (let first = 0; first < columns;) {
      throwIfAborted(task.signal);
      const width = Math.min(
        columns - first,
        group <= BLOCK ? group * Math.floor(BLOCK / group) : BLOCK,
      );
      if (first > 0) {
        kernels.gemm(engine, {
          out: feedback.ptr,
          a: misses.ptr,
          b: offset(factored.upper.ptr, 4 * first),
          bKind: "f32",
          m: rows,
          n: width,
          k: first,
          aRow: columns,
          aCol: 1,
          bRow: columns,
          bCol: 1,
        });
      }
      const given = memory.f32(feedback.ptr, rows * width);
      for (let row = 0; row < rows; row++) {
        for (let k = 0; k < width; k++) {
          const weight = weights[row * columns + order[first + k]!]!;
          shifted[row * BLOCK + k] = weight + (first > 0 ? given[row * width + k]! : 0);
        }
      }
      for (let place = first; place < first + width; place++) {
        if (place >= fixed && place % group === 0) {
          fix(
            place,
            (row, at) =>
              at < first + width
                ? current(row, at, first, place)
                : weights[row * columns + order[at]!]!,
          );
          fixed = place + group;
        }
        const column = order[place]!;
        const g = Math.floor(column / group);
        for (let row = 0; row < rows; row++) {
          const i = row * perRow + g;
          const scale = Math.fround(unitsOf[row >> 3]! * grid.scales[i]!);
          const zero = zeroOf(grid, i);
          const code = roundCode(current(row, place, first, place) / scale + zero, largest);
          codes[row * columns + column] = code;
          miss[row * columns + place] = weights[row * columns + column]! - scale * (code - zero);
        }
      }
      first += width;
    }
    return { grid, codes };
  } finally {
    freeTensor(memory, feedback);
    freeTensor(memory, misses);
    freeFactor(engine, factored);
  }
}

/** Places to columns; the columns of a group stay together. */
function columnOrder({ hessian, columns, format }: Task, byActivation: boolean): Int32Array {
  const order = Int32Array.from({ length: columns }, (_, i) => i);
  if (!byActivation) return order;
  const strength = (column: number) => hessian[column * columns + column]!;
  const { group } = format;
  const sums = new Float64Array(columns / group);
  for (let i = 0; i < columns; i++) sums[Math.floor(i / group)]! += strength(i);
  return order.sort((a, b) => {
    const [g, h] = [Math.floor(a / group), Math.floor(b / group)];
    if (g !== h) return sums[h]! - sums[g]! || g - h;
    return strength(b) - strength(a) || a - b;
  });
}

function permuted(matrix: Float32Array, size: number, order: Int32Array): Float32Array {
  const out = new Float32Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) out[i * size + j] = matrix[order[i]! * size + order[j]!]!;
  }
  return out;
}

/** Squared output error of codes per token, summed over rows. */
export function codedError(task: Task, { grid, codes }: Coded): number {
  const { engine, hessian, weights, columns } = task;
  return outputError(engine, hessian, weights, dequantize(grid, codes), columns);
}
