// Coordinate descent on codes, scale codes and zero codes: row by row, every step taken lowers the squared output error
// (w - ŵ)·H·(w - ŵ)ᵀ, so the result is never worse than its start. Base, step and unit stay. After "ReQuant", 2026.
import { throwIfAborted } from "../base/errors.ts";
import { largestCode } from "../formats/format.ts";
import { dequantize, type Grid, zeroOf } from "../formats/grid.ts";
import type { Coded } from "../formats/pack.ts";
import { roundCode } from "../formats/rounding.ts";
import { timesSquare } from "./hessian.ts";
import type { Task } from "./task.ts";

/** How {@linkcode descend} works. */
export interface DescendOptions {
  /** Most passes over a row; it ends earlier when a pass changes nothing. */
  readonly sweeps?: number;
  /** Most that a code may change at once. */
  readonly reach?: number;
  /** Also moves scale codes and zero codes of bilevel grids. */
  readonly grid?: boolean;
}

/** Improves codes; the ones given stay as they are. */
export function descend(task: Task, start: Coded, options: DescendOptions = {}): Coded {
  const { rows, columns, weights, hessian, format } = task;
  const { sweeps = 6, reach = 2, grid: moveGrid = true } = options;
  const grid = copyGrid(start.grid);
  const codes = start.codes.slice();
  const misses = dequantize(grid, codes);
  for (let i = 0; i < misses.length; i++) misses[i] = weights[i]! - misses[i]!;
  const slopes = timesSquare(task.engine, misses, hessian, columns);
  const row = new RowDescent(hessian, columns, format.group, largestCode(format), reach);
  for (let r = 0; r < rows; r++) {
    if (r % 64 === 0) throwIfAborted(task.signal);
    row.load(grid, codes, slopes, r);
    for (let sweep = 0; sweep < sweeps; sweep++) {
      let changed = row.sweepCodes();
      if (moveGrid && grid.second) changed = row.sweepGroups(r) || changed;
      if (!changed) break;
    }
  }
  return { grid, codes };
}

function copyGrid(grid: Grid): Grid {
  const { second } = grid;
  return {
    ...grid,
    scales: grid.scales.slice(),
    ...(grid.zeroCodes && { zeroCodes: grid.zeroCodes.slice() }),
    ...(second && { second: { ...second, codes: second.codes.slice() } }),
  };
}

/** One row: its codes and the slope g = (w - ŵ)·H, kept up to date. */
class RowDescent {
  readonly #hessian: Float32Array;
  readonly #columns: number;
  readonly #group: number;
  readonly #largest: number;
  readonly #reach: number;
  readonly #slope: Float64Array;
  readonly #levels: Float64Array;
  #grid!: Grid;
  #codes!: Uint8Array;
  #unit = 0;
  #firstGroup = 0;

  constructor(
    hessian: Float32Array,
    columns: number,
    group: number,
    largest: number,
    reach: number,
  ) {
    this.#hessian = hessian;
    this.#columns = columns;
    this.#group = group;
    this.#largest = largest;
    this.#reach = reach;
    this.#slope = new Float64Array(columns);
    this.#levels = new Float64Array(group);
  }

  load(grid: Grid, codes: Uint8Array, slopes: Float32Array, row: number): void {
    const columns = this.#columns;
    this.#grid = grid;
    this.#codes = codes.subarray(row * columns, (row + 1) * columns);
    this.#slope.set(slopes.subarray(row * columns, (row + 1) * columns));
    this.#unit = grid.units[row >> 3]!;
    this.#firstGroup = row * columns / this.#group;
  }

  /** ŵ of a column changes by `delta`: the slopes of all columns follow. */
  #move(column: number, delta: number): void {
    const start = column * this.#columns;
    for (let c = 0; c < this.#columns; c++) {
      this.#slope[c]! -= delta * this.#hessian[start + c]!;
    }
  }

  /** Each code to where the error, as a function of this code alone, is least. */
  sweepCodes(): boolean {
    let changed = false;
    for (let column = 0; column < this.#columns; column++) {
      const curvature = this.#hessian[column * this.#columns + column]!;
      if (!(curvature > 0)) continue;
      const i = this.#firstGroup + Math.floor(column / this.#group);
      const scale = Math.fround(this.#unit * this.#grid.scales[i]!);
      const code = this.#codes[column]!;
      const wish = roundCode(code + this.#slope[column]! / (curvature * scale), this.#largest);
      const next = Math.min(code + this.#reach, Math.max(code - this.#reach, wish));
      if (next === code) continue;
      const delta = scale * (next - code);
      const change = delta * (delta * curvature - 2 * this.#slope[column]!);
      // Less than rounding errors of the slope would not end.
      if (!(change < -1e-9 * Math.abs(delta * this.#slope[column]!))) continue;
      this.#codes[column] = next;
      this.#move(column, delta);
      changed = true;
    }
    return changed;
  }

  /** Each group's scale code and zero code to where the error is least while all codes stay. */
  sweepGroups(row: number): boolean {
    const { second, zeroCodes, scales, format } = this.#grid;
    const groups = this.#columns / this.#group;
    const band = Math.floor(row / (format as { secondGroup: number }).secondGroup) * groups;
    let changed = false;
    for (let g = 0; g < groups; g++) {
      const i = this.#firstGroup + g;
      const scale = Math.fround(this.#unit * scales[i]!);
      const zero = zeroOf(this.#grid, i);
      const first = g * this.#group;
      for (let j = 0; j < this.#group; j++) this.#levels[j] = this.#codes[first + j]! - zero;
      const [slope, curvature] = this.#along(first);
      const step = second!.step[band + g]!;
      if (step > 0 && curvature > 0) {
        const code = second!.codes[i]!;
        const wish = code + slope / (curvature * this.#unit * step);
        const next = roundCode(wish, 15);
        const scaled = second!.base[band + g]! + next * step;
        const delta = Math.fround(this.#unit * scaled) - scale;
        if (
          next !== code && delta * (delta * curvature - 2 * slope) < -1e-9 * Math.abs(delta * slope)
        ) {
          second!.codes[i] = next;
          scales[i] = scaled;
          this.#moveGroup(first, delta);
          changed = true;
          continue;
        }
      }
      this.#levels.fill(-scale);
      const [down, bend] = this.#along(first);
      if (!(bend > 0)) continue;
      const next = Math.min(
        zero + 1,
        Math.max(zero - 1, roundCode(zero + down / bend, this.#largest)),
      );
      const delta = next - zero;
      if (delta === 0 || !(delta * (delta * bend - 2 * down) < -1e-9 * Math.abs(delta * down))) {
        continue;
      }
      zeroCodes![i] = next;
      this.#moveGroup(first, delta);
      changed = true;
    }
    return changed;
  }

  /** Slope and curvature of the error when ŵ of the group moves along `levels`. */
  #along(first: number): [number, number] {
    let slope = 0;
    let curvature = 0;
    for (let j = 0; j < this.#group; j++) {
      const level = this.#levels[j]!;
      if (level === 0) continue;
      slope += level * this.#slope[first + j]!;
      const start = (first + j) * this.#columns + first;
      let sum = 0;
      for (let k = 0; k < this.#group; k++) sum += this.#hessian[start + k]! * this.#levels[k]!;
      curvature += level * sum;
    }
    return [slope, curvature];
  }

  #moveGroup(first: number, factor: number): void {
    for (let j = 0; j < this.#group; j++) {
      if (this.#levels[j] !== 0) this.#move(first + j, factor * this.#levels[j]!);
    }
  }
}
