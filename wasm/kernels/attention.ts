// Softmax attention over a ragged batch, forward and backward. What the kernels cannot check by themselves (that the
// table of sequences stays inside the operands and the memory) is checked here, once per call.
import { badRequest } from "../../src/base/errors.ts";
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import { address, NULL, type Ptr } from "../memory.ts";
import { keysAs, kvCacheBytes, type KvKind } from "./kv_cache.ts";

/** 32-bit words per entry of the table of sequences. */
export const SEQUENCE_WORDS = 6;
/** Largest head dimension: the operands of one part must fit into a thread's scratch. */
export const MAX_HEAD_DIM = 256;
/** Most rows (queries times heads that share a kv head) that one thread takes at once. */
const PART_ROWS = 128;
/** The same for the backward, whose parts hold twice as many operands. */
const BACKWARD_ROWS = 64;
/** Keys that are summed by themselves before they join the others: kernels/attention/state.ts. */
const SPAN = 256;
/** Most bytes for the sums of spans that are items of their own. */
const MOST_ROOM = 1 << 22;

/** What forward and backward share. Rows of q, k and v hold their heads one after the other. */
export interface AttentionShape {
  /**
   * i32 [sequenceCount, 6]: first query row, query count, address of K, address of V, key count, position of the
   * first query among the keys. K and V are f32 [keys, kvHeads * headDim] and lie anywhere in the memory.
   */
  sequences: Ptr;
  /** Rows of the table. */
  sequenceCount: number;
  /** Rows of q, of all sequences together. */
  queries: number;
  /** Heads of the queries. */
  heads: number;
  /** Query head h reads kv head floor(h * kvHeads / heads); divides `heads`. */
  kvHeads: number;
  /** 1 to 256. */
  headDim: number;
  /** Whether a query sees only the keys up to its own position (first position + index). */
  causal: boolean;
  /** Scores are q·k times this. */
  scale: number;
}

/** Operands of {@linkcode attend}. */
export interface Attention extends AttentionShape {
  /** f32 [queries, heads * headDim], as q. Zero where a query sees no key. */
  out: Ptr;
  /** f32 [queries, heads * headDim]. */
  q: Ptr;
  /** f32 [queries, heads]: logarithm of the sum of exp(score), for the backward; -Infinity where no key is seen. */
  lse?: Ptr;
  /** Set if K and V of the table are caches of this kind ({@linkcode kvCacheBytes}); rows otherwise. */
  cached?: KvKind | undefined;
  /** {@linkcode attendRoom} bytes; without it, threads share few queries less evenly. */
  room?: Ptr;
}

interface Extent {
  most: number;
  mostKeys: number;
}

function check(engine: Engine, shape: AttentionShape, cached?: KvKind): Extent {
  const { sequences, sequenceCount, queries, heads, kvHeads, headDim } = shape;
  if (!(kvHeads >= 1) || heads % kvHeads !== 0) {
    throw badRequest(`Attention needs kv heads that divide the heads, not ${kvHeads} of ${heads}.`);
  }
  if (!Number.isInteger(headDim) || headDim < 1 || headDim > MAX_HEAD_DIM) {
    throw badRequest(`Attention takes head dimensions from 1 to ${MAX_HEAD_DIM}, not ${headDim}.`);
  }
  const table = engine.memory.i32(sequences, sequenceCount * SEQUENCE_WORDS);
  const memory = engine.memory.wasm.buffer.byteLength;
  const bytesOf = (keys: number) => {
    const bytes = keys * kvHeads * headDim * 4;
    return cached ? kvCacheBytes(cached, kvHeads, headDim, keys) : { keys: bytes, values: bytes };
  };
  let most = 0;
  let mostKeys = 0;
  for (let i = 0; i < table.length; i += SEQUENCE_WORDS) {
    const [first, count, keys, position] = [table[i]!, table[i + 1]!, table[i + 4]!, table[i + 5]!];
    if (first < 0 || count < 0 || first + count > queries || keys < 0 || position < 0) {
      throw badRequest(
        `Sequence ${
          i / SEQUENCE_WORDS
        } of an attention call has ${count} queries from row ${first} of ${queries}, ` +
          `${keys} keys and first position ${position}.`,
      );
    }
    const bytes = bytesOf(keys);
    if (
      (table[i + 2]! >>> 0) + bytes.keys > memory || (table[i + 3]! >>> 0) + bytes.values > memory
    ) {
      throw badRequest(
        `The ${keys} keys of sequence ${i / SEQUENCE_WORDS} reach beyond the memory.`,
      );
    }
    most = Math.max(most, count);
    mostKeys = Math.max(mostKeys, keys);
  }
  return { most, mostKeys };
}

/** How a call is cut into items. */
interface Plan {
  /** Most rows of a part. */
  part: number;
  /** Parts per head. */
  parts: number;
  /** Spans of keys that are items of their own; 0: each part takes all keys. */
  spans: number;
  /** Items, spans included. */
  items: number;
  /** Bytes that the spans' sums need. */
  room: number;
}

