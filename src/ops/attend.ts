// Describes a ragged batch to the attention kernels: one row of six integers per sequence.
import { badRequest } from "../base/errors.ts";
import type { Arena } from "../tensor/arena.ts";
import { integers, sliceRows, type Tensor } from "../tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";
import type { KvKind } from "./kv_cache.ts";
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
  const operands = kernelShape(sequenceTable(engine, arena, k, v, shape), shape);
  const cached = kindOf(shape);
  const room = kernels.attendRoom(engine, operands, cached);
  kernels.attend(engine, {
    out: out.ptr,
    q: q.ptr,
    ...operands,
    cached,
    ...(room > 0 && { room: arena.tensor([room], "u8").ptr }),
    ...(lse && { lse: lse.ptr }),
  });
}

/** How the caches of a call keep their keys and values; undefined without caches. */
function kindOf({ cache }: AttentionShape): KvKind | undefined {
  const kind = cache?.of[0]?.kind;
  if (cache?.of.some((one) => one.kind !== kind)) {
    throw badRequest("Sequences that go through the model together need caches of one kind.");
  }
  return kind;
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
  { sequences, cache, kvHeads, headDim }: AttentionShape,
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
      const { capacity, kind } = held;
      if (past + length > capacity) {
        throw badRequest(
          `The context holds ${capacity} tokens and would need ${
            past + length
          }: ask for a larger context.`,
        );
      }
      [keys, values] = [held.keys(cache!.block), held.values(cache!.block)];
      kernels.appendKeysValues(engine, {
        ...{ keys: keys.ptr, values: values.ptr, capacity, kind, position: past },
        ...{ k: rowsK.ptr, v: rowsV.ptr, rows: length, kvHeads, headDim },
      });
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
