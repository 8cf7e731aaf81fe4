// The clip search against the released one's golden.
import { assert } from "@std/assert";
import { clipSearch } from "../../src/quant/clip.ts";
import { Moments } from "../../src/quant/hessian.ts";
import { freeTensor, tensorFrom } from "../../src/tensor/tensor.ts";
import { Engine } from "../../wasm/mod.ts";
import { readGolden } from "../testing/goldens.ts";
import { floats } from "../formats/support.ts";

const golden = readGolden("clip.safetensors");

/** What a group's plain quantizer over a range does to the group's outputs, summed over all input rows. */
function disturbance(
  weights: Float32Array,
  inputs: Float32Array,
  at: { row: number; first: number; columns: number; group: number },
  largest: number,
  low: number,
  high: number,
): number {
  const own = weights.subarray(at.row * at.columns + at.first).subarray(0, at.group);
  const clipped = own.map((value) => Math.max(low, Math.min(high, value)));
  const [bottom, top] = [Math.min(...clipped), Math.max(...clipped)];
  const scale = Math.max(1e-5, (top - bottom) / largest);
  const zero = Math.max(0, Math.min(largest, -Math.round(bottom / scale)));
  const miss = clipped.map((value, j) => {
    const code = Math.max(0, Math.min(largest, Math.round(value / scale) + zero));
    return own[j]! - scale * (code - zero);
  });
  let sum = 0;
  for (let t = 0; t < inputs.length; t += at.columns) {
    let out = 0;
    for (let j = 0; j < at.group; j++) out += inputs[t + at.first + j]! * miss[j]!;
    sum += out * out;
  }
  return sum;
}

Deno.test("the clip search chooses as the released one does", async () => {
  const engine = await Engine.create({ threads: 1 });
  try {
    for (
      const [name, { bits, group }] of Object.entries<{ bits: number; group: number }>(golden.cases)
    ) {
      const [rows, columns, tokens] = [64, 128, 512];
      const weights = floats(golden, `${name}.weight`);
      const inputs = floats(golden, `${name}.inputs`);
      const tensor = tensorFrom(engine.memory, [tokens, columns], inputs);
      const moments = new Moments(engine, columns);
      moments.add(tensor);
      const hessian = moments.mean();
      const largest = 2 ** bits - 1;
      const { min, max } = clipSearch({ weights, rows, columns, hessian }, group, largest);
      const expected = {
        min: floats(golden, `${name}.clip_min`),
        max: floats(golden, `${name}.clip_max`),
      };
      let same = 0;
      let [ours, theirs] = [0, 0];
      for (let i = 0; i < min.length; i++) {
        const close = (a: number, b: number) => Math.abs(a - b) <= 1e-6 + 1e-5 * Math.abs(b);
        if (close(min[i]!, expected.min[i]!) && close(max[i]!, expected.max[i]!)) same++;
        const groups = columns / group;
        const at = { row: Math.floor(i / groups), first: i % groups * group, columns, group };
        ours += disturbance(weights, inputs, at, largest, min[i]!, max[i]!);
        theirs += disturbance(weights, inputs, at, largest, expected.min[i]!, expected.max[i]!);
      }
      assert(same >= 0.99 * min.length, `${name}: ${same} of ${min.length} groups are equal`);
      assert(ours <= theirs * 1.0001, `${name}: error ${ours}, released ${theirs}`);
      freeTensor(engine.memory, tensor);
      moments.free();
    }
  } finally {
    engine.close();
  }
});
