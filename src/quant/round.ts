// Round to nearest: the baseline, and the start of every other method. Optionally each group's range first shrinks to
// where the weights' own squared error is least.
import type { Format } from "../formats/format.ts";
import { largestCode } from "../formats/format.ts";
import { codesOn, gridFrom, type Range, rangeOf } from "../formats/grid.ts";
import type { Coded } from "../formats/pack.ts";
import { symmetricGrid } from "../formats/symmetric.ts";

/** Codes by rounding every weight to its grid. Symmetric formats always search their scale. */
export function roundToNearest(
  weights: Float32Array,
  rows: number,
  columns: number,
  format: Format,
): Coded {
  return coded(weights, rows, columns, format, (range) => range);
}

/** As {@linkcode roundToNearest}, but over the shrunk range of least squared weight error. */
export function roundClipped(
  weights: Float32Array,
  rows: number,
  columns: number,
  format: Format,
): Coded {
  return coded(
    weights,
    rows,
    columns,
    format,
    (range) => shrinkRanges(weights, format.group, largestCode(format), range),
  );
}

function coded(
  weights: Float32Array,
  rows: number,
  columns: number,
  format: Format,
  adjust: (range: Range) => Range,
): Coded {
  const grid = format.kind === "symmetric"
    ? symmetricGrid(format, rows, columns, weights)
    : gridFrom(format, rows, columns, adjust(rangeOf(rows, columns, format.group, weights)));
  return { grid, codes: codesOn(grid, weights) };
}

/** Shares of the full range that are tried. */
const SHRINKS = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5];

/** Per group, the share of its range whose plain grid (scale and zero code, no second level) errs least. */
export function shrinkRanges(
  weights: Float32Array,
  group: number,
  largest: number,
  range: Range,
): Range {
  const min = Float32Array.from(range.min, (low) => Math.min(low, 0));
  const max = Float32Array.from(range.max, (high) => Math.max(high, 0));
  for (let g = 0; g < min.length; g++) {
    const [low, high] = [min[g]!, max[g]!];
    let least = Infinity;
    for (const share of SHRINKS) {
      const scale = Math.max((high - low) * share / largest, 1e-30);
      const zero = Math.min(largest, Math.max(0, Math.round(-low * share / scale)));
      let error = 0;
      for (let i = g * group; i < (g + 1) * group; i++) {
        const code = Math.min(largest, Math.max(0, Math.round(weights[i]! / scale) + zero));
        error += (weights[i]! - scale * (code - zero)) ** 2;
      }
      if (error < least) {
        least = error;
        [min[g], max[g]] = [low * share, high * share];
      }
    }
  }
  return { min, max };
}
