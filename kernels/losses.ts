// Losses over rows of vocabulary logits with their gradients: two passes over a row (largest value, then sums of
// exponentials) and one more for the gradient; no softmax is stored apart from the gradient itself. Exponentials and
// products in f32, sums of 1024 values carried on in f64, all in a fixed order. Items: rows.
import { exp1, exp4 } from "./exp";
import { float, int, ptr } from "./args";
import { load4, store4, sumLanes } from "./lanes";

/** Bytes of logits summed in f32 before the sum goes on in f64. */
const RUN: usize = 4096;

function largest(x: usize, bytes: usize): f32 {
  let m = v128.load32_splat(x);
  const vectors = bytes & ~15;
  for (let i: usize = 0; i < vectors; i += 16) m = f32x4.pmax(m, v128.load(x + i));
  let top = max(
    max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)),
    max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)),
  );
  for (let i = vectors; i < bytes; i += 4) top = max(top, load<f32>(x + i));
  return top;
}

// Sum of exp(x - top).
function sumExp(x: usize, bytes: usize, top: f32): f64 {
  const shift = f32x4.splat(top), vectors = bytes & ~15;
  let total: f64 = 0;
  for (let start: usize = 0; start < vectors; start += RUN) {
    let s = f32x4.splat(0);
    for (let i = start, last = min(start + RUN, vectors); i < last; i += 16) {
      s = f32x4.add(s, exp4(f32x4.sub(v128.load(x + i), shift)));
    }
    total += <f64> sumLanes(s);
  }
  for (let i = vectors; i < bytes; i += 4) total += <f64> exp1(load<f32>(x + i) - top);
  return total;
}

// Sum of x - top.
function sumBelow(x: usize, bytes: usize, top: f32): f64 {
  const shift = f32x4.splat(top), vectors = bytes & ~15;
  let total: f64 = 0;
  for (let start: usize = 0; start < vectors; start += RUN) {
    let s = f32x4.splat(0);
    for (let i = start, last = min(start + RUN, vectors); i < last; i += 16) {
      s = f32x4.add(s, f32x4.sub(v128.load(x + i), shift));
    }
    total += <f64> sumLanes(s);
  }
  for (let i = vectors; i < bytes; i += 4) total += <f64> (load<f32>(x + i) - top);
  return total;
}

// @ts-ignore: decorator
@inline
function labelOf(labels: usize, row: i32): i32 {
  return load<i32>(labels + (<usize> row << 2));
}

// loss = (1 - smoothing) * -log p[label] + smoothing * mean(-log p); dlogits = weight * d loss / d logits, may be the
// logits themselves. Rows with a negative label give 0. ints: losses, dlogits, logits, labels, vocab;
// floats: smoothing, weight.
export function cross_entropy(begin: i32, end: i32): void {
  const dlogits = ptr(1), vocab = int(4), bytes = <usize> vocab << 2;
  const smoothing = <f64> float(0), weight = float(1);
  for (let row = begin; row < end; row++) {
    const label = labelOf(ptr(3), row), loss = ptr(0) + (<usize> row << 2);
    const dx = dlogits + <usize> row * bytes;
    if (label < 0) {
      store<f32>(loss, 0);
      if (dlogits) memory.fill(dx, 0, bytes);
      continue;
    }
    const x = ptr(2) + <usize> row * bytes, top = largest(x, bytes);
    const sum = sumExp(x, bytes, top), log = NativeMath.log(sum);
    const atLabel = log - <f64> (load<f32>(x + (<usize> label << 2)) - top);
    const mean = smoothing == 0 ? 0 : log - sumBelow(x, bytes, top) / <f64> vocab;
    store<f32>(loss, <f32> ((1 - smoothing) * atLabel + smoothing * mean));
    if (!dlogits) continue;
    const shift = f32x4.splat(top), scale = f32x4.splat(<f32> (<f64> weight / sum));
    const even = f32x4.splat(<f32> (smoothing * <f64> weight / <f64> vocab));
    for (let i: usize = 0; i < bytes; i += 16) {
      const left = bytes - i;
      const p = f32x4.mul(exp4(f32x4.sub(load4(x + i, left), shift)), scale);
      store4(dx + i, f32x4.sub(p, even), left);
    }
    const own = dx + (<usize> label << 2);
    store<f32>(own, load<f32>(own) - <f32> ((1 - smoothing) * <f64> weight));
  }
}

