import { assertEquals } from "@std/assert";
import { addStages } from "../../src/cli/report_stages.ts";
import type { StageReport } from "../../src/recipe/run.ts";
import { ReportBuilder } from "../../src/report/builder.ts";

const stagesOf = (stages: readonly StageReport[]) => {
  const builder = new ReportBuilder({ model: "m", lobit: "0.1.0", now: () => 0 });
  addStages(builder, stages);
  return builder.finish().stages;
};

Deno.test("A calibrated stage shows its blocks as it left them, and why some were rounded", () => {
  const block = (name: string, errorMethod: number, notEqualized: string[] = []) => ({
    block: name,
    errorRounded: 0.5,
    errorMethod,
    fellBack: !(errorMethod <= 0.5),
    notEqualized,
  });
  const blocks = [block("b.0", 0.25, ["q", "k", "v", "o"]), block("b.1", NaN), block("b.2", 0.75)];
  const [stage] = stagesOf([
    { part: "vision", method: "gptq", seconds: 7, blocks, steps: [] },
  ]);
  assertEquals(stage, {
    name: "gptq",
    part: "vision",
    seconds: 7,
    blocks: [
      { name: "b.0", errorBefore: 0.5, errorAfter: 0.25 },
      { name: "b.1", errorBefore: 0.5, errorAfter: 0.5 },
      { name: "b.2", errorBefore: 0.5, errorAfter: 0.5 },
    ],
    curve: [],
    notes: [
      "Rounding was kept where the method did worse or diverged: b.1, b.2.",
      "Not equalized, since the model declares no way: q, k, v and 1 more.",
    ],
  });
});

Deno.test("A training stage shows the losses that it used, a fit and clipping its effect", () => {
  const step = (step: number, loss: number, distill: number) => ({
    ...{
      step,
      steps: 2,
      loss,
      label: 1,
      distill,
      match: 0,
      gradientNorm: 3,
      learningRate: loss / 10,
    },
  });
  const alone = { ...step(1, 2, 0), label: 2 };
  const stages = stagesOf([
    {
      part: "language",
      method: "train",
      seconds: 9,
      blocks: [],
      clipped: 0.0125,
      steps: [step(1, 5, 4), step(2, NaN, 0)],
    },
    {
      part: "projector",
      method: "refit",
      seconds: 1,
      blocks: [],
      steps: [],
      refit: { errorBefore: 0.5, errorAfter: 0.0625 },
    },
    { part: "projector", method: "train", seconds: 1, blocks: [], steps: [alone] },
  ]);
  assertEquals(stages[0]!.curve, [
    { step: 1, losses: { loss: 5, label: 1, distill: 4 }, learningRate: 0.5 },
    { step: 2, losses: { loss: null, label: 1, distill: 0 }, learningRate: null },
  ]);
  assertEquals(stages[2]!.curve, [{ step: 1, losses: { label: 2 }, learningRate: 0.2 }]);
  assertEquals(stages.map(({ notes }) => notes), [
    ["Shrinking ranges clipped 1.25 % of the weights."],
    ["Fitting the last linear took the output's error from 0.500 to 0.0625."],
    [],
  ]);
});
