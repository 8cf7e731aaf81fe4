// The full-precision pocket model against the reference implementation, stage by stage, and its answers.
import { assert, assertEquals } from "@std/assert";
import { generate } from "../../src/generate/generate.ts";
import { type LoadedModel, loadModel } from "../../src/generate/model.ts";
import { answerGreedily } from "../../src/generate/generate.ts";
import type { Request } from "../../src/generate/request.ts";
import { decode, encodeTiles } from "../../src/models/vlm.ts";
import { sequencesOf } from "../../src/tensor/sequences.ts";
import { floats, type Tensor } from "../../src/tensor/tensor.ts";
import { goldenTensor, readGolden } from "../testing/goldens.ts";
import { writeOriginalLayout } from "../testing/original_layout.ts";

const POCKET = new URL("./pocket-internvl", import.meta.url).pathname;
/** Largest difference the goldens' README allows. */
const TOLERANCE = 1e-3;

interface Case {
  images: number;
  tiles: number;
  greedy: string;
  greedy_ids: number[];
}

const golden = await readGolden(
  new URL("../goldens/pocket_forward.safetensors", import.meta.url).pathname,
);
const cases = golden.cases as Record<string, Case>;

function worst(model: LoadedModel, got: Tensor, expected: ArrayLike<number>): number {
  const values = floats(model.engine.memory, got);
  assertEquals(values.length, expected.length);
  let most = 0;
  for (let i = 0; i < values.length; i++) {
    most = Math.max(most, Math.abs(values[i]! - expected[i]!));
  }
  return most;
}

function idsOf(name: string): Int32Array {
  return goldenTensor(golden, `${name}.input_ids`).data as Int32Array;
}

/** A request made of the golden's own tiles and ids, so that only the model is tested. */
function requestOf(name: string): Request {
  const { tiles } = cases[name]!;
  const ids = idsOf(name);
  if (tiles === 0) return { prompt: { ids, images: [] }, images: [] };
  const data = goldenTensor(golden, `${name}.tiles`).data as Uint8Array;
  // One span per run of <IMG_CONTEXT>.
  const images = [];
  for (let at = 0, image = 0; at < ids.length; at++) {
    if (ids[at] !== 1021) continue;
    let end = at;
    while (ids[end] === 1021) end++;
    images.push({ image: image++, start: at, count: end - at });
    at = end;
  }
  let first = 0;
  return {
    prompt: { ids, images },
    images: images.map(({ count }) => {
      const number = count / 16;
      const size = 112 * 112 * 3;
      const part = data.subarray(first * size, (first + number) * size);
      first += number;
      return { columns: 1, rows: 1, thumbnail: false, count: number, size: 112, data: part };
    }),
  };
}

Deno.test("vision, projector and logits of the pocket model equal the reference within 1e-3", async () => {
  const model = await loadModel(POCKET, { threads: 2 });
  try {
    const { ops, vlm } = model;
    for (const name of Object.keys(cases)) {
      ops.pass(() => {
        const ids = idsOf(name);
        let x = vlm.language.embed(ops, ops.integers(ids));
        if (cases[name]!.tiles > 0) {
          const pixels = goldenTensor(golden, `${name}.tiles`);
          const tiles = ops.bytes(pixels.data as Uint8Array, pixels.shape);
          const context = vlm.vision.context(pixels.shape[0]!);
          let seen = vlm.vision.embed(ops, tiles);
          for (const block of vlm.vision.blocks) seen = block.run(ops, seen, context);
          const vision = worst(
            model,
            seen,
            goldenTensor(golden, `${name}.vision`).data as Float32Array,
          );
          assert(vision <= TOLERANCE, `${name}: vision is off by ${vision}`);
          const rows = encodeTiles(ops, vlm, tiles);
          const projected = worst(
            model,
            rows,
            goldenTensor(golden, `${name}.projected`).data as Float32Array,
          );
          assert(projected <= TOLERANCE, `${name}: projected is off by ${projected}`);
          const at = [...ids.keys()].filter((i) => ids[i] === 1021);
          x = ops.replaceRows(x, rows, ops.integers(at));
        }
        const hidden = decode(ops, vlm, x, sequencesOf([ids.length]));
        const logits = ops.linear(hidden, vlm.language.head);
        const off = worst(
          model,
          logits,
          goldenTensor(golden, `${name}.logits`).data as Float32Array,
        );
        assert(off <= TOLERANCE, `${name}: logits are off by ${off}`);
      });
    }
  } finally {
    model.close();
  }
});

Deno.test("greedy answers of all goldens in one ragged batch equal the reference", async () => {
  const model = await loadModel(POCKET, { threads: 2 });
  try {
    const names = Object.keys(cases);
    const answers = await answerGreedily(model, names.map(requestOf), 26);
    assertEquals(
      Object.fromEntries(names.map((name, i) => [name, answers[i]])),
      Object.fromEntries(names.map((name) => [name, cases[name]!.greedy])),
    );
  } finally {
    model.close();
  }
});

Deno.test("a checkpoint in the original layout gives the same logits bit for bit", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await writeOriginalLayout(POCKET, folder);
    const logits = [];
    for (const path of [POCKET, folder]) {
      const model = await loadModel(path, { threads: 1 });
      const { ops, vlm } = model;
      logits.push(ops.pass(() => {
        const ids = idsOf("text_1400");
        const pixels = goldenTensor(golden, "ocr_600.tiles");
        const rows = encodeTiles(ops, vlm, ops.bytes(pixels.data as Uint8Array, pixels.shape));
        const x = vlm.language.embed(ops, ops.integers(ids));
        const at = Array.from({ length: 16 }, (_, i) => i);
        const placed = ops.replaceRows(x, ops.takeRows(rows, ops.integers(at)), ops.integers(at));
        const hidden = decode(ops, vlm, placed, sequencesOf([ids.length]));
        return floats(model.engine.memory, ops.linear(hidden, vlm.language.head)).slice();
      }));
      model.close();
    }
    assertEquals(logits[1], logits[0]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a text-only question is answered, and a prompt beyond the context is refused before any work", async () => {
  const model = await loadModel(POCKET, { threads: 1 });
  try {
    const messages = [{ role: "user", content: "What is two plus three?" }] as const;
    const answer = await generate(model, messages, [], { maxTokens: 8 });
    assertEquals(answer.tiles, 0);
    assertEquals(answer.ended, "stop");
    const used = model.engine.memory.used;
    let error: Error | undefined;
    await generate(model, messages, [], { context: 10 }).catch((e) => error = e);
    assert(error?.message.includes("does not fit into the context of 10"), error?.message);
    assertEquals(model.engine.memory.used, used);
  } finally {
    model.close();
  }
});