// out = p[label], 0 where the label is negative. ints: out, logits, labels, vocab.
export function label_confidence(begin: i32, end: i32): void {
  const bytes = <usize> int(3) << 2;
  for (let row = begin; row < end; row++) {
    const label = labelOf(ptr(2), row), out = ptr(0) + (<usize> row << 2);
    if (label < 0) {
      store<f32>(out, 0);
      continue;
    }
    const x = ptr(1) + <usize> row * bytes, top = largest(x, bytes);
    const own = exp1(load<f32>(x + (<usize> label << 2)) - top);
    store<f32>(out, <f32> (<f64> own / sumExp(x, bytes, top)));
  }
}

// With student p, teacher q, s and t their logits less their largest, S and T their sums of exponentials, c = log S - log T:
// reverse = KL(p|q) = sum(e^s (s - t)) / S - c, forward = KL(q|p) = sum(e^t (t - s)) / T + c, so one pass gives both.
// d reverse / d s_j = p_j ((s_j - t_j - c) - reverse), d forward / d s_j = p_j - q_j.
// dlogits += weight * (gamma * d reverse + (1 - gamma) * d forward). Rows with a negative label give 0 and add nothing.
// ints: forward, reverse, dlogits, student, teacher, labels, vocab; floats: gamma, weight.
export function kl_both(begin: i32, end: i32): void {
  const dlogits = ptr(2), bytes = <usize> int(6) << 2, vectors = bytes & ~15;
  const gamma = float(0), weight = float(1);
  for (let row = begin; row < end; row++) {
    const at = <usize> row << 2;
    if (labelOf(ptr(5), row) < 0) {
      store<f32>(ptr(0) + at, 0);
      store<f32>(ptr(1) + at, 0);
      continue;
    }
    const student = ptr(3) + <usize> row * bytes, teacher = ptr(4) + <usize> row * bytes;
    const sTop = largest(student, bytes), tTop = largest(teacher, bytes);
    const sShift = f32x4.splat(sTop), tShift = f32x4.splat(tTop);
    let S: f64 = 0, T: f64 = 0, A: f64 = 0, B: f64 = 0;
    for (let start: usize = 0; start < vectors; start += RUN) {
      let vS = f32x4.splat(0), vT = vS, vA = vS, vB = vS;
      for (let i = start, last = min(start + RUN, vectors); i < last; i += 16) {
        const s = f32x4.sub(v128.load(student + i), sShift), t = f32x4.sub(v128.load(teacher + i), tShift);
        const es = exp4(s), et = exp4(t), gap = f32x4.sub(s, t);
        vS = f32x4.add(vS, es);
        vT = f32x4.add(vT, et);
        vA = f32x4.add(vA, f32x4.mul(es, gap));
        vB = f32x4.add(vB, f32x4.mul(et, gap));
      }
      S += <f64> sumLanes(vS);
      T += <f64> sumLanes(vT);
      A += <f64> sumLanes(vA);
      B += <f64> sumLanes(vB);
    }
    for (let i = vectors; i < bytes; i += 4) {
      const s = load<f32>(student + i) - sTop, t = load<f32>(teacher + i) - tTop;
      const es = exp1(s), et = exp1(t), gap = s - t;
      S += <f64> es;
      T += <f64> et;
      A += <f64> (es * gap);
      B += <f64> (et * gap);
    }
    const c = NativeMath.log(S) - NativeMath.log(T);
    const reverse = A / S - c, forward = c - B / T;
    store<f32>(ptr(0) + at, <f32> forward);
    store<f32>(ptr(1) + at, <f32> reverse);
    if (!dlogits) continue;
    // weight * (p * (gamma * (s - t - c - reverse) + 1 - gamma) - (1 - gamma) * q)
    const g = f32x4.splat(gamma), rest = f32x4.splat(1 - gamma), level = f32x4.splat(<f32> (c + reverse));
    const pScale = f32x4.splat(<f32> (<f64> weight / S)), qScale = f32x4.splat(<f32> (<f64> weight / T));
    const dx = dlogits + <usize> row * bytes;
    for (let i: usize = 0; i < bytes; i += 16) {
      const left = bytes - i;
      const s = f32x4.sub(load4(student + i, left), sShift), t = f32x4.sub(load4(teacher + i, left), tShift);
      const p = f32x4.mul(exp4(s), pScale), q = f32x4.mul(exp4(t), qScale);
      const slope = f32x4.mul(g, f32x4.sub(f32x4.sub(s, t), level));
      const gradient = f32x4.add(f32x4.mul(p, slope), f32x4.mul(rest, f32x4.sub(p, q)));
      store4(dx + i, f32x4.add(load4(dx + i, left), gradient), left);
    }
  }
}
