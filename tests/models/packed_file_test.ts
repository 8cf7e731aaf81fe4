import { assert, assertEquals, assertRejects } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { runJobs } from "../../src/generate/decode_loop.ts";
import { assemble, type LoadedModel, loadModel } from "../../src/generate/model.ts";
import { bufferSink, bufferSource } from "../../src/io/bytes.ts";
import { openFolder, openPacked } from "../../src/models/open.ts";
import { writePacked } from "../../src/models/packed_file.ts";
import { decode, encodeTiles } from "../../src/models/vlm.ts";
import { planRecipe } from "../../src/recipe/plan.ts";
import { rtnRecipe } from "../../src/recipe/recipe.ts";
import { runPlan } from "../../src/recipe/run.ts";
import { sequencesOf } from "../../src/tensor/sequences.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { Engine, hasRelaxedSimd } from "../../wasm/mod.ts";
import { damageBytes } from "../testing/damage.ts";
import { tinyFolder } from "../testing/tiny_model.ts";

/** Logits of a fixed prompt with one random tile. */
function logitsOf({ ops, vlm, engine }: LoadedModel): Float32Array {
  const random = new Random(3);
  const { imageSize: size } = vlm.input;
  const pixels = Uint8Array.from({ length: 2 * size * size * 3 }, () => random.integer(256));
  return ops.pass(() => {
    const rows = encodeTiles(ops, vlm, ops.bytes(pixels, [2, size, size, 3]));
    const ids = Int32Array.from({ length: 21 }, (_, i) => 30 + 7 * i);
    let x = vlm.language.embed(ops, ops.integers(ids));
    x = ops.replaceRows(
      x,
      rows,
      ops.integers(Array.from({ length: rows.shape[0]! }, (_, i) => 1 + i)),
    );
    const hidden = decode(ops, vlm, x, sequencesOf([9, 12]));
    return floats(engine.memory, ops.linear(hidden, vlm.language.head)).slice();
  });
}

/** Quantizes the tiny model in memory; gives the file's bytes and the logits before writing. */
async function packTiny(
  bits: number,
): Promise<{ file: Uint8Array<ArrayBuffer>; logits: Float32Array }> {
  const open = await openFolder(tinyFolder());
  const engine = await Engine.create({ threads: 1 });
  const vlm = await open.load(engine);
  const recipe = rtnRecipe({ vision: bits, language: bits, projector: 8, embedding: 4 });
  await runPlan(engine, vlm, planRecipe(recipe, open.tensors));
  const model = assemble(open, engine, vlm);
  try {
    const sink = bufferSink("tiny.lobit");
    await writePacked(sink, engine, vlm, open.assets.texts, recipe);
    return { file: sink.bytes().slice(), logits: logitsOf(model) };
  } finally {
    model.close();
  }
}

Deno.test("a packed file gives the very logits it was written with, on every build and thread count", async () => {
  for (const bits of [2, 3, 4]) {
    const { file, logits } = await packTiny(bits);
    assert(logits.every(Number.isFinite));
    for (const build of ["simd", "relaxed"] as const) {
      if (build === "relaxed" && !hasRelaxedSimd()) continue;
      for (const threads of [1, 2, 3, 8]) {
        const model = await loadModel(await openPacked(bufferSource(file, "tiny.lobit")), {
          build,
          threads,
        });
        try {
          assertEquals(logitsOf(model), logits, `${bits} bits, ${build}, ${threads} threads`);
        } finally {
          model.close();
        }
      }
    }
  }
});

Deno.test("int8 activations stay close to f32 activations over the same packed weights", async () => {
  const { file } = await packTiny(4);
  const logits = [];
  for (const activations of ["int8", "f32"] as const) {
    const model = await loadModel(await openPacked(bufferSource(file, "tiny.lobit")), {
      threads: 1,
      activations,
    });
    logits.push(logitsOf(model));
    model.close();
  }
  const [int8, f32] = logits as [Float32Array, Float32Array];
  let error = 0, power = 0;
  for (let i = 0; i < f32.length; i++) {
    error += (int8[i]! - f32[i]!) ** 2;
    power += f32[i]! ** 2;
  }
  const relative = Math.sqrt(error / power);
  assert(relative > 0 && relative < 0.05, `relative difference ${relative}`);
});

Deno.test("a cache in int8 answers with nearly the logits of one in f32, and other kinds are refused", async () => {
  const { file } = await packTiny(4);
  const from = () => openPacked(bufferSource(file, "tiny.lobit"));
  const logits: Float32Array[] = [];
  for (const kvCache of ["f32", "int8"] as const) {
    const model = await loadModel(await from(), { threads: 2, kvCache });
    const ids = Int32Array.from({ length: 90 }, (_, i) => 30 + 2 * i);
    const seen: number[] = [];
    let left = 3;
    await runJobs(model, [{
      request: { prompt: { ids, images: [] }, images: [] },
      maxTokens: left,
      choose: (values) => (seen.push(...values), 40 + left),
      accept: () => --left === 0,
    }]);
    logits.push(Float32Array.from(seen));
    model.close();
  }
  const [f32, int8] = logits as [Float32Array, Float32Array];
  let error = 0, power = 0;
  f32.forEach((value, i) => {
    error += (int8[i]! - value) ** 2;
    power += value ** 2;
  });
  const relative = Math.sqrt(error / power);
  assert(relative > 0 && relative < 0.05, `relative difference ${relative}`);
  const wrong = "int4" as "int8";
  await assertRejects(async () => loadModel(await from(), { kvCache: wrong }), LobitError, "int4");
});

Deno.test("a packed file of another version is refused with what to do", async () => {
  const { file } = await packTiny(2);
  const text = Array.from(file, (byte) => String.fromCharCode(byte)).join("");
  for (
    const [from, to, says] of [
      ['\\"version\\":1', '\\"version\\":9', "newer lobit"],
      ['\\"layout\\":1', '\\"layout\\":7', "newer lobit"],
      ['\\"version\\":1', '\\"version\\":0', "whole number"],
    ] as const
  ) {
    assert(text.includes(from), `the header has no ${from}`);
    const changed = Uint8Array.from(text.replace(from, to), (c) => c.charCodeAt(0));
    await assertRejects(() => openPacked(bufferSource(changed, "x.lobit")), LobitError, says);
  }
});

Deno.test("2,000 damaged packed files end in a bad-file error or load unharmed", async () => {
  const { file } = await packTiny(2);
  const random = new Random(11);
  const engine = await Engine.create({ threads: 1 });
  const headerEnd = 8 + new DataView(file.buffer).getUint32(0, true);
  let refused = 0;
  try {
    for (let i = 0; i < 2000; i++) {
      // Two in three mutations hit the header, where the structure is; the rest hit weights.
      const whole = i % 3 === 0;
      const part = whole ? file : file.subarray(0, headerEnd);
      const damaged = damageBytes(part, random);
      const bytes = whole ? damaged : new Uint8Array([...damaged, ...file.subarray(headerEnd)]);
      try {
        const open = await openPacked(bufferSource(bytes, "damaged.lobit"));
        const mark = engine.memory.used;
        await open.load(engine);
        assert(engine.memory.used - mark < 4 * file.length, "a length field made memory grow");
      } catch (error) {
        assert(error instanceof LobitError, `mutation ${i}: ${error}`);
        assertEquals(error.code, "bad-file", `mutation ${i}: ${error.message}`);
        refused++;
      }
    }
  } finally {
    engine.close();
  }
  assert(refused > 1500, `only ${refused} of 2000 were refused`);
});
