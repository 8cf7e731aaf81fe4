// Pointwise functions in double precision, straight from their definitions.

/** Standard normal distribution function, by its series near 0 and its continued fraction in the tails. */
export function normalBelow(x: number): number {
  const z = Math.abs(x);
  const density = Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
  if (z < 3) {
    let term = z, sum = z;
    for (let k = 1; k < 100; k++) {
      term *= z * z / (2 * k + 1);
      sum += term;
    }
    return x >= 0 ? 0.5 + density * sum : 0.5 - density * sum;
  }
  let fraction = z;
  for (let k = 150; k >= 1; k--) fraction = z + k / fraction;
  return x >= 0 ? 1 - density / fraction : density / fraction;
}

/** x · Φ(x). */
export function gelu(x: number): number {
  return x * normalBelow(x);
}

/** x / (1 + exp(-x)). */
export function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

/** Derivative by a central difference of step h. */
export function slope(f: (x: number) => number, x: number, h = 1e-4): number {
  return (f(x + h) - f(x - h)) / (2 * h);
}
