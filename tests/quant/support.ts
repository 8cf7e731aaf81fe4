// Synthetic linears with correlated, uneven inputs: what calibration has to deal with.
import { Random } from "../../src/base/random.ts";
import { fitFormat, parseFormat } from "../../src/formats/mod.ts";
import { Moments } from "../../src/quant/hessian.ts";
import type { Task } from "../../src/quant/task.ts";
import { freeTensor, tensorFrom } from "../../src/tensor/tensor.ts";
import type { Engine } from "../../wasm/mod.ts";

/** Inputs [tokens, columns] from a third as many hidden factors, channels of uneven size. */
export function inputsOf(tokens: number, columns: number, seed: number): Float32Array {
  const random = new Random(seed);
  const factors = Math.ceil(columns / 3);
  const mixing = Float32Array.from({ length: factors * columns }, () => random.normal());
  const size = Float32Array.from({ length: columns }, () => Math.exp(random.normal()));
  const inputs = new Float32Array(tokens * columns);
  for (let t = 0; t < tokens; t++) {
    const hidden = Float32Array.from({ length: factors }, () => random.normal());
    for (let c = 0; c < columns; c++) {
      let value = 0.3 * random.normal();
      for (let f = 0; f < factors; f++) value += hidden[f]! * mixing[f * columns + c]!;
      inputs[t * columns + c] = value * size[c]!;
    }
  }
  return inputs;
}

/** H of inputs, computed by the kernels. */
export function hessianOf(engine: Engine, inputs: Float32Array, columns: number): Float32Array {
  const tensor = tensorFrom(engine.memory, [inputs.length / columns, columns], inputs);
  const moments = new Moments(engine, columns);
  moments.add(tensor);
  const hessian = moments.mean();
  moments.free();
  freeTensor(engine.memory, tensor);
  return hessian;
}

/** A linear to quantize. */
export function taskOf(
  engine: Engine,
  rows: number,
  columns: number,
  format: string,
  seed: number,
): Task {
  const random = new Random(seed + 1);
  const inputs = inputsOf(4 * columns, columns, seed);
  const weights = Float32Array.from({ length: rows * columns }, () => 0.05 * random.normal());
  return {
    engine,
    weights,
    rows,
    columns,
    format: fitFormat(parseFormat(format), rows, columns),
    hessian: hessianOf(engine, inputs, columns),
  };
}
