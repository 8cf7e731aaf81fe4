// Several sequences of different length in one pass: their rows lie one after the other, without padding.
import { badRequest } from "../base/errors.ts";

/** Row ranges of the sequences in a batch. */
export interface Sequences {
  /** Rows of each sequence. */
  readonly lengths: readonly number[];
  /** First row of each sequence. */
  readonly starts: readonly number[];
  /** Rows of all sequences. */
  readonly total: number;
}

/** Lays sequences of the given lengths one after the other. */
export function sequencesOf(lengths: readonly number[]): Sequences {
  const starts: number[] = [];
  let total = 0;
  for (const length of lengths) {
    if (!Number.isInteger(length) || length < 0) {
      throw badRequest(`A sequence's length must be a whole number, not ${length}.`);
    }
    starts.push(total);
    total += length;
  }
  return { lengths, starts, total };
}

/** `count` sequences of equal length. */
export function equalSequences(count: number, length: number): Sequences {
  return sequencesOf(new Array<number>(count).fill(length));
}
