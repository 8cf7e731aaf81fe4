// Deterministic sampling: equal seeds give equal samples, and a smaller share is part of a larger
// one.
import { badRequest } from "../base/errors.ts";
import { Random } from "../base/random.ts";

/** Which part of the data to take. */
export interface SampleOptions {
  /** Any integer. */
  readonly seed: number;
  /** Share of the items, from 0 (exclusive) to 1; at least one item is taken. */
  readonly share?: number;
  /** Largest number of items. */
  readonly count?: number;
}

/** Takes a random share of the items, in their original order. */
export function sampleItems<Item>(items: readonly Item[], options: SampleOptions): Item[] {
  const { seed, share = 1, count = items.length } = options;
  if (!(share > 0 && share <= 1)) {
    throw badRequest(`The share of data must be above 0 and at most 1, found ${share}.`);
  }
  if (!Number.isInteger(count) || count < 0) {
    throw badRequest(`The number of items must be a whole number, found ${count}.`);
  }
  const take = Math.min(count, Math.max(1, Math.round(share * items.length)));
  const order = new Random(seed).shuffle(items.map((_, i) => i));
  return order.slice(0, take).sort((a, b) => a - b).map((i) => items[i]!);
}
