// Losses through the tape against the reference implementations' values and gradients.
import { assert, assertAlmostEquals } from "@std/assert";
import { Random } from "../../src/base/random.ts";
import { floats, tensorFrom } from "../../src/tensor/tensor.ts";
import { batchOf, countValid, type Mask } from "../../src/train/batch.ts";
import { labelConfidence, type LossSettings, putLosses, putMatch } from "../../src/train/losses.ts";
import { Parameters } from "../../src/train/parameters.ts";
import { Tape } from "../../src/train/tape.ts";
import { Engine } from "../../wasm/mod.ts";
import { goldenTensor, readGolden } from "../testing/goldens.ts";

interface Case {
  gamma: number;
  released: number;
  token_mean: number;
  ce: number;
  ce_smooth: number;
  label_confidence: number;
}

const golden = readGolden("losses.safetensors");
const cases = golden.cases as Record<string, Case>;
const PLAIN: LossSettings = {
  labelWeight: 0,
  smoothing: 0,
  distillWeight: 0,
  temperature: 1,
  matchWeight: 0,
};

/** Runs one loss on a case; gives its value and the gradient of all student logits [batch, length, vocabulary]. */
function run(engine: Engine, name: string, mask: Mask, settings: LossSettings) {
  const part = (what: string) => goldenTensor(golden, `${name}.${what}`);
  const [batch, length, vocab] = part("student").shape as [number, number, number];
  const labels = part("labels").data as Int32Array;
  const prompts = Array.from({ length: batch }, (_, i) => ({
    ids: new Int32Array(length),
    labels: labels.slice(i * length, (i + 1) * length),
    images: [],
  }));
  const joined = batchOf(prompts, mask);
  const { memory } = engine;
  const shape = [batch * length, vocab];
  const student = tensorFrom(memory, shape, part("student").data as Float32Array);
  const teacher = tensorFrom(memory, shape, part("teacher").data as Float32Array);
  const parameters = new Parameters(engine);
  const { gradient } = parameters.add("student", student);
  const tape = new Tape(engine, parameters);
  const at = tape.integers(joined.rows);
  const logits = tape.takeRows(student, at);
  const wanted = tape.integers(joined.labels);
  const scale = mask === "released" ? 1 / batch : 1 / countValid(joined.compared);
  const values = putLosses(
    tape,
    logits,
    { labels: wanted, scale: 1 / countValid(joined.labels) },
    {
      labels: tape.integers(joined.compared),
      scale,
      logits: tape.takeRows(teacher, at),
      gamma: cases[name]!.gamma,
    },
    settings,
  );
  tape.backward();
  const confidence = labelConfidence(engine, tape.arena, tape.takeRows(teacher, at), wanted);
  const result = { values, gradient: floats(memory, gradient).slice(), confidence };
  tape.free();
  parameters.free();
  return result;
}

function assertGradient(got: Float32Array, name: string, which: string): void {
  const expected = goldenTensor(golden, `${name}.${which}`).data as Float32Array;
  const most = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  got.forEach((value, i) => {
    const off = Math.abs(value - expected[i]!);
    assert(off <= 1e-5 * most + 1e-9, `${name}.${which}[${i}]: ${value}, not ${expected[i]}`);
  });
}

function assertValue(got: number, expected: number): void {
  assertAlmostEquals(got, expected, 1e-5 * Math.abs(expected) + 1e-7);
}

Deno.test("label loss, distillation and confidence equal the reference, values and gradients", async () => {
  const engine = await Engine.create({ threads: 2 });
  try {
    for (const [name, expected] of Object.entries(cases)) {
      const plain = run(engine, name, "shifted", { ...PLAIN, labelWeight: 1 });
      assertValue(plain.values.label, expected.ce);
      assertGradient(plain.gradient, name, "ce_grad");
      assertValue(plain.confidence.sum / plain.confidence.count, expected.label_confidence);

      const smooth = run(engine, name, "shifted", { ...PLAIN, labelWeight: 1, smoothing: 0.1 });
      assertValue(smooth.values.label, expected.ce_smooth);
      assertGradient(smooth.gradient, name, "ce_smooth_grad");

      const distilled = run(engine, name, "shifted", { ...PLAIN, distillWeight: 1 });
      assertValue(distilled.values.distill, expected.token_mean);
      assertGradient(distilled.gradient, name, "token_mean_grad");

      const released = run(engine, name, "released", { ...PLAIN, distillWeight: 1 });
      assertValue(released.values.distill, expected.released);
      assertGradient(released.gradient, name, "released_grad");
    }
  } finally {
    engine.close();
  }
});

