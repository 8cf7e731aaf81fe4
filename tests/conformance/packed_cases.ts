// Random packed weights and activations for the tests and benchmarks of packed products: any grid and codes are legal,
// so extremes are drawn as often as ordinary values.
import { Random } from "../../src/base/random.ts";
import {
  fitFormat,
  type Grid,
  largestCode,
  type Layout,
  layoutOf,
  pack,
  parseFormat,
  SCALE_LIMIT,
} from "../../src/formats/mod.ts";

export interface PackedCase {
  name: string;
  layout: Layout;
  grid: Grid;
  codes: Uint8Array;
  blob: Uint8Array;
}

/** What the numbers of a case are like. `top`: every code, zero code and scale as large as they get. */
export type Kind = "random" | "top" | "low";

/** A packed weight whose format is the nearest to `wanted` that fits. */
export function packedCase(
  wanted: string,
  rows: number,
  columns: number,
  seed: number,
  kind: Kind = "random",
): PackedCase {
  const format = fitFormat(parseFormat(wanted), rows, columns);
  const layout = layoutOf(format, rows, columns);
  const random = new Random(seed);
  const groups = columns / format.group;
  const largest = largestCode(format);
  const draw = (top: number) => kind === "top" ? top : kind === "low" ? 0 : random.integer(top + 1);
  const units = Float32Array.from({ length: layout.panels }, () => 1e-6 * (1 + random.integer(99)));
  const scales = Int16Array.from({ length: rows * groups }, () => 1 + draw(SCALE_LIMIT - 1));
  const zeroCodes = Uint8Array.from(
    { length: rows * groups },
    () => kind === "top" ? 0 : kind === "low" ? largest : draw(largest),
  );
  let grid: Grid = { format, rows, columns, units, scales };
  if (format.kind === "bilevel") {
    const { secondGroup } = format;
    const bands = rows / secondGroup;
    const base = Int16Array.from({ length: bands * groups }, () => 1 + draw(8000));
    const step = Int16Array.from({ length: bands * groups }, () => draw(558));
    const scaleCodes = Uint8Array.from({ length: rows * groups }, () => draw(15));
    for (let i = 0; i < scales.length; i++) {
      const at = Math.floor(Math.floor(i / groups) / secondGroup) * groups + i % groups;
      scales[i] = base[at]! + scaleCodes[i]! * step[at]!;
    }
    grid = { ...grid, zeroCodes, second: { base, step, codes: scaleCodes } };
  }
  const codes = Uint8Array.from({ length: rows * columns }, () => draw(largest));
  const blob = new Uint8Array(layout.bytes);
  pack(layout, grid, codes, blob);
  return { name: `${wanted} ${rows}x${columns} ${kind}`, layout, grid, codes, blob };
}

/** Int8 activations with zero padding, their scales and slab sums, in plain column order. */
export function activationCase(
  layout: Layout,
  tokens: number,
  seed: number,
  kind: Kind,
): { codes: Int8Array; scales: Float32Array } {
  const random = new Random(seed);
  const { chunks, columns } = layout;
  const codes = new Int8Array(tokens * chunks * 64);
  for (let t = 0; t < tokens; t++) {
    for (let c = 0; c < columns; c++) {
      const sign = random.integer(2) === 0 ? -1 : 1;
      codes[t * chunks * 64 + c] = kind === "random"
        ? random.integer(255) - 127
        : kind === "top"
        ? 127 * (t % 2 === 0 ? 1 : -1)
        : 127 * sign;
    }
  }
  const scales = Float32Array.from({ length: tokens * chunks }, () => random.uniform() * 0.1);
  return { codes, scales };
}

/** The kernels' order of activation codes: in 32 columns, word w holds 2w, 2w + 1, 16 + 2w, 16 + 2w + 1. */
export function kernelOrder(codes: Int8Array): Int8Array {
  return codes.map((_, i) => {
    const [word, byte] = [(i & 31) >> 2, i & 3];
    return codes[(i & ~31) + 2 * word + (byte & 1) + 16 * (byte >> 1)]!;
  });
}

/** Sums of 16 codes. */
export function slabSums(codes: Int8Array): Int16Array {
  return Int16Array.from(
    { length: codes.length / 16 },
    (_, slab) => codes.subarray(16 * slab, 16 * slab + 16).reduce((sum, code) => sum + code, 0),
  );
}
