/**
 * Chroma upsampling and colour conversion as libjpeg-turbo does them by default, so that pictures look as they did
 * when the model was trained: halved planes grow by a triangular filter (3/4 near, 1/4 far sample, rounding bias
 * alternating), YCbCr becomes RGB with 16 fractional bits. Facts from libjpeg-turbo's jdsample.c and jdcolor.c.
 */

/**
 * Turns `[row, column, YCbCr]` into RGB in place. The chroma planes come with each sample repeated over the 2 x 2,
 * 2 x 1 or 1 x 2 pixels that share it (`halvedAcross`, `halvedDown`), which is how a decoder without upsampling
 * hands them out.
 */
export function ycbcrToRgb(
  data: Uint8Array,
  width: number,
  height: number,
  halvedAcross: boolean,
  halvedDown: boolean,
): void {
  const redOfCr = new Int32Array(256);
  const greenOfCr = new Int32Array(256);
  const greenOfCb = new Int32Array(256);
  const blueOfCb = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    const x = i - 128;
    redOfCr[i] = (91881 * x + 32768) >> 16;
    blueOfCb[i] = (116130 * x + 32768) >> 16;
    greenOfCr[i] = -46802 * x;
    greenOfCb[i] = -22554 * x + 32768;
  }
  const cb = new ChromaRows(data, 1, width, height, halvedAcross, halvedDown);
  const cr = new ChromaRows(data, 2, width, height, halvedAcross, halvedDown);
  for (let row = 0; row < height; row++) {
    const blueRow = cb.row(row);
    const redRow = cr.row(row);
    let at = 3 * row * width;
    for (let column = 0; column < width; column++) {
      const y = data[at]!;
      const b = blueRow[column]!;
      const r = redRow[column]!;
      data[at] = clamp(y + redOfCr[r]!);
      data[at + 1] = clamp(y + ((greenOfCb[b]! + greenOfCr[r]!) >> 16));
      data[at + 2] = clamp(y + blueOfCb[b]!);
      at += 3;
    }
  }
}

function clamp(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** One chroma plane: keeps its distinct samples and gives back full-size rows. */
class ChromaRows {
  readonly #samples: Uint8Array;
  readonly #columns: number;
  readonly #rows: number;
  readonly #across: boolean;
  readonly #down: boolean;
  readonly #sums: Int32Array;
  readonly #out: Uint8Array;

  constructor(
    data: Uint8Array,
    channel: number,
    width: number,
    height: number,
    across: boolean,
    down: boolean,
  ) {
    this.#columns = across ? (width + 1) >> 1 : width;
    this.#rows = down ? (height + 1) >> 1 : height;
    this.#across = across;
    this.#down = down;
    this.#sums = new Int32Array(this.#columns);
    this.#out = new Uint8Array(width + 1);
    this.#samples = new Uint8Array(this.#columns * this.#rows);
    const columnStep = across ? 6 : 3;
    const rowStep = 3 * width * (down ? 2 : 1);
    let to = 0;
    for (let row = 0; row < this.#rows; row++) {
      let from = row * rowStep + channel;
      for (let column = 0; column < this.#columns; column++, from += columnStep) {
        this.#samples[to++] = data[from]!;
      }
    }
  }

  /** The full-size row; valid until the next call. */
  row(row: number): Uint8Array {
    const columns = this.#columns;
    const near = (this.#down ? row >> 1 : row) * columns;
    if (!this.#down && !this.#across) return this.#samples.subarray(near, near + columns);
    // libjpeg-turbo repeats samples instead of filtering where a row has no inner ones.
    const filterAcross = this.#across && columns > 2;
    const filterDown = this.#down && (filterAcross || !this.#across);
    const lower = (row & 1) === 1;
    const sums = this.#sums;
    if (filterDown) {
      // Beyond the first and the last row, that row itself is the neighbour.
      const neighbour = Math.min(Math.max((row >> 1) + (lower ? 1 : -1), 0), this.#rows - 1);
      const far = neighbour * columns;
      for (let i = 0; i < columns; i++) {
        sums[i] = 3 * this.#samples[near + i]! + this.#samples[far + i]!;
      }
    } else {
      for (let i = 0; i < columns; i++) sums[i] = this.#samples[near + i]!;
    }
    const out = this.#out;
    if (filterAcross) {
      this.#widen(filterDown ? 4 : 2, filterDown ? 8 : 1, filterDown ? 7 : 2);
    } else if (this.#across) {
      for (let i = 0; i < columns; i++) out[2 * i] = out[2 * i + 1] = sums[i]!;
    } else {
      const bias = lower ? 2 : 1;
      for (let i = 0; i < columns; i++) out[i] = (sums[i]! + bias) >> 2;
    }
    return out;
  }

  /** Doubles a row: each sum becomes a left and a right pixel, each nearer to one neighbour. */
  #widen(shift: number, leftBias: number, rightBias: number): void {
    const sums = this.#sums;
    const out = this.#out;
    const last = this.#columns - 1;
    for (let i = 0; i <= last; i++) {
      const here = sums[i]!;
      const left = i === 0 ? here : sums[i - 1]!;
      const right = i === last ? here : sums[i + 1]!;
      out[2 * i] = (3 * here + left + leftBias) >> shift;
      out[2 * i + 1] = (3 * here + right + rightBias) >> shift;
    }
  }
}
