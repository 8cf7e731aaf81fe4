// Rotary position embedding: one table per forward pass, used by every block.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import type { Ptr } from "../memory.ts";

/**
 * table f32 [tokens, headDim]: for each token the cosines of headDim / 2 angles, then their sines;
 * angle = position · theta^(-2i / headDim), frequency and angle rounded to f32 as the reference does.
 * `positions` i32 [tokens]; headDim even.
 */
export function ropeTable(
  engine: Engine,
  table: Ptr,
  positions: Ptr,
  tokens: number,
  headDim: number,
  theta: number,
): void {
  const half = headDim / 2;
  const grain = 512 / Math.max(1, tokens);
  engine.call(Op.RopeTable, half, grain, [table, positions, tokens, headDim], [theta]);
}

/**
 * Turns every head of x [tokens, heads · headDim] by the table's angles, pairing i with i + headDim / 2;
 * `inverse` turns back, which is also the backward form. In place allowed.
 */
export function rope(
  engine: Engine,
  out: Ptr,
  x: Ptr,
  table: Ptr,
  tokens: number,
  heads: number,
  headDim: number,
  inverse: boolean,
): void {
  const grain = 8192 / (heads * headDim);
  engine.call(Op.Rope, tokens, grain, [out, x, table, heads, headDim, Number(inverse)]);
}
