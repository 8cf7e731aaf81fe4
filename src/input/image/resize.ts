/**
 * Bicubic resize (a = -0.5) equal to Pillow's for 8-bit pictures: the support widens with the reduction factor
 * (antialiasing), a horizontal pass and then a vertical one, each with weights rounded to 22 fractional bits, a
 * 32-bit sum that starts at one half, and a result clipped to 0...255. Facts from Pillow's ImagingResample.
 */
import { badRequest } from "../../base/errors.ts";
import type { RgbImage } from "./image.ts";

const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);
const SUPPORT = 2;

/** One pass's weights: output `i` sums `counts[i]` inputs from `firsts[i]` on, weights at `i * taps`. */
interface Weights {
  taps: number;
  firsts: Int32Array;
  counts: Int32Array;
  values: Int32Array;
}

/**
 * The picture in another size. A picture that already has the size comes back as the same object.
 * Throws `bad-request` if a side is not a whole number of at least 1.
 */
export function resizeImage(image: RgbImage, width: number, height: number): RgbImage {
  for (const side of [width, height]) {
    if (!Number.isInteger(side) || side < 1) {
      throw badRequest(
        `A picture cannot be resized to ${width} x ${height}: sides are whole numbers from 1 on.`,
      );
    }
  }
  let result = image;
  if (width !== image.width) result = resizeRows(result, width);
  if (height !== image.height) result = resizeColumns(result, height);
  return result;
}

function cubic(x: number): number {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

function makeWeights(inSize: number, outSize: number): Weights {
  const scale = inSize / outSize;
  const filterScale = Math.max(scale, 1);
  const support = SUPPORT * filterScale;
  const taps = Math.ceil(support) * 2 + 1;
  const firsts = new Int32Array(outSize);
  const counts = new Int32Array(outSize);
  const values = new Int32Array(outSize * taps);
  const row = new Float64Array(taps);
  // Multiplying by the reciprocal, as Pillow does, instead of dividing: the last bit may decide a rounding.
  const inverse = 1 / filterScale;
  for (let i = 0; i < outSize; i++) {
    const center = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const count = Math.min(Math.trunc(center + support + 0.5), inSize) - first;
    let sum = 0;
    for (let j = 0; j < count; j++) {
      row[j] = cubic((j + first - center + 0.5) * inverse);
      sum += row[j]!;
    }
    for (let j = 0; j < count; j++) {
      const weight = (sum === 0 ? row[j]! : row[j]! / sum) * (1 << PRECISION);
      values[i * taps + j] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    firsts[i] = first;
    counts[i] = count;
  }
  return { taps, firsts, counts, values };
}

function clip(sum: number): number {
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

function resizeRows(image: RgbImage, width: number): RgbImage {
  const { height, data } = image;
  const { taps, firsts, counts, values } = makeWeights(image.width, width);
  const out = new Uint8Array(3 * width * height);
  let to = 0;
  for (let row = 0; row < height; row++) {
    const start = 3 * row * image.width;
    for (let column = 0; column < width; column++) {
      let from = start + 3 * firsts[column]!;
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      const end = column * taps + counts[column]!;
      for (let j = column * taps; j < end; j++) {
        const weight = values[j]!;
        red = (red + data[from]! * weight) | 0;
        green = (green + data[from + 1]! * weight) | 0;
        blue = (blue + data[from + 2]! * weight) | 0;
        from += 3;
      }
      out[to++] = clip(red);
      out[to++] = clip(green);
      out[to++] = clip(blue);
    }
  }
  return { width, height, data: out };
}

function resizeColumns(image: RgbImage, height: number): RgbImage {
  const { width, data } = image;
  const { taps, firsts, counts, values } = makeWeights(image.height, height);
  const line = 3 * width;
  const out = new Uint8Array(line * height);
  // Whole rows are summed one weight at a time, so that memory is read in order.
  const sums = new Int32Array(line);
  for (let row = 0; row < height; row++) {
    sums.fill(HALF);
    for (let j = 0; j < counts[row]!; j++) {
      const weight = values[row * taps + j]!;
      const from = (firsts[row]! + j) * line;
      for (let i = 0; i < line; i++) sums[i] = sums[i]! + data[from + i]! * weight;
    }
    const to = row * line;
    for (let i = 0; i < line; i++) out[to + i] = clip(sums[i]!);
  }
  return { width, height, data: out };
}