/** Few queries are cut by keys, which each thread then reads once; the results are the same however it is cut. */
function planOf(engine: Engine, shape: AttentionShape, { most, mostKeys }: Extent): Plan {
  const { threads } = engine;
  const rows = most * (shape.heads / shape.kvHeads);
  const cut = (part: number, spans: number): Plan => {
    const parts = Math.ceil(rows / part);
    const items = shape.sequenceCount * shape.kvHeads * parts * Math.max(1, spans);
    const state = part * (32 * Math.ceil(shape.headDim / 8) + 8);
    return { part, parts, spans, items, room: spans > 0 ? items * state : 0 };
  };
  let part = PART_ROWS;
  while (part > 4 && part / 2 >= rows) part /= 2;
  const whole = cut(part, 0);
  const spans = Math.ceil(mostKeys / SPAN);
  if (threads > 1 && spans > 1 && whole.items < 4 * threads) {
    const split = cut(part, spans);
    if (split.room <= MOST_ROOM) return split;
  }
  // Smaller parts read K and V more often; they pay only while threads would be idle.
  while (part > 4 && cut(part, 0).items < threads) part /= 2;
  return cut(part, 0);
}

/** Bytes of memory with which {@linkcode attend} shares this call more evenly between threads; often 0. */
export function attendRoom(engine: Engine, shape: AttentionShape, cached?: KvKind): number {
  return planOf(engine, shape, check(engine, shape, cached)).room;
}

/**
 * out = softmax(q·kᵀ · scale)·v for every head of every sequence, in plain f32: the bits of a row depend on its query
 * and keys alone, so decode repeats prefill, alone or in a batch. Throws `bad-request` for a table that points outside.
 */
export function attend(engine: Engine, attention: Attention): void {
  const { heads, kvHeads, room } = attention;
  const extent = check(engine, attention, attention.cached);
  if (extent.most === 0) return;
  const wanted = planOf(engine, attention, extent);
  const plan = wanted.spans > 0 && !room
    ? planOf(engine, attention, { ...extent, mostKeys: 1 })
    : wanted;
  const { part, parts, spans, items } = plan;
  const ints = [
    attention.out,
    attention.q,
    attention.sequences,
    heads,
    kvHeads,
    attention.headDim,
    Number(attention.causal),
    attention.lse ?? NULL,
    part,
    parts,
    keysAs(attention.cached),
    spans,
    room ?? NULL,
  ];
  engine.call(Op.Attend, items, 1, ints, [attention.scale]);
  if (spans > 0) engine.call(Op.AttendJoin, items / spans, 1, ints, [attention.scale]);
}

/** Operands of {@linkcode attendBackward}. */
export interface AttentionBackward extends AttentionShape {
  /** Written, f32, shaped as q. */
  dq: Ptr;
  /** Written (not added to), f32 [keys, kvHeads * headDim], summed over the query heads that share a kv head. */
  dk: Ptr;
  /** As dk. */
  dv: Ptr;
  /** Gradient of the forward's output, shaped as it. */
  dout: Ptr;
  /** As the forward read it. */
  q: Ptr;
  /** f32 [keys, kvHeads * headDim]: the table's K and V addresses point into these. */
  k: Ptr;
  /** As k. */
  v: Ptr;
  /** Rows of k and v. */
  keys: number;
  /** What the forward wrote. */
  out: Ptr;
  /** What the forward wrote beside it. */
  lse: Ptr;
}

function checkPlaces(engine: Engine, call: AttentionBackward): void {
  const rowBytes = call.kvHeads * call.headDim * 4;
  const table = engine.memory.i32(call.sequences, call.sequenceCount * SEQUENCE_WORDS);
  for (const [word, base] of [[2, address(call.k)], [3, address(call.v)]] as const) {
    const ranges: [number, number][] = [];
    for (let i = 0; i < table.length; i += SEQUENCE_WORDS) {
      if (table[i + 4]! > 0) {
        ranges.push([(table[i + word]! >>> 0) - base, table[i + 4]! * rowBytes]);
      }
    }
    ranges.sort((a, b) => a[0] - b[0]);
    let free = 0;
    for (const [start, bytes] of ranges) {
      if (start < free || start % rowBytes !== 0 || start + bytes > call.keys * rowBytes) {
        throw badRequest(
          "The attention backward needs each sequence's keys and values to be whole rows of k and v that no other " +
            "sequence shares.",
        );
      }
      free = start + bytes;
    }
  }
}

/**
 * dq, dk and dv of {@linkcode attend} for training: K and V are rows of this pass, each belonging to one sequence (rows
 * that belong to none are left as they are). The same bits on any thread count; fused where the build can.
 */
export function attendBackward(engine: Engine, call: AttentionBackward): void {
  const { sequenceCount, heads, kvHeads, headDim } = call;
  const { most, mostKeys } = check(engine, call);
  checkPlaces(engine, call);
  const shared = [call.q, call.sequences, heads, kvHeads, headDim, Number(call.causal), call.lse];
  const job = (op: Op, to: Ptr, rows: number, places: Ptr[]) => {
    const parts = Math.ceil(rows / BACKWARD_ROWS);
    const items = sequenceCount * kvHeads * parts;
    const ints = [to, ...shared, BACKWARD_ROWS, parts, call.dout, call.out, ...places];
    engine.call(op, items, 1, ints, [call.scale]);
  };
  job(Op.AttendBackwardQueries, call.dq, most * (heads / kvHeads), []);
  job(Op.AttendBackwardKeys, call.dk, mostKeys, [call.dv, call.k, call.v]);
}
