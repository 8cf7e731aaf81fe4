// How far packed weights are from what they were made of: sum (w^ - w)^2 / sum w^2, a linear at a time, with the dense
// values read a few rows at a time.
import { throwIfAborted } from "../base/errors.ts";
import { scalesOf, zeroOf } from "../formats/grid.ts";
import { unpack } from "../formats/pack.ts";
import type { Linear } from "../formats/weight.ts";
import { linearsOf, partsOf, type Vlm } from "../models/vlm.ts";
import { readRows } from "../quant/pack_linear.ts";
import { bytesOf } from "../tensor/tensor.ts";
import type { Memory } from "../../wasm/mod.ts";

/** A model and the memory that holds it. */
export interface HeldModel {
  /** The model. */
  readonly vlm: Vlm;
  /** Its memory. */
  readonly memory: Memory;
}

/** Weights read at a time. */
const STEP = 1 << 20;

/** Errors by linear name, of the linears that are dense before, packed after and wanted. */
export async function weightErrors(
  before: HeldModel,
  after: HeldModel,
  wanted: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<Map<string, number>> {
  const packed = new Map(allLinears(after.vlm).map((linear) => [linear.name, linear]));
  const errors = new Map<string, number>();
  for (const linear of allLinears(before.vlm)) {
    const other = packed.get(linear.name);
    if (!other || !wanted.has(linear.name)) continue;
    throwIfAborted(signal);
    const error = weightError(before.memory, linear, after.memory, other);
    if (error !== undefined) errors.set(linear.name, error);
    // Lets signals through between linears.
    await new Promise((resolve) => setTimeout(resolve));
  }
  return errors;
}

function allLinears(vlm: Vlm): Linear[] {
  return partsOf(vlm).flatMap(linearsOf);
}

function weightError(
  memory: Memory,
  { rows, columns, weight }: Linear,
  packedMemory: Memory,
  { weight: packed }: Linear,
): number | undefined {
  if (weight.kind !== "dense" || packed.kind !== "packed") return undefined;
  const { grid, codes } = unpack(packed.layout, bytesOf(packedMemory, packed.blob));
  const { group } = grid.format;
  const scales = scalesOf(grid);
  const groups = columns / group;
  const step = Math.max(1, Math.floor(STEP / columns));
  let [miss, all] = [0, 0];
  for (let first = 0; first < rows; first += step) {
    const taken = Math.min(step, rows - first);
    const values = readRows(memory, weight.tensor, columns, first, taken);
    for (let row = 0; row < taken; row++) {
      for (let g = 0; g < groups; g++) {
        const at = (first + row) * groups + g;
        const scale = scales[at]!;
        const zero = zeroOf(grid, at);
        const start = row * columns + g * group;
        for (let c = start; c < start + group; c++) {
          const value = values[c]!;
          miss += (scale * (codes[first * columns + c]! - zero) - value) ** 2;
          all += value ** 2;
        }
      }
    }
  }
  return all > 0 ? miss / all : miss > 0 ? Infinity : 0;
}
