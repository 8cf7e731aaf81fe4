import { assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { kernels, NULL } from "../../wasm/mod.ts";
import { goldenTensor, readGolden } from "../testing/goldens.ts";
import { assertNear, Buffers, SameBits, samples } from "./buffers.ts";
import { onEveryEngine } from "./engines.ts";
import { numericGradient } from "./reference/gradient.ts";
import * as reference from "./reference/losses.ts";

/** Labels with every fourth row left out. */
function labelsFor(rows: number, vocab: number): Int32Array {
  return Int32Array.from({ length: rows }, (_, r) => r % 4 === 3 ? -100 : (r * 7919) % vocab);
}

const SIZES = [[1, 1], [2, 3], [5, 16], [4, 37], [9, 1029], [2, 5000]] as const;

Deno.test("cross-entropy and label confidence agree with their definitions, also in place", async () => {
  const bits = new SameBits();
  await onEveryEngine(({ name, engine }) => {
    for (const [rows, vocab] of SIZES) {
      for (const smoothing of [0, 0.1]) {
        const what = `${name}, ${rows}x${vocab}, smoothing ${smoothing}`;
        const logits = samples(rows * vocab, vocab, 5).map((v) => v + 30);
        const labels = labelsFor(rows, vocab);
        const buffers = new Buffers(engine);
        const [px, pl] = [buffers.put(logits), buffers.put(labels)];
        const [losses, dx] = [buffers.room(rows), buffers.room(rows * vocab)];
        const options = { smoothing, weight: 0.7 };
        kernels.crossEntropy(engine, losses, dx, px, pl, rows, vocab, options);
        const wanted = reference.crossEntropy(logits, labels, vocab, smoothing);
        assertNear(buffers.get(losses, rows), wanted.losses, 4e-6, 1e-6, what);
        const slopes = wanted.gradient.map((v) => v * 0.7);
        assertNear(buffers.get(dx, rows * vocab), slopes, 3e-7, 3e-6, `${what}: gradient`);
        bits.check(`${rows}x${vocab} ${smoothing}`, buffers.get(dx, rows * vocab), name);

        const alone = buffers.room(rows);
        kernels.crossEntropy(engine, alone, NULL, px, pl, rows, vocab, options);
        assertNear(buffers.get(alone, rows), buffers.get(losses, rows), 0, 0, `${what}: alone`);
        const confidence = buffers.room(rows);
        kernels.labelConfidence(engine, confidence, px, pl, rows, vocab);
        const likely = reference.crossEntropy(logits, labels, vocab, 0).losses;
        const shares = Array.from(likely, (v, r) => labels[r]! < 0 ? 0 : Math.exp(-v));
        assertNear(buffers.get(confidence, rows), shares, 1e-9, 3e-6, `${what}: confidence`);

        kernels.crossEntropy(engine, alone, px, px, pl, rows, vocab, options);
        const written = buffers.get(dx, rows * vocab);
        assertNear(buffers.get(px, rows * vocab), written, 0, 0, `${what}: in place`);
        buffers.release(what);
      }
    }
  });
});

Deno.test("the loss references' gradients are those of finite differences", () => {
  const [rows, vocab] = [5, 11];
  const student = samples(rows * vocab, 1, 2), teacher = samples(rows * vocab, 2, 2);
  const labels = labelsFor(rows, vocab);
  const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);
  for (const smoothing of [0, 0.2]) {
    const numeric = numericGradient(
      (x) => sum(reference.crossEntropy(x, labels, vocab, smoothing).losses),
      student,
    );
    const { gradient } = reference.crossEntropy(student, labels, vocab, smoothing);
    assertNear(gradient, numeric, 1e-8, 1e-6, `cross-entropy, smoothing ${smoothing}`);
  }
  for (const gamma of [0, 0.3, 1]) {
    const loss = (x: Float64Array) => {
      const { forward, reverse } = reference.klBoth(x, teacher, labels, vocab, gamma);
      return gamma * sum(reverse) + (1 - gamma) * sum(forward);
    };
    const { gradient } = reference.klBoth(student, teacher, labels, vocab, gamma);
    assertNear(gradient, numericGradient(loss, student), 1e-8, 1e-6, `kl, gamma ${gamma}`);
  }
});

