// Weights seen through a bilevel grid while they train: the grid of the latent weights (src/formats/grid.ts as stored, or
// grid_reference.ts as SPEED-Q released it, bit for bit), what the weights are on it, and where their gradient passes.
// Scales s and zero codes z are f32 [rows, groups]. Every operation is plain f32, ties to even.
import { float, int, ptr } from "./args";

// As in src/formats/grid.ts and grid_reference.ts.
const BAND_SPAN: f32 = 16375;
const SMALLEST_SCALE: f32 = 7.888609052210118e-31; // 2^-100
const FLOOR: f32 = 1e-5;

// @ts-ignore: decorator
@inline
function code(x: f32, largest: f32): f32 {
  return min<f32>(max<f32>(nearest<f32>(x), 0), largest);
}

// Smallest and largest weight of a group become its raw scale and its zero code.
function range(w: usize, group: i32, released: bool, largest: f32, scale: usize, zero: usize): void {
  const bytes = <usize> group << 2, vectors = bytes & ~15;
  let low = load<f32>(w), high = low;
  if (vectors) {
    let least = v128.load(w), most = least;
    for (let i: usize = 16; i < vectors; i += 16) {
      const x = v128.load(w + i);
      least = f32x4.min(least, x);
      most = f32x4.max(most, x);
    }
    low = min(
      min(f32x4.extract_lane(least, 0), f32x4.extract_lane(least, 1)),
      min(f32x4.extract_lane(least, 2), f32x4.extract_lane(least, 3)),
    );
    high = max(
      max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
      max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
    );
  }
  for (let i = vectors; i < bytes; i += 4) {
    low = min(low, load<f32>(w + i));
    high = max(high, load<f32>(w + i));
  }
  if (!released) {
    low = min<f32>(low, 0);
    high = max<f32>(high, 0);
  }
  const raw = max((high - low) / largest, released ? FLOOR : SMALLEST_SCALE);
  store<f32>(scale, raw);
  store<f32>(zero, code(-low / raw, largest));
}

// Items: spans of rows that share a unit. ints: latent, scales, zeros, rows, groups, group, rows per second group, rows
// per span, whether as released; floats: largest code.
export function fake_grid(begin: i32, end: i32): void {
  const rows = int(3), groups = int(4), group = int(5), band = int(6), span = int(7), released = int(8) != 0;
  const largest = float(0);
  for (let item = begin; item < end; item++) {
    const first = item * span, last = min(first + span, rows);
    let biggest: f32 = 0;
    for (let i = first * groups; i < last * groups; i++) {
      const at = <usize> i << 2, scale = ptr(1) + at;
      range(ptr(0) + at * <usize> group, group, released, largest, scale, ptr(2) + at);
      biggest = max(biggest, load<f32>(scale));
    }
    seconds(ptr(1), first, last, groups, band, released, biggest / BAND_SPAN);
  }
}

// scale = start (1 + growth) on its second grid. Items: as of fake_grid. ints: starts, growths, scales, rows, groups, rows
// per second group, rows per span.
export function fake_scales(begin: i32, end: i32): void {
  const rows = int(3), groups = int(4), band = int(5), span = int(6);
  for (let item = begin; item < end; item++) {
    const first = item * span, last = min(first + span, rows);
    let biggest: f32 = 0;
    for (let i = first * groups; i < last * groups; i++) {
      const at = <usize> i << 2;
      const raw = max(load<f32>(ptr(0) + at) * (1 + load<f32>(ptr(1) + at)), SMALLEST_SCALE);
      store<f32>(ptr(2) + at, raw);
      biggest = max(biggest, raw);
    }
    seconds(ptr(2), first, last, groups, band, false, biggest / BAND_SPAN);
  }
}

// Puts the raw scales of all second groups of some rows on their grids.
function seconds(scales: usize, first: i32, last: i32, groups: i32, band: i32, released: bool, unit: f32): void {
  const stride = <usize> groups << 2;
  for (let row = first; row < last; row += band) {
    for (let g = 0; g < groups; g++) {
      second(scales + (<usize> (row * groups + g) << 2), stride, band, released, unit);
    }
  }
}

// Puts the raw scales of a second group on their own grid. They lie `stride` bytes apart.
function second(at: usize, stride: usize, count: i32, released: bool, unit: f32): void {
  const end = at + stride * <usize> count;
  let least = load<f32>(at), most = least;
  for (let i = at + stride; i < end; i += stride) {
    least = min(least, load<f32>(i));
    most = max(most, load<f32>(i));
  }
  if (released) {
    const step = max<f32>((most - least) / 15, FLOOR), zero = -least / step;
    for (let i = at; i < end; i += stride) {
      store<f32>(i, step * (code(load<f32>(i) / step + zero, 15) - zero));
    }
    return;
  }
  const base = max<f32>(1, nearest<f32>(least / unit)), step = nearest<f32>((most - least) / (15 * unit));
  for (let i = at; i < end; i += stride) {
    const steps: f32 = step > 0 ? code((load<f32>(i) / unit - base) / step, 15) : 0;
    store<f32>(i, unit * (base + steps * step));
  }
}

