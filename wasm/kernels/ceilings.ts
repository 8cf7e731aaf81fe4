// Measured ceilings: bytes read, multiply-adds and dots per second at best.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import { offset, type Ptr } from "../memory.ts";
import { type Dot, DOT_CODES } from "./packed_dot.ts";

const BLOCK = 1 << 18;
const STEPS = 4096;

/** Reads `blocks` blocks of 256 KiB in a row and joins them; returns the number of bytes. */
export function readThrough(engine: Engine, from: Ptr, blocks: number): number {
  const out = engine.memory.allocate(blocks * 4);
  try {
    engine.call(Op.ReadThrough, blocks, Math.ceil(blocks / (engine.threads * 8)), [out, from]);
  } finally {
    engine.memory.free(out);
  }
  return blocks * BLOCK;
}

/** Runs f32 multiply-adds in registers; returns how many. `items` is the amount of work, 196,608 each. */
export function multiplyPeak(engine: Engine, items: number): number {
  peak(engine, items, 16, (places) => engine.call(Op.MultiplyPeak, items, 1, places));
  return items * STEPS * 48;
}

/** Runs dots of int8 in registers; returns how many products. `items` is the amount of work, 327,680 each. */
export function dotPeak(engine: Engine, items: number, dot: Dot): number {
  peak(
    engine,
    items,
    32,
    (places) => engine.call(Op.DotPeak, items, 1, [...places, DOT_CODES[dot]]),
  );
  return items * STEPS * 80;
}

/** Calls `run` with room for results and two operands, the second at `second`: 0.5 for floats, 1 and 7 for bytes. */
function peak(
  engine: Engine,
  items: number,
  second: number,
  run: (places: Ptr[]) => void,
): void {
  const { memory } = engine;
  const operands = memory.allocate(64 + 4 * items);
  try {
    memory.f32(operands, 8).fill(0.5);
    memory.u8(offset(operands, 32), 16).fill(1);
    memory.u8(offset(operands, 48), 16).fill(7);
    run([offset(operands, 64), operands, offset(operands, second)]);
  } finally {
    memory.free(operands);
  }
}
