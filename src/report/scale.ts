// Axes: where values lie between 0 and 1, and which round numbers to write beside them. Linear from zero, or
// logarithmic where positive values span a wide range.

/** An axis. */
export interface Scale {
  /** Whether equal ratios have equal lengths. */
  readonly log: boolean;
  /** A value's place, 0 at the axis' beginning, 1 at its end; clamped. */
  place(value: number): number;
  /** Round numbers on the axis. */
  readonly ticks: readonly number[];
}

/** From this ratio of largest to smallest on, a curve's small values vanish on a linear axis. */
const WIDE = 25;
const LOG_TICKS = 6;
/** Powers of ten below this are no longer exact. */
const TINY = 1e-300;

/** A linear axis from zero (or from the smallest negative) to a round number that holds all values. */
export function linearScale(values: readonly number[]): Scale {
  const low = Math.min(0, smallest(values));
  const high = Math.max(low, 0, largest(values));
  const step = roundStep((high - low || 1) / 4);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  const [from, to] = [first * step, last * step];
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  return { log: false, ticks, place: (value) => clamp((value - from) / (to - from)) };
}

/** A logarithmic axis between 1, 2 or 5 times powers of ten, around all positive values; the others lie at its beginning. */
export function logScale(values: readonly number[]): Scale {
  const positive = values.filter((value) => value > TINY);
  const [low, high] = [smallest(positive), largest(positive)];
  const powers = [Math.floor(Math.log10(low)) - 1, Math.ceil(Math.log10(high)) + 1] as const;
  const marks = Array.from({ length: powers[1] - powers[0] + 1 }, (_, i) => powers[0] + i)
    // A power below zero is rounded once when written as a quotient, so that 1e-3 is 0.001.
    .flatMap((power) =>
      [1, 2, 5].map((digit) => power < 0 ? digit / 10 ** -power : digit * 10 ** power)
    );
  let first = Math.max(0, marks.findLastIndex((mark) => mark <= low));
  let last = Math.max(first + 1, marks.findIndex((mark) => mark >= high));
  const wide = last - first > 3 * 3;
  if (wide) [first, last] = [3 * Math.floor(first / 3), 3 * Math.ceil(last / 3)];
  const shown = marks.slice(first, last + 1);
  const [from, to] = [Math.log10(shown[0]!), Math.log10(shown.at(-1)!)];
  const decades = shown.filter((_, i) => (first + i) % 3 === 0);
  const every = Math.ceil(decades.length / LOG_TICKS);
  const ticks = wide ? decades.filter((_, i) => i % every === 0) : shown;
  return {
    log: true,
    ticks,
    place: (value) => value > TINY ? clamp((Math.log10(value) - from) / (to - from)) : 0,
  };
}

/** The axis that shows these finite values best: logarithmic from a ratio of `wide` between largest and smallest on. */
export function fittingScale(values: readonly number[], wide: number = WIDE): Scale {
  const isWide = values.length > 1 && values.every((value) => value > TINY) &&
    largest(values) / smallest(values) > wide;
  return isWide ? logScale(values) : linearScale(values);
}

function roundStep(wanted: number): number {
  const rough = Math.max(wanted, TINY);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= rough * 0.999)!;
}

// Spreading into Math.min would overflow the stack on long curves.
function smallest(values: readonly number[]): number {
  return values.reduce((a, b) => Math.min(a, b), Infinity);
}

function largest(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b), -Infinity);
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