// seen = s (clamp(rint(w / s + z)) - z). Items: rows. ints: latent, seen, scales, zeros, groups, group; floats: largest
// code.
export function fake_see(begin: i32, end: i32): void {
  const groups = int(4), bytes = <usize> int(5) << 2, vectors = bytes & ~15, top = float(0);
  const none = f32x4.splat(0), largest = f32x4.splat(top);
  let w = ptr(0) + <usize> (begin * groups) * bytes, seen = ptr(1) + <usize> (begin * groups) * bytes;
  for (let g = begin * groups; g < end * groups; g++) {
    const s = load<f32>(ptr(2) + (<usize> g << 2)), z = load<f32>(ptr(3) + (<usize> g << 2));
    const scale = f32x4.splat(s), zero = f32x4.splat(z);
    for (let i: usize = 0; i < vectors; i += 16) {
      const x = f32x4.nearest(f32x4.add(f32x4.div(v128.load(w + i), scale), zero));
      const q = f32x4.min(f32x4.max(x, none), largest);
      v128.store(seen + i, f32x4.mul(scale, f32x4.sub(q, zero)));
    }
    for (let i = vectors; i < bytes; i += 4) {
      store<f32>(seen + i, s * (code(load<f32>(w + i) / s + z, top) - z));
    }
    w += bytes;
    seen += bytes;
  }
}

// gradient = 0 unless -s (z + slack) <= w <= s (largest - z + slack). Items: rows. ints: latent, gradient, scales, zeros,
// groups, group; floats: largest code, slack.
export function fake_mask(begin: i32, end: i32): void {
  const groups = int(4), bytes = <usize> int(5) << 2, vectors = bytes & ~15;
  const largest = float(0), slack = float(1);
  let w = ptr(0) + <usize> (begin * groups) * bytes, d = ptr(1) + <usize> (begin * groups) * bytes;
  for (let g = begin * groups; g < end * groups; g++) {
    const s = load<f32>(ptr(2) + (<usize> g << 2)), z = load<f32>(ptr(3) + (<usize> g << 2));
    const low = -s * (z + slack), high = s * (largest - z + slack);
    const lows = f32x4.splat(low), highs = f32x4.splat(high);
    for (let i: usize = 0; i < vectors; i += 16) {
      const x = v128.load(w + i);
      const inside = v128.and(f32x4.ge(x, lows), f32x4.le(x, highs));
      v128.store(d + i, v128.and(v128.load(d + i), inside));
    }
    for (let i = vectors; i < bytes; i += 4) {
      const x = load<f32>(w + i);
      if (!(x >= low && x <= high)) store<f32>(d + i, 0);
    }
    w += bytes;
    d += bytes;
  }
}

// From the gradient d of what was seen to that of the growths: start * sum of d * (q - z - w / s) where w is within the
// codes, of d * (q - z) where it is beyond (Esser et al., "Learned step size quantization", 2020). Items: rows. ints:
// latent, d, gradient of the growths, starts, scales, zeros, groups, group; floats: largest code.
export function fake_scale_gradient(begin: i32, end: i32): void {
  const groups = int(6), bytes = <usize> int(7) << 2, vectors = bytes & ~15, top = float(0);
  const none = f32x4.splat(0), largest = f32x4.splat(top);
  let w = ptr(0) + <usize> (begin * groups) * bytes, d = ptr(1) + <usize> (begin * groups) * bytes;
  for (let g = begin * groups; g < end * groups; g++) {
    const at = <usize> g << 2, s = load<f32>(ptr(4) + at), z = load<f32>(ptr(5) + at);
    const scale = f32x4.splat(s), zero = f32x4.splat(z);
    let sums = none;
    for (let i: usize = 0; i < vectors; i += 16) {
      const v = f32x4.div(v128.load(w + i), scale);
      const x = f32x4.nearest(f32x4.add(v, zero));
      const q = f32x4.min(f32x4.max(x, none), largest);
      const own = v128.and(v, f32x4.eq(x, q));
      sums = f32x4.add(sums, f32x4.mul(v128.load(d + i), f32x4.sub(f32x4.sub(q, zero), own)));
    }
    let sum = (f32x4.extract_lane(sums, 0) + f32x4.extract_lane(sums, 1)) +
      (f32x4.extract_lane(sums, 2) + f32x4.extract_lane(sums, 3));
    for (let i = vectors; i < bytes; i += 4) {
      const v = load<f32>(w + i) / s, x = nearest<f32>(v + z), q = code(v + z, top);
      sum += load<f32>(d + i) * (q - z - (x == q ? v : 0));
    }
    store<f32>(ptr(2) + at, load<f32>(ptr(3) + at) * sum);
    w += bytes;
    d += bytes;
  }
}
