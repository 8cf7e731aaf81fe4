// The whole pocket model: loss, every gradient's norm and most whole gradients against the reference implementation,
// with and without checkpointed blocks.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { openChatData } from "../../src/data/files.ts";
import { decodeImage } from "../../src/input/image/decode.ts";
import { loadModel } from "../../src/generate/model.ts";
import { linearsOf, partsOf, vectorsOf } from "../../src/models/vlm.ts";
import { openExamples } from "../../src/recipe/stages/examples.ts";
import { count, floats } from "../../src/tensor/tensor.ts";
import { batchOf, countValid } from "../../src/train/batch.ts";
import { lookAt, predict } from "../../src/train/forward.ts";
import { putLosses } from "../../src/train/losses.ts";
import { Parameters } from "../../src/train/parameters.ts";
import { Tape } from "../../src/train/tape.ts";
import { widen } from "../../src/train/trainable.ts";
import { kernels } from "../../wasm/mod.ts";
import { goldenTensor, readGolden } from "../testing/goldens.ts";

const POCKET = new URL("../models/pocket-internvl", import.meta.url).pathname;
const CALIBRATION = new URL("../data/calib/calib.jsonl", import.meta.url).pathname;
const golden = readGolden("pocket_gradients.safetensors");
const { items, loss, norms } = golden.cases as {
  items: number[];
  loss: number;
  norms: Record<string, number>;
};

/** The goldens' names are those of newer checkpoints. */
function goldenName(name: string): string {
  if (name.startsWith("language_model.lm_head")) return name.slice("language_model.".length);
  return "model." + name.replace(/^language_model\.model\./, "language_model.");
}

Deno.test("loss and all gradients of the pocket model equal the reference", async () => {
  const model = await loadModel(POCKET, { threads: 2 });
  const { engine, vlm } = model;
  const { memory } = engine;
  try {
    const all = openChatData(CALIBRATION).items;
    const chosen = items.map((i) => all[i]!);
    const examples = await openExamples(chosen, model.open.assets, vlm.input);
    const prompts = chosen.map((_, i) => examples.prompt(i));
    const [, length] = goldenTensor(golden, "input_ids").shape as [number, number];
    prompts.forEach(({ ids, labels }, i) => {
      const row = (name: string) =>
        (goldenTensor(golden, name).data as Int32Array).slice(i * length, i * length + ids.length);
      assertEquals(ids, row("input_ids"), `ids of item ${items[i]}`);
      assertEquals(labels, row("labels"), `labels of item ${items[i]}`);
    });

    const parameters = new Parameters(engine);
    for (const part of partsOf(vlm)) {
      for (const linear of linearsOf(part)) {
        parameters.add(`${linear.name}.weight`, widen(memory, linear));
      }
      for (const { name, tensor } of vectorsOf(part)) parameters.add(name, tensor);
    }
    assertEquals(
      parameters.all.map(({ name }) => goldenName(name)).sort(),
      Object.keys(norms).sort(),
    );

    const batch = batchOf(prompts);
    // The goldens start from libjpeg-turbo's pixels (djpeg's output, kept as PNG): decoders differ in the last bit of the
    // inverse transform, and a gradient shows it.
    const tiles = chosen.flatMap(({ images }) => images).map((image) => {
      const name = (image as { path: string }).path.replace(/^.*\/(\d+)\.jpg$/, "$1.png");
      return decodeImage(Deno.readFileSync(new URL(`./pixels/${name}`, import.meta.url)), name)
        .data;
    });
    const pixels = new Uint8Array(tiles.reduce((sum, { length }) => sum + length, 0));
    tiles.reduce((at, data) => (pixels.set(data, at), at + data.length), 0);
    const size = vlm.input.imageSize;
    const checkpointed: Float32Array[] = [];
    for (const checkpoint of [true, false]) {
      const tape = new Tape(engine, parameters, { checkpoint });
      parameters.zeroGradients();
      const shape = [pixels.length / (3 * size * size), size, size, 3];
      const features = lookAt(tape, vlm, tape.bytes(pixels, shape));
      const logits = predict(tape, vlm, batch, vlm.projector.project(tape, features));
      const labels = tape.integers(batch.labels);
      const { label } = putLosses(
        tape,
        logits,
        { labels, scale: 1 / countValid(batch.labels) },
        undefined,
        { labelWeight: 1, smoothing: 0, distillWeight: 0, temperature: 1, matchWeight: 0 },
      );
      assertAlmostEquals(label, loss, 1e-3 * loss);
      tape.backward();
      let whole = 0;
      parameters.all.forEach(({ name, gradient }, i) => {
        const got = floats(memory, gradient);
        const norm = Math.sqrt(kernels.sumSquares(engine, gradient.ptr, count(gradient)));
        const wanted = norms[goldenName(name)]!;
        const off = Math.abs(norm - wanted);
        // Softmax does not see a shift of all keys, so the tower's key biases have noise for gradients.
        assert(
          off <= 1e-3 * wanted + 1e-7,
          `the gradient of ${name} has norm ${norm}, not ${wanted}`,
        );
        const expected = golden.tensors.get(goldenName(name))?.data as Float32Array | undefined;
        if (expected) {
          whole++;
          let most = 0, gap = 0, dot = 0, own = 0, other = 0;
          expected.forEach((value, i) => {
            most = Math.max(most, Math.abs(value));
            gap = Math.max(gap, Math.abs(value - got[i]!));
            dot += value * got[i]!;
            own += got[i]! ** 2;
            other += value ** 2;
          });
          const cosine = dot / Math.sqrt(own * other);
          assert(gap <= 1e-3 * most + 1e-8 || cosine >= 0.99999, `the gradient of ${name} is off`);
        }
        if (checkpoint) checkpointed.push(got.slice());
        else assertEquals(got, checkpointed[i], `${name}: checkpointed blocks change its gradient`);
      });
      assertEquals(whole, 134);
      tape.free();
    }
    parameters.free();
  } finally {
    model.close();
  }
});
