// Weights seen through a bilevel grid while they train; the grids of src/formats, bit for bit.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import type { Ptr } from "../memory.ts";

/** A latent weight and its grid. */
export interface FakeQuantOperand {
  /** f32 [rows, columns], at most 2^100 in size. */
  readonly latent: Ptr;
  /** f32 [rows, columns / group]. */
  readonly scales: Ptr;
  /** f32 [rows, columns / group], whole numbers. */
  readonly zeros: Ptr;
  /** Rows. */
  readonly rows: number;
  /** Columns. */
  readonly columns: number;
  /** Bits of a code. */
  readonly bits: number;
  /** Columns that share a scale; divides the columns. */
  readonly group: number;
  /** Rows whose scales share a base and a step; divides the rows. */
  readonly secondGroup: number;
}

/** Writes scales and zero codes of the latent weights: of the stored grid, or the released one of SPEED-Q. */
export function fakeQuantGrid(
  engine: Engine,
  operand: FakeQuantOperand,
  form: "stored" | "reference",
): void {
  const { latent, scales, zeros, rows, columns, bits, group, secondGroup } = operand;
  const span = unitRows(secondGroup);
  const items = Math.ceil(rows / span);
  engine.call(Op.FakeGrid, items, 8192 / (span * columns), [
    ...[latent, scales, zeros, rows, columns / group, group, secondGroup, span],
    Number(form === "reference"),
  ], [2 ** bits - 1]);
}

/** Rows that share a unit: a second group, or as many as fill whole panels of 8. */
function unitRows(secondGroup: number): number {
  let span = secondGroup;
  while (span % 8 !== 0) span += secondGroup;
  return span;
}

/** Scales that grow from where they started, all f32 [rows, columns / group]. */
export interface GrowingScales {
  /** Scales at growth 0. */
  readonly starts: Ptr;
  /** Shares of the starts that are added to them. */
  readonly growths: Ptr;
}

/** Writes the scales start (1 + growth) as the stored grid has them. */
export function fakeQuantScales(
  engine: Engine,
  { starts, growths }: GrowingScales,
  { scales, rows, columns, group, secondGroup }: FakeQuantOperand,
): void {
  const span = unitRows(secondGroup), groups = columns / group;
  const items = Math.ceil(rows / span);
  engine.call(Op.FakeScales, items, 1024 / (span * groups), [
    ...[starts, growths, scales, rows, groups, secondGroup, span],
  ]);
}

/** Writes the growths' gradient, given that of the weights seen, f32 [rows, columns], before it is masked. */
export function fakeQuantScaleGradient(
  engine: Engine,
  seenGradient: Ptr,
  growthGradient: Ptr,
  starts: Ptr,
  operand: FakeQuantOperand,
): void {
  const { latent, scales, zeros, rows, columns, bits, group } = operand;
  engine.call(Op.FakeScaleGradient, rows, 16384 / columns, [
    ...[latent, seenGradient, growthGradient, starts, scales, zeros, columns / group, group],
  ], [2 ** bits - 1]);
}

/** seen = s (clamp(rint(latent / s + z)) - z), f32 [rows, columns]. */
export function fakeQuantSee(engine: Engine, seen: Ptr, operand: FakeQuantOperand): void {
  const { latent, scales, zeros, rows, columns, bits, group } = operand;
  engine.call(Op.FakeSee, rows, 16384 / columns, [
    ...[latent, seen, scales, zeros, columns / group, group],
  ], [2 ** bits - 1]);
}

/** Sets the gradient f32 [rows, columns] to 0 unless -s (z + slack) <= latent <= s (2^bits - 1 - z + slack). */
export function fakeQuantMask(
  engine: Engine,
  gradient: Ptr,
  operand: FakeQuantOperand,
  slack: number,
): void {
  const { latent, scales, zeros, rows, columns, bits, group } = operand;
  engine.call(Op.FakeMask, rows, 16384 / columns, [
    ...[latent, gradient, scales, zeros, columns / group, group],
  ], [2 ** bits - 1, slack]);
}
