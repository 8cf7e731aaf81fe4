import type { Ptr } from "../memory.ts";
import { SEQUENCE_WORDS } from "./attention.ts";

/** One entry of attention's table of sequences. */
export interface SequenceEntry {
  /** First query row. */
  firstQuery: number;
  /** Query rows. */
  queries: number;
  /** Where its keys begin. */
  keys: Ptr;
  /** Where its values begin. */
  values: Ptr;
  /** Keys, those of the cache included. */
  keyCount: number;
  /** Position of the first query among the keys. */
  firstPosition: number;
}

/** Writes entry `index` of the table `words`, an i32 view of the shared memory. */
export function writeSequence(words: Int32Array, index: number, entry: SequenceEntry): void {
  words.set([
    entry.firstQuery,
    entry.queries,
    entry.keys as unknown as number,
    entry.values as unknown as number,
    entry.keyCount,
    entry.firstPosition,
  ], index * SEQUENCE_WORDS);
}
