/**
 * Rounding that every engine does alike. Adding and subtracting 1.5 * 2^52 rounds a double to the nearest integer,
 * ties to even, for |x| < 2^51; what is larger stays an integer out of every code's range. Never gives -0.
 */

const MAGIC = 6755399441055744;

/** The nearest integer, ties to even. */
export function roundEven(x: number): number {
  return x + MAGIC - MAGIC;
}

/** The nearest integer in [0, largest], ties to even. */
export function roundCode(x: number, largest: number): number {
  const code = x + MAGIC - MAGIC;
  return code < 0 ? 0 : code > largest ? largest : code;
}
