// Checksums of spans of the shared memory.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import { offset, type Ptr } from "../memory.ts";

/** XXH32 (seed 0) of each span, computed on all threads. */
export function checksums(
  engine: Engine,
  spans: readonly { ptr: Ptr; bytes: number }[],
): Uint32Array {
  const { memory } = engine;
  const out = memory.allocate(spans.length * 12);
  const table = offset(out, spans.length * 4);
  try {
    const words = memory.i32(table, spans.length * 2);
    spans.forEach(({ ptr, bytes }, i) => {
      words[2 * i] = ptr as unknown as number;
      words[2 * i + 1] = bytes;
    });
    engine.call(Op.Checksum, spans.length, 1, [out, table]);
    return new Uint32Array(memory.i32(out, spans.length).slice().buffer);
  } finally {
    memory.free(out);
  }
}
