// Channel equalization after Lin et al., "AWQ", 2024: input channels that carry much are scaled up before rounding and
// what feeds them down, s = mean|x|^a, a from a grid of 20 by the output error of rounding to nearest. The scales are
// folded into the norm or linear in front, so the full-precision function stays the same.
import type { Format } from "../formats/format.ts";
import { codesOn, dequantize, gridFrom, rangeOf } from "../formats/grid.ts";
import { symmetricGrid } from "../formats/symmetric.ts";
import type { Linear } from "../formats/weight.ts";
import type { ScalePair } from "../models/vlm.ts";
import { floats } from "../tensor/tensor.ts";
import type { Engine } from "../../wasm/mod.ts";
import { type Moments, outputError } from "./hessian.ts";
import type { TwoWeights } from "./two_weights.ts";

/** Exponents that are tried: 0, 1/20, … 19/20. */
const EXPONENTS = 20;

/** Scales a pair's channels in place for the least error of its readers; returns the exponent that was taken. */
export function equalizePair(
  engine: Engine,
  pair: ScalePair,
  inputs: Moments,
  formats: ReadonlyMap<string, Format>,
  two: TwoWeights,
): number {
  const columns = inputs.right;
  const channelOf = pair.channelOf ?? ((column: number) => column);
  const sizes = channelSizes(inputs.magnitudes(), channelOf);
  const hessian = inputs.mean();
  const readers = pair.to.map((linear) => ({
    linear,
    values: two.values(linear),
    format: formats.get(linear.name)!,
  }));
  let best = { exponent: 0, error: Infinity, scales: sizes };
  for (let i = 0; i < EXPONENTS; i++) {
    const scales = scalesFor(sizes, i / EXPONENTS);
    const perColumn = Float32Array.from({ length: columns }, (_, c) => scales[channelOf(c)]!);
    let error = 0;
    for (const { linear, values, format } of readers) {
      const scaled = values.map((value, at) => value * perColumn[at % columns]!);
      const seen = rounded(scaled, linear, format);
      for (let at = 0; at < seen.length; at++) seen[at]! /= perColumn[at % columns]!;
      error += outputError(engine, hessian, values, seen, columns);
    }
    if (error < best.error) best = { exponent: i / EXPONENTS, error, scales };
  }
  fold(engine, pair, best.scales, channelOf, readers, two);
  return best.exponent;
}

/** Mean magnitude of each channel over the columns that read it. */
function channelSizes(
  magnitudes: Float64Array,
  channelOf: (column: number) => number,
): Float64Array {
  let channels = 0;
  for (let c = 0; c < magnitudes.length; c++) channels = Math.max(channels, channelOf(c) + 1);
  const sums = new Float64Array(channels);
  const counts = new Float64Array(channels);
  magnitudes.forEach((size, column) => {
    sums[channelOf(column)]! += size;
    counts[channelOf(column)]! += 1;
  });
  return sums.map((sum, channel) => sum / Math.max(1, counts[channel]!));
}

/** sizes^exponent, centred around 1 so that the group ranges stay where they are on the whole. */
function scalesFor(sizes: Float64Array, exponent: number): Float64Array {
  const scales = sizes.map((size) => Math.max(size, 1e-4) ** exponent);
  let [low, high] = [Infinity, 0];
  for (const scale of scales) [low, high] = [Math.min(low, scale), Math.max(high, scale)];
  return scales.map((scale) => Math.fround(scale / Math.sqrt(low * high)));
}

function rounded(values: Float32Array, { rows, columns }: Linear, format: Format): Float32Array {
  const grid = format.kind === "symmetric"
    ? symmetricGrid(format, rows, columns, values)
    : gridFrom(format, rows, columns, rangeOf(rows, columns, format.group, values));
  return dequantize(grid, codesOn(grid, values));
}

function fold(
  { memory }: Engine,
  { vectors, from }: ScalePair,
  scales: Float64Array,
  channelOf: (column: number) => number,
  readers: readonly { linear: Linear; values: Float32Array }[],
  two: TwoWeights,
): void {
  for (const { linear, values } of readers) {
    const { columns } = linear;
    two.replaceTeacher(linear, values.map((value, i) => value * scales[channelOf(i % columns)]!));
  }
  for (const vector of vectors ?? []) {
    const values = floats(memory, vector);
    for (let i = 0; i < values.length; i++) values[i]! /= scales[i]!;
  }
  if (!from) return;
  const { columns } = from;
  const values = two.values(from);
  two.replaceTeacher(
    from,
    values.map((value, i) => value / scales[Math.floor(i / columns)]!),
    two.bias(from)?.map((value, row) => value / scales[row]!),
  );
}
