// Scales and zero codes of a bilevel grid, one column group after the other: each row's scale and zero code are searched
// for the least importance-weighted error, then the rows of a band agree on base and step, then each row chooses again
// among what they allow. Units are fixed first, so that groups may be fixed while weights still move (gptq.ts).
import { badRequest } from "../base/errors.ts";
import { type BilevelFormat, checkFormat, largestCode } from "../formats/format.ts";
import { type Grid, rangeOf, SCALE_LIMIT, SMALLEST_SCALE } from "../formats/grid.ts";
import { roundCode, roundEven } from "../formats/rounding.ts";

/** A band's largest scale in units as first estimated: error feedback may still widen a range by a quarter. */
const SPAN = SCALE_LIMIT * 0.8;
/** Shares of a group's range that are tried as the range of its codes. */
const SHARES = [1, 0.94, 0.88, 0.82, 0.76, 0.7, 0.64, 0.58, 0.52, 0.46, 0.4, 0.34];

const { fround } = Math;

/** A grid in the making. */
export class GroupGrid {
  readonly #format: BilevelFormat;
  readonly #rows: number;
  readonly #groups: number;
  readonly #grid: Required<Grid>;
  readonly #raw: Float64Array;

  /** Fixes the units by the weights' ranges, f32 [rows, columns]. */
  constructor(format: BilevelFormat, rows: number, columns: number, weights: Float32Array) {
    checkFormat(format, rows, columns);
    const groups = columns / format.group;
    const bands = rows / format.secondGroup;
    this.#format = format;
    this.#rows = rows;
    this.#groups = groups;
    this.#raw = new Float64Array(rows);
    this.#grid = {
      format,
      rows,
      columns,
      units: unitsFor(format, rows, columns, weights),
      scales: new Int16Array(rows * groups),
      zeroCodes: new Uint8Array(rows * groups),
      second: {
        base: new Int16Array(bands * groups),
        step: new Int16Array(bands * groups),
        codes: new Uint8Array(rows * groups),
      },
    };
  }

  /** The grid; complete once every group has been fixed. */
  get grid(): Grid {
    return this.#grid;
  }

  /**
   * Fixes scales and zero codes of one column group in all rows.
   *
   * @param values the group's weights as they are now, f32 or f64 [rows, group].
   * @param importance of each of its columns, not negative.
   */
  fix(group: number, values: ArrayLike<number>, importance: Float64Array): void {
    const { group: size } = this.#format;
    if (values.length !== this.#rows * size || importance.length !== size) {
      throw badRequest(`A group of ${size} columns and ${this.#rows} rows has other lengths.`);
    }
    const search = new GroupSearch(largestCode(this.#format), importance);
    for (let row = 0; row < this.#rows; row++) {
      search.load(values, row * size);
      this.#raw[row] = search.bestScale();
    }
    const { secondGroup } = this.#format;
    for (let first = 0; first < this.#rows; first += secondGroup) {
      this.#fixBand(group, first, values, search);
    }
  }

  #fixBand(
    group: number,
    first: number,
    values: ArrayLike<number>,
    search: GroupSearch,
  ): void {
    const { secondGroup, group: size } = this.#format;
    const { units, second, scales, zeroCodes } = this.#grid;
    const unit = units[first >> 3]!;
    let smallest = Infinity;
    let biggest = 0;
    for (let row = first; row < first + secondGroup; row++) {
      // Groups of zeros take any scale: they must not stretch the band.
      if (this.#raw[row]! === 0) continue;
      smallest = Math.min(smallest, this.#raw[row]! / unit);
      biggest = Math.max(biggest, this.#raw[row]! / unit);
    }
    const base = Math.min(SCALE_LIMIT, Math.max(1, roundEven(Math.min(smallest, biggest))));
    const step = Math.min(
      Math.floor((SCALE_LIMIT - base) / 15),
      Math.max(0, roundEven((biggest - base) / 15)),
    );
    const at = first / secondGroup * this.#groups + group;
    second.base[at] = base;
    second.step[at] = step;
    for (let row = first; row < first + secondGroup; row++) {
      const i = row * this.#groups + group;
      search.load(values, row * size);
      const wanted = step > 0 ? roundCode((this.#raw[row]! / unit - base) / step, 15) : 0;
      let least = Infinity;
      const reach = step > 0 ? 2 : 0;
      for (let code = Math.max(0, wanted - reach); code <= Math.min(15, wanted + reach); code++) {
        const { error, zero } = search.tryScale(fround(unit * (base + code * step)));
        if (error >= least) continue;
        least = error;
        second.codes[i] = code;
        scales[i] = base + code * step;
        zeroCodes[i] = zero;
      }
    }
  }
}

/** Units per panel; all panels that a band touches share one. */
function unitsFor(
  format: BilevelFormat,
  rows: number,
  columns: number,
  weights: Float32Array,
): Float32Array {
  const { min, max } = rangeOf(rows, columns, format.group, weights);
  const groups = columns / format.group;
  const units = new Float32Array(Math.ceil(rows / 8));
  let span = format.secondGroup;
  while (span % 8 !== 0) span += format.secondGroup;
  for (let row = 0; row < rows; row += span) {
    let widest = 0;
    const end = Math.min(rows, row + span);
    for (let i = row * groups; i < end * groups; i++) {
      widest = Math.max(widest, Math.max(0, max[i]!) - Math.min(0, min[i]!));
    }
    const scale = Math.max(widest / largestCode(format), SMALLEST_SCALE);
    units.fill(fround(scale / SPAN), row / 8, Math.ceil(end / 8));
  }
  return units;
}

/** One row's group in search of scale and zero code. */
class GroupSearch {
  readonly #largest: number;
  readonly #importance: Float64Array;
  readonly #values: Float64Array;
  readonly #levels: Float64Array;
  readonly #found = { error: 0, zero: 0 };
  #low = 0;
  #high = 0;
  /** Least-squares scale of the last codes that were tried. */
  #refit = 0;

  constructor(largest: number, importance: Float64Array) {
    this.#largest = largest;
    this.#importance = importance;
    this.#values = new Float64Array(importance.length);
    this.#levels = new Float64Array(importance.length);
  }

  load(values: ArrayLike<number>, at: number): void {
    this.#low = this.#high = 0;
    for (let j = 0; j < this.#values.length; j++) {
      const value = values[at + j]!;
      this.#values[j] = value;
      if (value < this.#low) this.#low = value;
      if (value > this.#high) this.#high = value;
    }
  }

  /** The scale of least error, not yet rounded to anything; 0 for a group of zeros. */
  bestScale(): number {
    const range = this.#high - this.#low;
    if (!(range > 0)) return 0;
    let best = range / this.#largest;
    let least = Infinity;
    for (const share of SHARES) {
      let scale = range * share / this.#largest;
      for (let round = 0; round < 2; round++) {
        const { error } = this.tryScale(scale);
        if (error < least) {
          least = error;
          best = scale;
        }
        scale = this.#refit;
        if (!(scale > 0)) break;
      }
    }
    return best;
  }

  /** The least error with a scale over the zero codes around where the range puts zero. */
  tryScale(scale: number): { readonly error: number; readonly zero: number } {
    const largest = this.#largest;
    // What does not fit is clipped on both sides alike.
    const middle = (largest - (this.#low + this.#high) / scale) / 2;
    const centre = roundCode(middle, largest);
    const from = Math.max(0, centre - 1);
    const to = Math.min(largest, centre + 1);
    const inverse = 1 / scale;
    const levels = this.#levels;
    for (let j = 0; j < levels.length; j++) levels[j] = roundEven(this.#values[j]! * inverse);
    this.#found.error = Infinity;
    for (let zero = from; zero <= to; zero++) {
      const [bottom, top] = [-zero, largest - zero];
      let error = 0;
      let cross = 0;
      let square = 0;
      for (let j = 0; j < levels.length; j++) {
        const value = this.#values[j]!;
        let level = levels[j]!;
        if (level < bottom) level = bottom;
        else if (level > top) level = top;
        const weight = this.#importance[j]!;
        const miss = value - scale * level;
        error += weight * miss * miss;
        cross += weight * value * level;
        square += weight * level * level;
      }
      if (error < this.#found.error) {
        this.#found.error = error;
        this.#found.zero = zero;
        this.#refit = square > 0 ? cross / square : 0;
      }
    }
    return this.#found;
  }
}
