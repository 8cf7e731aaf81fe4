/** Gradient of a scalar function by central differences in double precision. */
export function numericGradient(
  f: (x: Float64Array) => number,
  at: ArrayLike<number>,
  h = 1e-5,
): Float64Array {
  const x = Float64Array.from(at), gradient = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const value = x[i]!;
    x[i] = value + h;
    const up = f(x);
    x[i] = value - h;
    gradient[i] = (up - f(x)) / (2 * h);
    x[i] = value;
  }
  return gradient;
}

/** Sum of a[i] · b[i]: with b an upstream gradient, the scalar whose gradient a backward kernel computes. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
