// Elementwise kernels over flat f32 arrays and their backward forms. Plain IEEE operations, the same bits everywhere.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import type { Ptr } from "../memory.ts";

/** Values per item, as in kernels/pointwise.ts. */
const BLOCK = 1024;
/** Items that are worth a ticket, of additions and of exponentials. */
const LIGHT = 4, HEAVY = 1;

function flat(
  engine: Engine,
  op: Op,
  pointers: readonly Ptr[],
  count: number,
  grain: number,
  floats: readonly number[] = [],
): void {
  engine.call(op, Math.ceil(count / BLOCK), grain, [...pointers, count], floats);
}

/** One f32 per block from the kernel, put together in a fixed order. */
function reduce(
  engine: Engine,
  op: Op,
  x: Ptr,
  count: number,
  join: (total: number, part: number) => number,
): number {
  const items = Math.ceil(count / BLOCK);
  if (items === 0) return 0;
  const partial = engine.memory.allocate(items * 4);
  try {
    engine.call(op, items, 8, [partial, x, count]);
    return engine.memory.f32(partial, items).reduce(join, 0);
  } finally {
    engine.memory.free(partial);
  }
}

/** out = exp(x), relative error below 2e-7; exactly 0 below -87, the value at 88 above 88. In place allowed. */
export function exponential(engine: Engine, out: Ptr, x: Ptr, count: number): void {
  flat(engine, Op.Exponential, [out, x], count, HEAVY);
}

/** out = a + b. In place allowed. */
export function add(engine: Engine, out: Ptr, a: Ptr, b: Ptr, count: number): void {
  flat(engine, Op.Add, [out, a, b], count, LIGHT);
}

/** out += x. */
export function addInto(engine: Engine, out: Ptr, x: Ptr, count: number): void {
  add(engine, out, out, x, count);
}

/** out *= factor. */
export function scaleInto(engine: Engine, out: Ptr, factor: number, count: number): void {
  flat(engine, Op.Scale, [out, out], count, LIGHT, [factor]);
}

/** out = 0, f32. */
export function zero(engine: Engine, out: Ptr, count: number): void {
  engine.memory.f32(out, count).fill(0);
}

/** out = x · Φ(x), the exact (erf) form, absolute error below 5e-7. In place allowed. */
export function gelu(engine: Engine, out: Ptr, x: Ptr, count: number): void {
  flat(engine, Op.Gelu, [out, x], count, HEAVY);
}

/** dx = dy · d/dx gelu(x), `x` being gelu's input. In place (dx = dy) allowed. */
export function geluBackward(engine: Engine, dx: Ptr, x: Ptr, dy: Ptr, count: number): void {
  flat(engine, Op.GeluBackward, [dx, x, dy], count, HEAVY);
}

/** out = silu(gate) · up with silu(g) = g / (1 + exp(-g)). In place allowed. */
export function swiGlu(engine: Engine, out: Ptr, gate: Ptr, up: Ptr, count: number): void {
  flat(engine, Op.SwiGlu, [out, gate, up], count, HEAVY);
}

/** Gradients of {@linkcode swiGlu} with respect to gate and up. In place allowed. */
export function swiGluBackward(
  engine: Engine,
  dgate: Ptr,
  dup: Ptr,
  gate: Ptr,
  up: Ptr,
  dy: Ptr,
  count: number,
): void {
  flat(engine, Op.SwiGluBackward, [dgate, dup, gate, up, dy], count, HEAVY);
}

/** x bounded to [low, high], in place; NaN stays NaN. */
export function clampInto(engine: Engine, x: Ptr, count: number, low: number, high: number): void {
  flat(engine, Op.ClampInto, [x], count, LIGHT, [low, high]);
}

/** Sum of squares in a fixed order, the same on any number of threads. */
export function sumSquares(engine: Engine, x: Ptr, count: number): number {
  return reduce(engine, Op.SumSquares, x, count, (total, part) => total + part);
}

/** Largest magnitude; 0 for no values, NaN if there is one. */
export function absMax(engine: Engine, x: Ptr, count: number): number {
  return reduce(engine, Op.AbsMax, x, count, (total, part) => Math.max(total, part));
}
