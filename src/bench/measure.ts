// Repeated measurements and what they say.

/** Several measurements of one thing. */
export interface Measured {
  /** Arithmetic mean. */
  readonly mean: number;
  /** Standard deviation of the sample; 0 of a single one. */
  readonly deviation: number;
  /** Middle one. */
  readonly median: number;
  /** Every measurement, in order. */
  readonly samples: readonly number[];
}

/** Sums measurements up. */
export function summarize(samples: readonly number[]): Measured {
  const mean = samples.reduce((sum, x) => sum + x, 0) / samples.length;
  const squares = samples.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  const deviation = samples.length > 1 ? Math.sqrt(squares / (samples.length - 1)) : 0;
  const sorted = [...samples].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
  return { mean, deviation, median, samples };
}

/** Seconds that the body takes. */
export async function secondsOf(body: () => unknown): Promise<number> {
  const start = performance.now();
  await body();
  return (performance.now() - start) / 1000;
}
