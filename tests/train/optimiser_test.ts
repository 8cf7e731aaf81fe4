// Optimisers against their definitions in double precision; schedules, clipping and the order of batches.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { bytesOf, floats, tensorFrom } from "../../src/tensor/tensor.ts";
import { AdamW, clipFactor, SignSgd } from "../../src/train/optimiser.ts";
import { BatchOrder } from "../../src/train/order.ts";
import { Parameters } from "../../src/train/parameters.ts";
import { rateAt } from "../../src/train/schedule.ts";
import { Engine } from "../../wasm/mod.ts";

const engine = await Engine.create({ threads: 2 });
const { memory } = engine;

/** Two groups of different rates and decay; `move` is called with fresh random gradients each step. */
function start() {
  const random = new Random(8);
  const parameters = new Parameters(engine);
  const groups = [{ lr: 0.1, decay: 0.3, size: 5 }, { lr: 0.01, decay: 0, size: 1030 }].map(
    ({ lr, decay, size }, i) => {
      const values = Float32Array.from({ length: size }, () => random.normal());
      const parameter = parameters.add(`p${i}`, tensorFrom(memory, [size], values));
      return { parameters: [parameter], lr, decay };
    },
  );
  const gradients = (step: number) => {
    const random = new Random(100 + step);
    for (const { gradient } of parameters.all) {
      const values = floats(memory, gradient);
      values.forEach((_, i) => values[i] = random.normal());
    }
  };
  return { parameters, groups, gradients };
}

Deno.test("AdamW follows its definition, with decay and rates of each group", () => {
  const { parameters, groups, gradients } = start();
  const expected = groups.map(({ parameters: [p], lr, decay }) => ({
    ...{ lr, decay, gradient: p!.gradient },
    ...{ values: Float64Array.from(floats(memory, p!.tensor)) },
    ...{ m: new Float64Array(p!.tensor.shape[0]!), v: new Float64Array(p!.tensor.shape[0]!) },
  }));
  const optimiser = new AdamW(engine, groups, { beta1: 0.8, beta2: 0.95, eps: 1e-6 });
  for (let step = 1; step <= 20; step++) {
    gradients(step);
    const rate = 1 / step, scale = 0.5;
    for (const { lr, decay, gradient, values, m, v } of expected) {
      floats(memory, gradient).forEach((raw, i) => {
        const g = raw * scale;
        m[i] = 0.8 * m[i]! + 0.2 * g;
        v[i] = 0.95 * v[i]! + 0.05 * g * g;
        const root = Math.sqrt(v[i]! / (1 - 0.95 ** step)) + 1e-6;
        const move = m[i]! / (1 - 0.8 ** step) / root;
        values[i] = values[i]! * (1 - rate * lr * decay) - rate * lr * move;
      });
    }
    optimiser.step(rate, scale);
  }
  expected.forEach(({ values }, i) => {
    const got = floats(memory, parameters.all[i]!.tensor);
    values.forEach((value, j) => assertAlmostEquals(got[j]!, value, 2e-6));
  });
});

Deno.test("a saved and restored AdamW goes on with the same bits", () => {
  const [one, two] = [start(), start()];
  const whole = new AdamW(engine, one.groups);
  let parted = new AdamW(engine, two.groups);
  for (let step = 1; step <= 9; step++) {
    one.gradients(step);
    two.gradients(step);
    whole.step(1, 1);
    parted.step(1, 1);
    if (step % 3 !== 0) continue;
    const saved = parted.state.map(({ name, tensor }) => ({
      name,
      bytes: bytesOf(memory, tensor).slice(),
    }));
    const steps = parted.steps;
    parted.free();
    parted = new AdamW(engine, two.groups);
    parted.steps = steps;
    parted.state.forEach(({ name, tensor }, i) => {
      assertEquals(name, saved[i]!.name);
      bytesOf(memory, tensor).set(saved[i]!.bytes);
    });
  }
  one.parameters.all.forEach(({ tensor }, i) => {
    assertEquals(bytesOf(memory, tensor), bytesOf(memory, two.parameters.all[i]!.tensor));
  });
});

Deno.test("sign-SGD moves by the learning rate, whatever the gradient's size", () => {
  const { parameters, groups, gradients } = start();
  const before = parameters.all.map(({ tensor }) => floats(memory, tensor).slice());
  gradients(1);
  floats(memory, parameters.all[0]!.gradient)[2] = 0;
  new SignSgd(engine, groups).step(0.5);
  parameters.all.forEach(({ tensor, gradient }, i) => {
    const directions = floats(memory, gradient);
    floats(memory, tensor).forEach((value, j) => {
      const expected = before[i]![j]! - 0.5 * groups[i]!.lr * Math.sign(directions[j]!);
      assertAlmostEquals(value, expected, 1e-6);
    });
  });
});

Deno.test("a gradient is only ever made shorter", () => {
  assertEquals(clipFactor(0.5, 1), 1);
  assertAlmostEquals(clipFactor(4, 1), 0.25, 1e-6);
  assertEquals(clipFactor(1e9, 0), 1);
});

Deno.test("the learning rate rises in a line, then falls along half a cosine", () => {
  const schedule = { steps: 100, warmup: 0.1, shape: "cosine" } as const;
  const rates = Array.from({ length: 100 }, (_, step) => rateAt(schedule, step));
  assertAlmostEquals(rates[0]!, 1 / 11);
  assertAlmostEquals(rates[4]!, 5 / 11);
  assertEquals(rates[10], 1);
  assertAlmostEquals(rates[55]!, 0.5);
  assert(rates[99]! > 0 && rates[99]! < 0.001);
  assert(rates.every((rate, i) => i <= 10 || rate < rates[i - 1]!));
  assertEquals(rateAt({ steps: 10, warmup: 0, shape: "constant" }, 9), 1);
  assertAlmostEquals(rateAt({ steps: 10, warmup: 0, shape: "linear" }, 5), 0.5);
  assertThrows(() => rateAt({ ...schedule, warmup: 2 }, 0), LobitError);
});

Deno.test("every epoch reads every example once, in an order that the seed alone decides", () => {
  const order = new BatchOrder(10, 4, 1);
  const read = Array.from({ length: 10 }, (_, step) => order.at(step)).flat();
  for (let epoch = 0; epoch < 4; epoch++) {
    const part = read.slice(10 * epoch, 10 * (epoch + 1));
    assertEquals(part.toSorted((a, b) => a - b), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  }
  assert(String(read.slice(0, 10)) !== String(read.slice(10, 20)), "epochs are shuffled alike");
  // Asked in another order, from another object.
  const again = new BatchOrder(10, 4, 1);
  for (const step of [7, 2, 9, 0]) assertEquals(again.at(step), order.at(step));
  assert(String(new BatchOrder(10, 4, 2).at(0)) !== String(order.at(0)), "the seed does nothing");
  for (let example = 0; example < 10; example++) {
    again.at(8);
    const together = again.companions(example);
    assert(together.includes(example));
    const first = read.indexOf(together[0]!);
    assertEquals(together, read.slice(first, Math.min(first + 4, 10)));
    assertEquals(first % 4, 0);
  }
  assertThrows(() => new BatchOrder(0, 4, 1), LobitError);
  assertThrows(() => new BatchOrder(4, 0, 1), LobitError);
});

globalThis.addEventListener("unload", () => engine.close());
