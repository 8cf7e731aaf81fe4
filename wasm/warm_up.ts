// Runs the kernels on small operands before they are needed, so that the engine's optimising compiler has replaced its
// baseline code by then. All threads share compiled code, so the caller's thread alone does it.
import type { Engine } from "./engine.ts";
import { attend, SEQUENCE_WORDS } from "./kernels/attention.ts";
import { gemm } from "./kernels/dense.ts";
import { layerNorm, rmsNorm } from "./kernels/norm.ts";
import {
  dequantizeRows,
  MATRIX_TOKENS,
  type PackedLayout,
  packedProduct,
  quantizeActivations,
  quantizedBytes,
} from "./kernels/packed.ts";
import { chooseDot, dotsOf } from "./kernels/packed_dot.ts";
import { appendKeysValues, kvCacheBytes, type KvKind } from "./kernels/kv_cache.ts";
import { gelu, swiGlu } from "./kernels/pointwise.ts";
import { writeSequence } from "./kernels/sequence.ts";
import { NULL, type Ptr } from "./memory.ts";

/** Tokens of the products and heads of the attention; small enough for a round of all kernels to take a millisecond. */
const TOKENS = 16;
const HEADS = 2;
const HEAD_DIM = 64;
const WIDTH = HEADS * HEAD_DIM;

/** How long a warm-up may take and how far it has to get. */
const MOST_MS = 50;
/** Calls that take so much less than the second one run optimised code; a few, because a pause may hit the second. */
const DROP = 0.7;
const SURE = 4;

/**
 * Runs the kernels that a model with weights of these layouts uses, in turns, each until its time has dropped, for about 50 ms
 * at most. Returns how many had not dropped by then: all of them where there is no baseline compiler.
 *
 * @param layouts one per kind of packed weight, with few rows and columns; none for a dense model.
 * @param kvCache how keys and values are kept.
 */
export function warmUp(
  engine: Engine,
  layouts: readonly PackedLayout[],
  kvCache: KvKind = "f32",
): number {
  const { memory } = engine;
  const places: Ptr[] = [];
  const room = (bytes: number): Ptr => {
    const ptr = memory.allocate(bytes);
    memory.u8(ptr, bytes).fill(0);
    places.push(ptr);
    return ptr;
  };
  try {
    const steps = [
      ...commonSteps(engine, room),
      ...cacheSteps(engine, room, kvCache),
      ...(layouts.length === 0 ? denseSteps(engine, room) : []),
      ...layouts.flatMap((layout) => packedSteps(engine, room, layout)),
    ];
    const start = performance.now();
    let waiting = steps.map((step) => ({ step, calls: 0, slow: 0, fast: 0 }));
    while (waiting.length > 0 && performance.now() - start < MOST_MS) {
      for (const state of waiting) {
        const begun = performance.now();
        if (begun - start >= MOST_MS) break;
        state.step();
        const took = performance.now() - begun;
        // The first call compiles baseline code; the second one shows how slow that is.
        if (state.calls++ === 1) state.slow = took;
        else if (took < DROP * state.slow) state.fast++;
      }
      waiting = waiting.filter(({ fast }) => fast < SURE);
    }
    if (layouts.length > 0) chooseDot(engine, false, false);
    return waiting.length;
  } finally {
    for (const place of places) memory.free(place);
  }
}

type Step = () => void;

function commonSteps(engine: Engine, room: (bytes: number) => Ptr): Step[] {
  const [out, q, k, v] = [0, 1, 2, 3].map(() => room(4 * TOKENS * WIDTH)) as [Ptr, Ptr, Ptr, Ptr];
  const sequences = room(4 * SEQUENCE_WORDS);
  writeSequence(engine.memory.i32(sequences, SEQUENCE_WORDS), 0, {
    ...{ firstQuery: 0, queries: TOKENS, keys: k, values: v, keyCount: TOKENS, firstPosition: 0 },
  });
  return [
    () => rmsNorm(engine, out, q, k, TOKENS, WIDTH, 1),
    () => layerNorm(engine, out, q, k, v, TOKENS, WIDTH, 1),
    () => gelu(engine, out, q, TOKENS * WIDTH),
    () => swiGlu(engine, out, q, k, TOKENS * WIDTH),
    () =>
      attend(engine, {
        ...{ out, q, sequences, sequenceCount: 1, queries: TOKENS, heads: HEADS, kvHeads: HEADS },
        ...{ headDim: HEAD_DIM, causal: true, scale: 1 },
      }),
  ];
}

function cacheSteps(engine: Engine, room: (bytes: number) => Ptr, kind: KvKind): Step[] {
  const size = kvCacheBytes(kind, HEADS, HEAD_DIM, TOKENS);
  const [keys, values] = [room(size.keys), room(size.values)];
  const [out, x] = [room(8 * TOKENS * WIDTH), room(8 * TOKENS * WIDTH)];
  const rows = { k: x, v: x, rows: TOKENS, kvHeads: HEADS, headDim: HEAD_DIM };
  const sequences = room(4 * SEQUENCE_WORDS);
  writeSequence(engine.memory.i32(sequences, SEQUENCE_WORDS), 0, {
    ...{ firstQuery: 0, queries: 1, keys, values, keyCount: TOKENS, firstPosition: TOKENS - 1 },
  });
  // A lone row and a quad have loops of their own.
  const attendWith = (heads: number) =>
    attend(engine, {
      ...{ out, q: x, sequences, sequenceCount: 1, queries: 1, heads, kvHeads: HEADS },
      ...{ headDim: HEAD_DIM, causal: true, scale: 1, cached: kind },
    });
  return [
    () => appendKeysValues(engine, { keys, values, capacity: TOKENS, kind, position: 0, ...rows }),
    () => attendWith(HEADS),
    () => attendWith(4 * HEADS),
  ];
}

function packedSteps(engine: Engine, room: (bytes: number) => Ptr, layout: PackedLayout): Step[] {
  const { rows, columns } = layout;
  const weight = { layout, blob: room(layout.codes.offset + layout.panels * layout.panelCodes) };
  const size = quantizedBytes(TOKENS, columns);
  const x = { codes: room(size.codes), scales: room(size.scales), sums: room(size.sums) };
  // Which variant is best is to be measured in optimised code; until then, one that always runs.
  const dot = dotsOf(engine, false)[0]!;
  const [input, out] = [room(4 * TOKENS * columns), room(4 * TOKENS * Math.max(rows, columns))];
  return [
    () => quantizeActivations(engine, x, input, TOKENS, columns),
    () => packedProduct(engine, out, weight, x, 1, NULL, { dot }),
    () => packedProduct(engine, out, weight, x, Math.max(TOKENS, MATRIX_TOKENS), NULL, { dot }),
    () => dequantizeRows(engine, out, weight, 1),
  ];
}

function denseSteps(engine: Engine, room: (bytes: number) => Ptr): Step[] {
  const [a, b, out] = [TOKENS, WIDTH, TOKENS].map((rows) => room(4 * rows * WIDTH)) as [
    Ptr,
    Ptr,
    Ptr,
  ];
  const strides = { aRow: WIDTH, aCol: 1, bRow: 1, bCol: WIDTH, bKind: "bf16" as const };
  return [1, TOKENS].map((m) => () =>
    gemm(engine, { ...strides, out, a, b, m, n: WIDTH, k: WIDTH })
  );
}
