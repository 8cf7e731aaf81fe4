// Position embeddings for tiles of another size than the table was made for: bicubic interpolation over the grid, as
// the reference does it (torch's interpolate, mode "bicubic", align_corners false, kernel parameter -0.75).

const A = -0.75;

/** Weights of the four neighbours of a point `t` (0..1) past the second of them. */
function weights(t: number): [number, number, number, number] {
  const near = (x: number) => ((A + 2) * x - (A + 3)) * x * x + 1;
  const far = (x: number) => ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
  return [far(1 + t), near(t), near(1 - t), far(2 - t)];
}

/** Interpolates a table f32 [from², dim] to [to², dim], row-major over the grid. */
export function interpolateGrid(
  table: Float32Array,
  from: number,
  to: number,
  dim: number,
): Float32Array {
  const taps = Array.from({ length: to }, (_, i) => {
    const at = (i + 0.5) * from / to - 0.5;
    const base = Math.floor(at);
    const clamp = (index: number) => Math.min(from - 1, Math.max(0, index));
    const places = [base - 1, base, base + 1, base + 2].map(clamp);
    return { places, weights: weights(at - base) };
  });
  const out = new Float32Array(to * to * dim);
  const sums = new Float64Array(dim);
  taps.forEach((row, y) => {
    taps.forEach((column, x) => {
      sums.fill(0);
      row.places.forEach((placeY, i) => {
        column.places.forEach((placeX, j) => {
          const weight = row.weights[i]! * column.weights[j]!;
          const start = (placeY * from + placeX) * dim;
          for (let d = 0; d < dim; d++) sums[d]! += weight * table[start + d]!;
        });
      });
      out.set(sums, (y * to + x) * dim);
    });
  });
  return out;
}
