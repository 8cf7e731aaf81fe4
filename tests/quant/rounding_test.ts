// Learnt rounding on one linear, the gradient being that of its squared output error.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { codesOn, dequantize, scalesOf, zeroOf } from "../../src/formats/mod.ts";
import { AdaRound } from "../../src/quant/ada_round.ts";
import { codedError } from "../../src/quant/gptq.ts";
import { timesSquare } from "../../src/quant/hessian.ts";
import type { Rounding } from "../../src/quant/learn_block.ts";
import { CALIBRATED, roundWeighted } from "../../src/quant/methods.ts";
import { roundToNearest } from "../../src/quant/round.ts";
import type { Task } from "../../src/quant/task.ts";
import { Engine } from "../../wasm/mod.ts";
import { taskOf } from "./support.ts";

/** Descends on the output error; returns the least error of rounded codes on the way, as learnBlock keeps the best. */
function learn(task: Task, rounding: Rounding, steps: number): number {
  const { engine, weights, hessian, columns } = task;
  const seen = new Float32Array(weights.length);
  let least = Infinity;
  for (let step = 1; step <= steps; step++) {
    rounding.write(seen);
    const miss = seen.map((value, i) => 2 * (value - weights[i]!));
    rounding.step(timesSquare(engine, miss, hessian, columns), step / steps);
    if (step % 10 === 0) least = Math.min(least, codedError(task, rounding.coded()));
  }
  return least;
}

Deno.test("learnt rounding beats rounding to nearest on the same start", async () => {
  const engine = await Engine.create({ threads: 1 });
  try {
    for (const format of ["w2g16q16", "w4g32q32", "s4g32"]) {
      const task = taskOf(engine, 32, 96, format, 2);
      const start = format.startsWith("w2")
        ? roundToNearest(task.weights, 32, 96, task.format)
        : roundWeighted(task);
      for (const method of ["ada-round", "sign-round"] as const) {
        const rounding = CALIBRATED[method].learn!(start, task.weights, 150);
        // Where a searched range leaves little to gain, steps by sign alone do not find it.
        if (method === "sign-round" && format.startsWith("w4")) continue;
        const nearest = codedError(task, rounding.coded());
        const found = learn(task, rounding, 150);
        assert(found < 0.9 * nearest, `${method} ${format}: ${found} after ${nearest}`);
      }
    }
  } finally {
    engine.close();
  }
});

Deno.test("AdaRound first shows the weights themselves and ends on codes next to them", async () => {
  const engine = await Engine.create({ threads: 1 });
  try {
    const task = taskOf(engine, 16, 64, "w3g16q16", 4);
    const { weights } = task;
    const { grid } = roundToNearest(weights, 16, 64, task.format);
    const rounding = new AdaRound(grid, weights);
    const seen = new Float32Array(weights.length);
    rounding.write(seen);
    const scales = scalesOf(grid);
    for (let i = 0; i < weights.length; i++) {
      const g = Math.floor(i / 16);
      const [low, high] = [-scales[g]! * zeroOf(grid, g), scales[g]! * (7 - zeroOf(grid, g))];
      const expected = Math.min(high, Math.max(low, weights[i]!));
      assertAlmostEquals(seen[i]!, expected, 1e-4 * scales[g]!);
    }
    assertEquals(rounding.coded().codes, codesOn(grid, weights), "nothing learnt: nearest");
    learn(task, rounding, 60);
    const found = dequantize(grid, rounding.coded().codes);
    for (let i = 0; i < weights.length; i++) {
      const scale = scales[Math.floor(i / 16)]!;
      assert(Math.abs(found[i]! - seen[i]!) < scale * (1 + 1e-4), `${i} moved more than a code`);
    }
  } finally {
    engine.close();
  }
});

Deno.test("AdaRound's regulariser decides every weight", async () => {
  const engine = await Engine.create({ threads: 1 });
  try {
    const task = taskOf(engine, 16, 64, "w2g16q16", 6);
    const { grid } = roundWeighted(task);
    const undecided = (regulariser: number) => {
      const rounding = new AdaRound(grid, task.weights, { regulariser, lr: 0.05 });
      learn(task, rounding, 300);
      const seen = new Float32Array(task.weights.length);
      rounding.write(seen);
      const hard = dequantize(grid, rounding.coded().codes);
      const scales = scalesOf(grid);
      return seen.filter((value, i) =>
        Math.abs(value - hard[i]!) > 0.05 * scales[Math.floor(i / 16)]!
      ).length / seen.length;
    };
    const [without, withIt] = [undecided(0), undecided(1)];
    assert(withIt < 0.02 && withIt < without / 4, `${withIt} of the weights, ${without} without`);
  } finally {
    engine.close();
  }
});
