// What a table of accuracies needs: means over seeds, their spread, and paired bootstrap intervals of differences.
// Resampling draws items with replacement within each category, the same draws for both sides of every comparison, and
// averages over seeds afterwards, so that an interval tells what other items would have given, not other seeds.
// Efron and Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile intervals).
import { Random } from "../../../src/base/random.ts";

/** One run's outcome: for each category a digit per item in order, 1 where the answer was right. */
export type Hits = Readonly<Record<string, string>>;

/** A difference of two averages, in points, and where 95 % of its resamples lie. */
export interface Interval {
  readonly difference: number;
  readonly low: number;
  readonly high: number;
}

/** Two rows to be compared, each with its runs. */
export interface Pair {
  readonly of: readonly Hits[];
  readonly to: readonly Hits[];
}

/** Mean of the categories' accuracies, in percent. */
export function averageOf(hits: Hits): number {
  return meanOf(Object.values(categoriesOf(hits)));
}

/** Accuracy of each category in percent. */
export function categoriesOf(hits: Hits): Record<string, number> {
  return Object.fromEntries(
    Object.entries(hits).map(([category, digits]) => {
      const right = [...digits].filter((digit) => digit === "1").length;
      return [category, 100 * right / digits.length];
    }),
  );
}

/** Arithmetic mean. */
export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Standard deviation of a sample; nothing of a single value. */
export function spreadOf(values: readonly number[]): number | undefined {
  if (values.length < 2) return undefined;
  const mean = meanOf(values);
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}

/** Differences of averages with their intervals. All runs must have answered the same items. */
export function intervalsOf(
  pairs: readonly Pair[],
  { resamples = 10_000, seed = 0 }: { resamples?: number; seed?: number } = {},
): Interval[] {
  if (pairs.length === 0) return [];
  const shape = shapeOf(pairs[0]!.of[0]!);
  const sizes = shape.map(([, size]) => size);
  const gains = pairs.map(({ of, to }) => {
    const [own, other] = [of, to].map((runs) => itemMeans(runs, shape));
    return own!.map((value, i) => value - other![i]!);
  });
  const differences = gains.map((gain) => gain.reduce((sum, value) => sum + value, 0));
  const drawn = gains.map(() => new Float64Array(resamples));
  const random = new Random(seed);
  const times = new Float64Array(sizes.reduce((sum, size) => sum + size, 0));
  for (let resample = 0; resample < resamples; resample++) {
    times.fill(0);
    let first = 0;
    for (const size of sizes) {
      for (let i = 0; i < size; i++) times[first + random.integer(size)]!++;
      first += size;
    }
    for (const [p, gain] of gains.entries()) {
      let sum = 0;
      for (let i = 0; i < times.length; i++) sum += times[i]! * gain[i]!;
      drawn[p]![resample] = sum;
    }
  }
  return differences.map((difference, p) => {
    const sorted = drawn[p]!.sort();
    const at = (share: number) => sorted[Math.round(share * (resamples - 1))]!;
    return { difference, low: at(0.025), high: at(0.975) };
  });
}

function shapeOf(hits: Hits): (readonly [category: string, items: number])[] {
  return Object.entries(hits).map(([category, digits]) => [category, digits.length]);
}

/** Each item's mean over runs, weighed so that their sum is the average in percent. */
function itemMeans(
  runs: readonly Hits[],
  shape: readonly (readonly [category: string, items: number])[],
): Float64Array {
  const means: number[] = [];
  for (const [category, items] of shape) {
    const weight = 100 / shape.length / items / runs.length;
    const digits = runs.map((hits) => hits[category] ?? "");
    if (digits.some(({ length }) => length !== items)) {
      throw new Error(`The runs to compare have not answered the same items of ${category}.`);
    }
    for (let i = 0; i < items; i++) {
      means.push(weight * digits.reduce((sum, own) => sum + Number(own[i]), 0));
    }
  }
  return Float64Array.from(means);
}
