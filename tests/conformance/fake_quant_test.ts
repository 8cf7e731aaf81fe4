// Fake-quant kernels against the grids of src/formats, bit for bit, on every build and thread count.
import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../src/base/random.ts";
import type { BilevelFormat } from "../../src/formats/format.ts";
import {
  codesOn,
  dequantize,
  gridFrom,
  maskedGradient,
  rangeOf,
  scalesOf,
} from "../../src/formats/grid.ts";
import { roundEven } from "../../src/formats/rounding.ts";
import { referenceGradient, referenceGrid } from "../../src/formats/grid_reference.ts";
import { kernels } from "../../wasm/mod.ts";
import { Buffers } from "./buffers.ts";
import { onEveryEngine } from "./engines.ts";

/** Bits, group, second group, rows, columns. */
const SHAPES = [
  [2, 16, 16, 16, 16],
  [2, 16, 16, 48, 80],
  [3, 16, 16, 64, 48],
  [4, 32, 128, 128, 64],
  [4, 32, 128, 256, 32],
  [2, 7, 3, 9, 21],
  [3, 5, 1, 11, 5],
  [4, 34, 12, 36, 34],
] as const;

type Kind = "normal" | "one sign" | "zero" | "tiny" | "huge" | "ties" | "outliers";
const KINDS: Kind[] = ["normal", "one sign", "zero", "tiny", "huge", "ties", "outliers"];

function weightsOf(kind: Kind, count: number, random: Random): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const x = random.normal();
    if (kind === "one sign") return 1 + Math.abs(x);
    if (kind === "zero") return i % 3 === 0 ? 0 : -0;
    if (kind === "tiny") return x * 2 ** -140;
    if (kind === "huge") return Math.max(-1, Math.min(1, x)) * 2 ** 100;
    if (kind === "ties") return random.integer(9) / 2 - 2;
    return kind === "outliers" && random.uniform() < 0.02 ? x * 1000 : x;
  });
}

/** -0 and 0 are one value. */
function plain(values: Float32Array): Float32Array {
  return values.map((value) => value + 0);
}

Deno.test("fake-quant kernels give the bits of both grids, and their gradients", async () => {
  await onEveryEngine(({ name, engine }) => {
    for (const [bits, group, secondGroup, rows, columns] of SHAPES) {
      const format: BilevelFormat = { kind: "bilevel", bits, group, secondGroup };
      const count = rows * columns, groups = count / group;
      for (const kind of KINDS) {
        const random = new Random(count + bits);
        const weights = weightsOf(kind, count, random);
        const upstream = Float32Array.from(weights, () => random.normal());
        for (const form of ["stored", "reference"] as const) {
          const what =
            `${name}, ${form} w${bits}g${group}q${secondGroup} ${rows}x${columns}, ${kind}`;
          const buffers = new Buffers(engine);
          const seen = buffers.room(count), gradient = buffers.put(upstream);
          const operand = {
            ...{ latent: buffers.put(weights), rows, columns, bits, group, secondGroup },
            ...{ scales: buffers.room(groups), zeros: buffers.room(groups) },
          };
          kernels.fakeQuantGrid(engine, operand, form);
          kernels.fakeQuantSee(engine, seen, operand);
          kernels.fakeQuantMask(engine, gradient, operand, 0);
          buffers.check(what);
          const got = {
            scales: buffers.get(operand.scales, groups),
            zeros: plain(buffers.get(operand.zeros, groups)),
            seen: plain(buffers.get(seen, count)),
            gradient: plain(buffers.get(gradient, count)),
          };
          const expected = form === "stored"
            ? stored(format, rows, columns, weights, upstream)
            : released(format, rows, columns, weights, upstream);
          assertEquals(got, expected, what);
          buffers.release(what);
        }
      }
    }
  });
});

function stored(
  format: BilevelFormat,
  rows: number,
  columns: number,
  weights: Float32Array,
  upstream: Float32Array,
) {
  const grid = gridFrom(format, rows, columns, rangeOf(rows, columns, format.group, weights));
  return {
    scales: scalesOf(grid),
    zeros: Float32Array.from(grid.zeroCodes!),
    seen: plain(dequantize(grid, codesOn(grid, weights))),
    gradient: plain(maskedGradient(grid, weights, upstream)),
  };
}