Deno.test("weights scale gradients, losses add up, and a temperature is that of softer logits", async () => {
  const engine = await Engine.create({ threads: 1 });
  try {
    const settings = {
      labelWeight: 2,
      smoothing: 0.1,
      distillWeight: 3,
      temperature: 1,
      matchWeight: 0,
    };
    const both = run(engine, "small", "shifted", settings);
    const label = run(engine, "small", "shifted", {
      ...settings,
      labelWeight: 1,
      distillWeight: 0,
    });
    const distill = run(engine, "small", "shifted", {
      ...settings,
      labelWeight: 0,
      distillWeight: 1,
    });
    assertValue(both.values.label, label.values.label);
    assertValue(both.values.distill, distill.values.distill);
    both.gradient.forEach((value, i) => {
      assertAlmostEquals(value, 2 * label.gradient[i]! + 3 * distill.gradient[i]!, 1e-6);
    });

    const hot = { ...PLAIN, distillWeight: 1, temperature: 4 };
    const softer = run(engine, "confident", "shifted", hot);
    // By hand: KL of the softened distributions of the rows that count, times 16.
    const part = (what: string) => goldenTensor(golden, `confident.${what}`);
    const [batch, length, vocab] = part("student").shape as [number, number, number];
    const labels = part("labels").data as Int32Array;
    const { gamma } = cases["confident"]!;
    let sum = 0, tokens = 0;
    for (let row = 0; row < batch * length; row++) {
      if ((row + 1) % length === 0 || labels[row + 1] === -100) continue;
      tokens++;
      const probabilities = (what: string) => {
        const logits = (part(what).data as Float32Array).subarray(row * vocab, (row + 1) * vocab);
        const weights = Array.from(logits, (x) => Math.exp((x - Math.max(...logits)) / 4));
        const total = weights.reduce((a, b) => a + b);
        return weights.map((weight) => weight / total);
      };
      const [p, q] = [probabilities("student"), probabilities("teacher")];
      p.forEach((p, i) => sum += (gamma * p - (1 - gamma) * q[i]!) * Math.log(p / q[i]!));
    }
    assertAlmostEquals(softer.values.distill, 16 * sum / tokens, 1e-5 * 16 * sum / tokens);
  } finally {
    engine.close();
  }
});

Deno.test("the gradients of a temperature and of the feature match are those of central differences", async () => {
  const engine = await Engine.create({ threads: 1 });
  const { memory } = engine;
  try {
    const random = new Random(9);
    const normal = () => Float32Array.from({ length: 3 * 8 }, () => random.normal());
    const student = tensorFrom(memory, [3, 8], normal());
    const target = tensorFrom(memory, [3, 8], normal());
    const parameters = new Parameters(engine);
    const { gradient } = parameters.add("student", student);
    const tape = new Tape(engine, parameters);
    const soft = { ...PLAIN, distillWeight: 0.7, temperature: 3 };
    const losses: Record<string, () => number> = {
      temperature: () => {
        const labels = tape.integers([0, 0, -100]);
        const teaching = { labels, scale: 0.5, logits: target, gamma: 0.3 };
        return 0.7 * putLosses(tape, student, { labels, scale: 0.5 }, teaching, soft).distill;
      },
      match: () => 1.5 * putMatch(tape, student, target, 1 / 24, 1.5),
    };
    for (const [name, loss] of Object.entries(losses)) {
      parameters.zeroGradients();
      loss();
      const got = floats(memory, gradient).slice();
      const values = floats(memory, student);
      assert(got.some((value) => Math.abs(value) > 1e-3));
      got.forEach((value, i) => {
        const old = values[i]!;
        values[i] = old + 0.01;
        const high = loss();
        values[i] = old - 0.01;
        const low = loss();
        values[i] = old;
        assertAlmostEquals(value, (high - low) / 0.02, 2e-4, `${name}, number ${i}`);
      });
    }
  } finally {
    engine.close();
  }
});
