// In joint training the label loss reaches through language model and projector into a tower seen through its grid: every
// gradient there against differences of the loss itself, along the gradient and along a random direction.
import { assert, assertEquals } from "@std/assert";
import { Random } from "../../src/base/random.ts";
import { Infer } from "../../src/ops/infer.ts";
import type { Ops } from "../../src/ops/ops.ts";
import { floats, type Tensor } from "../../src/tensor/tensor.ts";
import { batchOf, countValid } from "../../src/train/batch.ts";
import { FakeQuant } from "../../src/train/fake_quant.ts";
import { predict } from "../../src/train/forward.ts";
import { putLosses } from "../../src/train/losses.ts";
import { Parameters } from "../../src/train/parameters.ts";
import { Tape } from "../../src/train/tape.ts";
import { TrainedTower } from "../../src/train/tower.ts";
import { Engine } from "../../wasm/mod.ts";
import { packTable, tinyExamples, tinyFormats, tinyModel } from "./tiny_model.ts";

const LOSSES = { labelWeight: 1, smoothing: 0, distillWeight: 0, temperature: 1, matchWeight: 0 };

for (const checkpoint of [false, true]) {
  Deno.test(`gradients of a fake-quantized tower, ${checkpoint ? "" : "not "}checkpointed, are the loss's slopes`, async () => {
    const engine = await Engine.create({ threads: 2 });
    const { memory } = engine;
    try {
      const vlm = await tinyModel(engine, 3);
      packTable(engine, vlm);
      const examples = tinyExamples(6);
      const part = [0, 1, 2, 3];
      const batch = batchOf(part.map((example) => examples.prompt(example)));
      const fakes = [...tinyFormats(vlm, [vlm.vision, vlm.language])].map(([name, format]) => {
        const linear = [vlm.vision, vlm.language].flatMap(({ blocks }) => blocks)
          .flatMap(({ linears }) => linears).find((linear) => linear.name === name)!;
        return new FakeQuant(engine, linear, format);
      });
      const parameters = new Parameters(engine);
      // What products see, and the tensor whose gradient stands for it.
      const looked: { name: string; values: Tensor; trained: Tensor }[] = [];
      for (const fake of fakes) {
        fake.see();
        const { latent, seen } = fake.weight;
        parameters.add(fake.linear.name, latent);
        looked.push({ name: fake.linear.name, values: seen, trained: latent });
      }
      for (const { name, tensor } of vlm.vision.blocks.flatMap(({ vectors }) => vectors)) {
        parameters.add(name, tensor);
        looked.push({ name, values: tensor, trained: tensor });
      }
      const tower = new TrainedTower(vlm, examples);
      const logitsOn = (ops: Ops, arena: Tape["arena"]) =>
        predict(ops, vlm, batch, vlm.projector.project(ops, tower.of(part, arena, ops)!));

      const tape = new Tape(engine, parameters, { checkpoint });
      const labels = { labels: tape.integers(batch.labels), scale: 1 / countValid(batch.labels) };
      putLosses(tape, logitsOn(tape, tape.arena), labels, undefined, LOSSES);
      tape.backward();

      const infer = new Infer(engine, { activations: "f32" });
      const loss = (): number =>
        infer.pass(() => {
          const logits = logitsOn(infer, infer.arena);
          const values = floats(memory, logits);
          const width = logits.shape[1]!;
          let sum = 0;
          batch.labels.forEach((label, row) => {
            if (label < 0) return;
            const own = values.subarray(row * width, (row + 1) * width);
            sum += Math.log(own.reduce((total, x) => total + Math.exp(x), 0)) - own[label]!;
          });
          return sum / countValid(batch.labels);
        });
      const random = new Random(8);
      let strong = 0;
      for (const { name, values, trained } of looked) {
        const gradient = floats(memory, parameters.gradient(trained)!).slice();
        const own = Math.hypot(...gradient);
        const noise = gradient.map(() => random.normal());
        for (const direction of [gradient.slice(), noise]) {
          const length = Math.hypot(...direction);
          if (length < 1e-6) continue;
          const at = floats(memory, values);
          const before = at.slice();
          const along = (step: number): number => {
            before.forEach((value, i) => at[i] = value + step * direction[i]! / length);
            return loss();
          };
          const h = 2e-2;
          // The second difference pair takes the cubic term out.
          const slope = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h);
          at.set(before);
          const expected = gradient.reduce((sum, g, i) => sum + g * direction[i]!, 0) / length;
          assert(
            Math.abs(slope - expected) <= 0.02 * own + 2e-5,
            `${name}: the loss rises by ${slope} per unit, its gradient says ${expected}`,
          );
        }
        if (name.startsWith("vision_tower") && own > 1e-3) strong++;
      }
      assert(strong >= 8, `only ${strong} tensors of the tower have a gradient worth the name`);
      assertEquals(parameters.gradient(vlm.vision.vectors[0]!.tensor), undefined);
      tape.free();
      infer.free();
    } finally {
      engine.close();
    }
  });
}
