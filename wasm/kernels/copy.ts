import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import type { Ptr } from "../memory.ts";

/** Copies rows that lie one after the other, as when new keys and values join a cache. The places must not overlap. */
export function appendRows(
  engine: Engine,
  destination: Ptr,
  source: Ptr,
  rows: number,
  bytesPerRow: number,
): void {
  const least = Math.ceil(65536 / Math.max(1, bytesPerRow));
  engine.call(Op.CopyRows, rows, least, [destination, source, bytesPerRow]);
}