function released(
  format: BilevelFormat,
  rows: number,
  columns: number,
  weights: Float32Array,
  upstream: Float32Array,
) {
  const grid = referenceGrid(format, rows, columns, weights);
  return {
    scales: grid.scale,
    zeros: Float32Array.from(grid.zeroCodes),
    seen: plain(grid.dequantized),
    gradient: plain(referenceGradient(format, grid, weights, upstream)),
  };
}

Deno.test("slack lets the gradient pass half a step further on both sides", async () => {
  await onEveryEngine(({ name, engine }) => {
    const buffers = new Buffers(engine);
    // Scale 1, zero code 1, codes 0 to 3: the range is -1 to 2.
    const weights = Float32Array.from([-1.51, -1.5, -1.01, -1, 0, 2, 2.01, 2.5, 2.51, NaN]);
    const operand = {
      latent: buffers.put(weights),
      scales: buffers.put(Float32Array.of(1)),
      zeros: buffers.put(Float32Array.of(1)),
      ...{ rows: 1, columns: 10, bits: 2, group: 10, secondGroup: 1 },
    };
    const gradient = buffers.put(new Float32Array(10).fill(7));
    kernels.fakeQuantMask(engine, gradient, operand, 0.5);
    assertEquals([...buffers.get(gradient, 10)], [0, 7, 7, 7, 7, 7, 7, 7, 0, 0], name);
    kernels.fakeQuantMask(engine, gradient, operand, 0);
    assertEquals([...buffers.get(gradient, 10)], [0, 0, 0, 7, 7, 7, 0, 0, 0, 0], name);
    buffers.release(name);
  });
});

Deno.test("scales that grow lie on the stored grid, and their gradient is that of learned step sizes", async () => {
  const first = new Map<string, Float32Array>();
  await onEveryEngine(({ name, engine }) => {
    for (const [bits, group, secondGroup, rows, columns] of SHAPES) {
      const format: BilevelFormat = { kind: "bilevel", bits, group, secondGroup };
      const shape = `w${bits}g${group}q${secondGroup} ${rows}x${columns}`,
        what = `${name}, ${shape}`;
      const count = rows * columns, groups = count / group, random = new Random(count + bits);
      const weights = weightsOf("outliers", count, random);
      const upstream = Float32Array.from(weights, () => random.normal());
      const starts = Float32Array.from({ length: groups }, () => 0.1 + random.uniform());
      // One shrinks below nothing: it must stay a scale.
      const growths = starts.map((_, i) => i === 1 ? -1.5 : 0.3 * random.normal());
      const zeros = starts.map(() => random.integer(2 ** bits));
      const buffers = new Buffers(engine);
      const operand = {
        ...{ latent: buffers.put(weights), rows, columns, bits, group, secondGroup },
        ...{ scales: buffers.room(groups), zeros: buffers.put(zeros) },
      };
      const growing = { starts: buffers.put(starts), growths: buffers.put(growths) };
      const slope = buffers.room(groups);
      kernels.fakeQuantScales(engine, growing, operand);
      kernels.fakeQuantScaleGradient(engine, buffers.put(upstream), slope, growing.starts, operand);
      buffers.check(what);
      const { fround } = Math;
      const none = new Float32Array(groups);
      const grid = gridFrom(format, rows, columns, { min: none, max: none }, {
        scales: starts.map((start, i) => start * fround(1 + growths[i]!)),
        zeroCodes: Uint8Array.from(zeros),
      });
      const scales = scalesOf(grid), codes = codesOn(grid, weights);
      assertEquals(buffers.get(operand.scales, groups), scales, what);
      const slopes = buffers.get(slope, groups);
      for (let g = 0; g < groups; g++) {
        let [sum, size] = [0, 0];
        for (let i = g * group; i < (g + 1) * group; i++) {
          const place = fround(weights[i]! / scales[g]!), level = codes[i]! - zeros[g]!;
          const rounded = roundEven(fround(place + zeros[g]!));
          const within = rounded >= 0 && rounded < 2 ** bits;
          const part = starts[g]! * upstream[i]! * (within ? level - place : level);
          sum += part;
          size += Math.abs(part) + Math.abs(starts[g]! * upstream[i]! * place * 1e-1);
        }
        assertAlmostEquals(slopes[g]!, sum, 1e-5 * size + 1e-30, `${what}, group ${g}`);
      }
      assertEquals(slopes, first.get(shape) ?? slopes, `${what}: other bits than the first engine`);
      first.set(shape, slopes);
      buffers.release(what);
    }
  });
});