Deno.test("both KL directions and their gradient agree with their definitions", async () => {
  const bits = new SameBits();
  await onEveryEngine(({ name, engine }) => {
    for (const [rows, vocab] of SIZES) {
      for (const gamma of [0, 0.3, 1]) {
        const n = rows * vocab, what = `${name}, ${rows}x${vocab}, gamma ${gamma}`;
        const student = samples(n, vocab, 3), before = samples(n, vocab + 2);
        const teacher = samples(n, vocab + 1, 3).map((v) => v - 20);
        const labels = labelsFor(rows, vocab);
        const buffers = new Buffers(engine);
        const [ps, pt, pl] = [buffers.put(student), buffers.put(teacher), buffers.put(labels)];
        const [forward, reverse] = [buffers.room(rows), buffers.room(rows)];
        const dx = buffers.put(before);
        const options = { gamma, weight: 0.4 };
        kernels.klBoth(engine, forward, reverse, dx, ps, pt, pl, rows, vocab, options);
        const wanted = reference.klBoth(student, teacher, labels, vocab, gamma);
        assertNear(buffers.get(forward, rows), wanted.forward, 5e-6, 2e-6, `${what}: forward`);
        assertNear(buffers.get(reverse, rows), wanted.reverse, 5e-6, 2e-6, `${what}: reverse`);
        const added = wanted.gradient.map((v, i) => v * 0.4 + before[i]!);
        assertNear(buffers.get(dx, n), added, 2e-6, 2e-6, `${what}: gradient`);
        bits.check(`${rows}x${vocab} ${gamma}`, buffers.get(dx, n), name);
        buffers.release(what);
      }
    }
  });
});

Deno.test("losses equal the released values and gradients per valid shifted token", async () => {
  const golden = readGolden("losses.safetensors");
  await onEveryEngine(({ name, engine }) => {
    for (const [title, values] of Object.entries<Record<string, number>>(golden.cases)) {
      const student = goldenTensor(golden, `${title}.student`);
      const [batch, length, vocab] = student.shape as [number, number, number];
      const rows = batch * length, n = rows * vocab, what = `${name}, ${title}`;
      // Row t predicts token t + 1; the last row of a sequence predicts nothing.
      const labels = goldenTensor(golden, `${title}.labels`).data as Int32Array;
      const shifted = Int32Array.from(
        { length: rows },
        (_, r) => (r + 1) % length === 0 ? -100 : labels[r + 1]!,
      );
      const valid = shifted.filter((label) => label >= 0).length, weight = 1 / valid;
      const mean = (rowValues: Float32Array) => rowValues.reduce((a, b) => a + b, 0) / valid;
      const expected = (key: string) =>
        goldenTensor(golden, `${title}.${key}`).data as Float32Array;

      const buffers = new Buffers(engine);
      const ps = buffers.put(student.data as Float32Array), pl = buffers.put(shifted);
      const pt = buffers.put(expected("teacher"));
      const [a, b, dx] = [buffers.room(rows), buffers.room(rows), buffers.room(n)];
      for (const [key, smoothing] of [["ce", 0], ["ce_smooth", 0.1]] as const) {
        kernels.crossEntropy(engine, a, dx, ps, pl, rows, vocab, { smoothing, weight });
        assertNear([mean(buffers.get(a, rows))], [values[key]!], 1e-6, 1e-6, `${what}: ${key}`);
        assertNear(buffers.get(dx, n), expected(`${key}_grad`), 1e-7, 1e-5, `${what}: ${key} grad`);
      }
      kernels.zero(engine, dx, n);
      const gamma = values.gamma!;
      kernels.klBoth(engine, a, b, dx, ps, pt, pl, rows, vocab, { gamma, weight });
      const kl = gamma * mean(buffers.get(b, rows)) + (1 - gamma) * mean(buffers.get(a, rows));
      assertNear([kl], [values.token_mean!], 1e-6, 1e-6, `${what}: token mean`);
      assertNear(buffers.get(dx, n), expected("token_mean_grad"), 3e-7, 1e-5, `${what}: grad`);
      kernels.labelConfidence(engine, a, pt, pl, rows, vocab);
      const confidence = mean(buffers.get(a, rows));
      assertNear([confidence], [values.label_confidence!], 1e-7, 1e-5, `${what}: confidence`);
      buffers.release(what);
    }
  });
});

Deno.test("a label beyond the vocabulary is refused", async () => {
  await onEveryEngine(({ engine }) => {
    const buffers = new Buffers(engine);
    const [x, labels, out] = [buffers.room(6), buffers.put(Int32Array.of(0, 3)), buffers.room(2)];
    assertThrows(
      () => kernels.labelConfidence(engine, out, x, labels, 2, 3),
      LobitError,
      "row 1 has 3",
    );
  });
});
