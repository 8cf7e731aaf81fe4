// Ten quantization-aware steps of the pocket model at 2 bits against the reference implementation's losses and gradient
// norms, on the released grid. The tolerances are the golden's own: codes flip on the last bit, so paths part slowly.
import { assert, assertEquals } from "@std/assert";
import { openChatData } from "../../src/data/files.ts";
import { bilevelFormat } from "../../src/formats/format.ts";
import { loadModel } from "../../src/generate/model.ts";
import { linearsOf, vectorsOf } from "../../src/models/vlm.ts";
import { openExamples } from "../../src/recipe/stages/examples.ts";
import { FakeQuant } from "../../src/train/fake_quant.ts";
import { Features } from "../../src/train/features.ts";
import { AdamW } from "../../src/train/optimiser.ts";
import { Parameters } from "../../src/train/parameters.ts";
import { Teacher } from "../../src/train/teacher.ts";
import { widen } from "../../src/train/trainable.ts";
import { train } from "../../src/train/trainer.ts";

const POCKET = new URL("../models/pocket-internvl", import.meta.url).pathname;
const CALIBRATION = new URL("../data/calib/calib.jsonl", import.meta.url).pathname;

interface GoldenStep {
  items: number[];
  kd: number;
  ce: number;
  grad_norm: number;
  kd_tolerance: number;
  ce_tolerance: number;
  grad_norm_tolerance: number;
}

const golden = JSON.parse(
  Deno.readTextFileSync(new URL("../goldens/pocket_qat.json", import.meta.url)),
) as { steps: GoldenStep[] };

Deno.test("ten quantization-aware steps follow the reference's losses and gradient norms", async () => {
  const model = await loadModel(POCKET, { threads: 2 });
  const { engine, vlm } = model;
  try {
    const full = await model.open.load(engine);
    const all = openChatData(CALIBRATION).items;
    const chosen = golden.steps.flatMap(({ items }) => items.map((i) => all[i]!));
    const examples = await openExamples(chosen, model.open.assets, vlm.input);
    assertEquals(examples.length, 80);
    const at = (step: number) => Array.from({ length: 8 }, (_, i) => 8 * step + i);
    const companions = (example: number) => at(Math.floor(example / 8));

    const parameters = new Parameters(engine);
    const { language, projector } = vlm;
    const fakes = language.blocks.flatMap(({ linears }) => linears).map((linear) =>
      new FakeQuant(engine, linear, bilevelFormat(2), { form: "reference" })
    );
    for (const { linear, weight } of fakes) parameters.add(linear.name, weight.latent);
    for (const linear of linearsOf(projector)) {
      parameters.add(linear.name, widen(engine.memory, linear));
    }
    for (const part of [projector, language]) {
      for (const { name, tensor } of vectorsOf(part)) parameters.add(name, tensor);
    }
    const optimiser = new AdamW(engine, [{ parameters: parameters.all, lr: 1e-4, decay: 0.01 }]);
    const features = new Features(engine, vlm, examples, { companions, exact: false });
    const teacher = new Teacher(engine, full, examples, { companions, mask: "shifted" });
    const order = { at };
    const reports = await train(
      { engine, vlm, parameters, optimiser, fakes, examples, order, features, teacher },
      {
        schedule: { steps: golden.steps.length, warmup: 0, shape: "constant" },
        losses: { labelWeight: 1, smoothing: 0, distillWeight: 1, temperature: 1, matchWeight: 0 },
        gamma: 0.7,
        gammaSteps: 0,
        mask: "shifted",
        clip: 1,
        refresh: 1,
        tokens: 4096,
        checkpointBlocks: false,
      },
    );
    golden.steps.forEach((step, i) => {
      const { distill, label, gradientNorm } = reports[i]!;
      const close = (got: number, expected: number, tolerance: number, what: string) =>
        assert(
          Math.abs(got - expected) <= tolerance,
          `step ${i + 1}: ${what} is ${got}, not ${expected} (allowed: ${tolerance})`,
        );
      close(distill, step.kd, step.kd_tolerance, "distillation");
      close(label, step.ce, step.ce_tolerance, "label loss");
      close(gradientNorm, step.grad_norm, step.grad_norm_tolerance, "the gradient's norm");
    });
  } finally {
    model.close();
  }
});
