// Describes a ragged batch to the attention kernels: one row of six integers per sequence.
import { badRequest } from "../base/errors.ts";
import type { Arena } from "../tensor/arena.ts";
import { integers, sliceRows, type Tensor, width } from "../tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";
import type { AttentionShape } from "./ops.ts";

/** Fills `out` [tokens, heads * headDim]; with caches, k and v are appended behind what those hold. */
export function attend(
  engine: Engine,
  arena: Arena,
  out: Tensor,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  shape: AttentionShape,
  lse?: Tensor,
): void {
  const table = sequenceTable(engine, arena, k, v, shape);
  kernels.attend(engine, {
    out: out.ptr,
    q: q.ptr,
    ...kernelShape(table, shape),
    ...(lse && { lse: lse.ptr }),
  });
}

/** What forward and backward kernels both need to know. */
export function kernelShape(table: Tensor, shape: AttentionShape): kernels.AttentionShape {
  const { heads, kvHeads, headDim, causal, sequences } = shape;
  return {
    sequences: table.ptr,
    sequenceCount: sequences.lengths.length,
    queries: sequences.total,
    heads,
    kvHeads,
    headDim,
    causal,
    scale: 1 / Math.sqrt(headDim),
  };
}

/** i32 [sequences, 6]: first query row, queries, keys' place, values' place, number of keys, first query's position. */
export function sequenceTable(
  engine: Engine,
  arena: Arena,
  k: Tensor,
  v: Tensor,
  { sequences, cache }: AttentionShape,
): Tensor {
  const table = arena.tensor([sequences.lengths.length, 6], "i32");
  const words = integers(engine.memory, table);
  sequences.lengths.forEach((length, i) => {
    const start = sequences.starts[i]!;
    const rowsK = sliceRows(k, start, start + length);
    const rowsV = sliceRows(v, start, start + length);
    const held = cache?.of[i];
    const past = held?.length ?? 0;
    let [keys, values] = [rowsK, rowsV];
    if (held) {
      if (past + length > held.capacity) {
        throw badRequest(
          `The context holds ${held.capacity} tokens and would need ${
            past + length
          }: ask for a larger context.`,
        );
      }
      [keys, values] = [held.keys(cache!.block), held.values(cache!.block)];
      const bytes = 4 * width(k);
      kernels.appendRows(
        engine,
        sliceRows(keys, past, past + length).ptr,
        rowsK.ptr,
        length,
        bytes,
      );
      kernels.appendRows(
        engine,
        sliceRows(values, past, past + length).ptr,
        rowsV.ptr,
        length,
        bytes,
      );
    }
    kernels.writeSequence(words, i, {
      firstQuery: start,
      queries: length,
      keys: keys.ptr,
      values: values.ptr,
      keyCount: past + length,
      firstPosition: past,
    });
  });
  return table;
}
