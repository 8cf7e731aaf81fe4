// Least squares against data made from known weights.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../src/base/random.ts";
import { Moments, outputError } from "../../src/quant/hessian.ts";
import { refit } from "../../src/quant/refit.ts";
import { freeTensor, tensorFrom } from "../../src/tensor/tensor.ts";
import { Engine } from "../../wasm/mod.ts";
import { hessianOf, inputsOf } from "./support.ts";

/** Inputs times weights, plus a bias: [tokens, rows]. */
function outputsOf(inputs: Float32Array, weights: Float32Array, columns: number, bias: number) {
  const [tokens, rows] = [inputs.length / columns, weights.length / columns];
  const out = new Float32Array(tokens * rows);
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rows; r++) {
      let sum = bias * (r + 1);
      for (let c = 0; c < columns; c++) sum += inputs[t * columns + c]! * weights[r * columns + c]!;
      out[t * rows + r] = sum;
    }
  }
  return out;
}

Deno.test("a fit finds the weights that made the data, and without data keeps what it has", async () => {
  const engine = await Engine.create({ threads: 2 });
  try {
    for (const columns of [3, 64, 150]) {
      const rows = 7;
      const random = new Random(columns);
      const truth = Float32Array.from({ length: rows * columns }, () => random.normal());
      const start = truth.map((value) => value + 0.3 * random.normal());
      const inputs = inputsOf(6 * columns, columns, 1);
      const outputs = outputsOf(inputs, truth, columns, 5);
      const x = tensorFrom(engine.memory, [6 * columns, columns], inputs);
      const y = tensorFrom(engine.memory, [6 * columns, rows], outputs);
      const used = engine.memory.used;
      const own = new Moments(engine, columns);
      const cross = new Moments(engine, rows, columns);
      own.add(x);
      cross.add(y, x);
      const hessian = own.centred();
      const found = refit(
        engine,
        { cross: cross.centred(), hessian, weights: start, ridge: 1e-6 },
        columns,
      );
      const before = outputError(engine, hessian, truth, start, columns);
      const after = outputError(engine, hessian, truth, found, columns);
      assert(after < 1e-6 * before, `${columns} columns: ${after} after ${before}`);
      const [targetMean, inputMean] = cross.means();
      for (let r = 0; r < rows; r++) {
        let seen = 0;
        for (let c = 0; c < columns; c++) seen += found[r * columns + c]! * inputMean[c]!;
        assertAlmostEquals(targetMean[r]! - seen, 5 * (r + 1), 0.05, "the means give the bias");
      }
      const nothing = new Float32Array(columns * columns);
      const kept = refit(
        engine,
        { cross: new Float32Array(rows * columns), hessian: nothing, weights: start, ridge: 0.1 },
        columns,
      );
      kept.forEach((value, i) => assertAlmostEquals(value, start[i]!, 1e-5));
      own.free();
      cross.free();
      assertEquals(engine.memory.used, used);
      freeTensor(engine.memory, x);
      freeTensor(engine.memory, y);
    }
  } finally {
    engine.close();
  }
});

Deno.test("moments of pieces are those of the whole", async () => {
  const engine = await Engine.create({ threads: 1 });
  try {
    const [tokens, columns] = [50, 12];
    const inputs = inputsOf(tokens, columns, 3);
    const whole = hessianOf(engine, inputs, columns);
    const pieces = new Moments(engine, columns);
    for (const [from, to] of [[0, 13], [13, 14], [14, 50]] as const) {
      const part = inputs.slice(from * columns, to * columns);
      const tensor = tensorFrom(engine.memory, [to - from, columns], part);
      pieces.add(tensor);
      freeTensor(engine.memory, tensor);
    }
    assertEquals(pieces.tokens, tokens);
    pieces.mean().forEach((value, i) =>
      assertAlmostEquals(value, whole[i]!, 1e-4 * (1 + Math.abs(whole[i]!)))
    );
    pieces.free();
  } finally {
    engine.close();
  }
});
