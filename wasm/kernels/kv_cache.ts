// Cached keys and values: blocks of 64 tokens as attention's tiles read them (kernels/attention/layout.ts), in f32 or as
// int8 codes with one f32 scale per token and kv head.
import { badRequest } from "../../src/base/errors.ts";
import { KeysAs, Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import type { Ptr } from "../memory.ts";

/**
 * How a cache keeps keys and values: `f32` exactly, `int8` as codes with one scale per token and head, in 27 % of the
 * memory (head dimension 64) and read faster at depth. Either gives the same bits on every machine.
 */
export type KvKind = "f32" | "int8";

/** Tokens of a block. */
const BLOCK = 64;

/** What a kernel calls a kind. */
export function keysAs(kind: KvKind | undefined): KeysAs {
  return kind === undefined ? KeysAs.Rows : kind === "int8" ? KeysAs.Int8Blocks : KeysAs.Blocks;
}

/** Bytes of the keys and of the values of `capacity` tokens, whole blocks. */
export function kvCacheBytes(
  kind: KvKind,
  kvHeads: number,
  headDim: number,
  capacity: number,
): { keys: number; values: number } {
  const heads = Math.ceil(capacity / BLOCK) * kvHeads;
  const bytes = (step: number) => {
    const row = Math.ceil(headDim / step) * step;
    return heads * BLOCK * (kind === "int8" ? row + 4 : 4 * row);
  };
  return { keys: bytes(4), values: bytes(8) };
}

/** New keys and values and the cache they join. */
export interface NewKeysValues {
  /** The cache's keys and values, as large as {@linkcode kvCacheBytes} says. */
  keys: Ptr;
  /** As keys. */
  values: Ptr;
  /** Tokens that fit. */
  capacity: number;
  /** How the cache keeps them. */
  kind: KvKind;
  /** Token that the first row becomes. */
  position: number;
  /** f32 [rows, kvHeads * headDim]. */
  k: Ptr;
  /** As k. */
  v: Ptr;
  /** Rows of k and v. */
  rows: number;
  /** Heads of a row. */
  kvHeads: number;
  /** Numbers per head. */
  headDim: number;
}

/** Puts rows into a cache. Throws `bad-request` for rows that do not fit. */
export function appendKeysValues(engine: Engine, call: NewKeysValues): void {
  const { keys, values, k, v, position, rows, capacity, kvHeads, headDim, kind } = call;
  if (!(position >= 0 && rows >= 0 && position + rows <= capacity)) {
    throw badRequest(`A cache for ${capacity} tokens cannot take ${rows} from ${position} on.`);
  }
  const ints = [keys, values, k, v, position, kvHeads, headDim, keysAs(kind)];
  const least = 16384 / (kvHeads * headDim);
  engine.call(Op.AppendKeysValues, rows, least, ints);
}
