// InternVL3-1B and 2B by their true names and shapes, with random weights that take no disk: they open, plan, report
// their sizes, and the 1B model loads and runs a token, within a memory limit.
import { assert, assertEquals } from "@std/assert";
import { toBf16 } from "../../src/base/half.ts";
import { Random } from "../../src/base/random.ts";
import { assemble } from "../../src/generate/model.ts";
import type { ByteSource } from "../../src/io/bytes.ts";
import { inspectModel } from "../../src/models/inspect.ts";
import { openFolder } from "../../src/models/open.ts";
import { decode } from "../../src/models/vlm.ts";
import { planRecipe } from "../../src/recipe/plan.ts";
import { rtnRecipe } from "../../src/recipe/recipe.ts";
import { sequencesOf } from "../../src/tensor/sequences.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { Engine } from "../../wasm/mod.ts";
import { memoryFolder, testPath, zeroCheckpoint } from "../testing/folders.ts";
import { pocketText } from "../testing/tokenizers.ts";

type Shapes = Record<string, number[]>;
interface Model {
  parameters: number;
  native: Shapes;
  original: Shapes;
  native_config: unknown;
  original_config: unknown;
}

const models = JSON.parse(
  Deno.readTextFileSync(testPath("goldens/internvl3_tensors.json")),
) as Record<string, Model>;

/** A checkpoint whose data repeats a megabyte of random bf16 weights. */
function randomCheckpoint(shapes: Shapes): ByteSource {
  const source = zeroCheckpoint(Object.entries(shapes));
  const random = new Random(5);
  const words = Uint16Array.from({ length: 1 << 19 }, () => toBf16(0.02 * random.normal()));
  const pattern = new Uint8Array(words.buffer);
  const dataStart = source.size - Object.values(shapes)
    .reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, 2), 0);
  return {
    ...source,
    async read(offset, into) {
      await source.read(offset, into);
      for (let at = Math.max(0, dataStart - offset); at < into.length;) {
        const from = (offset + at - dataStart) % pattern.length;
        const count = Math.min(pattern.length - from, into.length - at);
        into.set(pattern.subarray(from, from + count), at);
        at += count;
      }
    },
  };
}

function folderOf(model: Model, layout: "native" | "original") {
  return memoryFolder({
    "config.json": layout === "native" ? model.native_config : model.original_config,
    "tokenizer.json": pocketText("tokenizer.json"),
    "tokenizer_config.json": pocketText("tokenizer_config.json"),
    "chat_template.jinja": pocketText("chat_template.jinja"),
    "model.safetensors": randomCheckpoint(model[layout]),
  }, `random ${layout}`);
}

Deno.test("true-shape checkpoints in both layouts open, count their parameters and plan their sizes", async () => {
  for (const [name, model] of Object.entries(models)) {
    const plans = [];
    for (const layout of ["native", "original"] as const) {
      const open = await openFolder(folderOf(model, layout));
      assertEquals(inspectModel(open).weights, model.parameters, `${name}, ${layout}`);
      const plan = planRecipe(
        rtnRecipe({ vision: 2, language: 2, projector: 16, embedding: 4 }),
        open.tensors,
      );
      plans.push(plan.bytes);
      open.close();
    }
    assertEquals(plans[0], plans[1], name);
    // 2.5 bits for the linears, 4.5 for embedding and head, the rest at 16 or 32, as notes on the method add up.
    const mib = plans[0]! / 2 ** 20;
    const expected = { "InternVL3-1B": 355, "InternVL3-2B": 751 }[name]!;
    assert(Math.abs(mib - expected) < 0.02 * expected, `${name}: ${mib.toFixed(1)} MiB`);
  }
});

Deno.test("a random InternVL3-1B loads within 2.4 GB and its logits are finite", async () => {
  const open = await openFolder(folderOf(models["InternVL3-1B"]!, "original"));
  const engine = await Engine.create({ threads: 2, maxMemory: 2.4e9 });
  const model = assemble(open, engine, await open.load(engine));
  try {
    const { ops, vlm } = model;
    const logits = ops.pass(() => {
      const x = vlm.language.embed(ops, ops.integers([1, 150_000, 42]));
      const hidden = decode(ops, vlm, x, sequencesOf([3]));
      return floats(engine.memory, ops.linear(hidden, vlm.language.head)).slice();
    });
    assertEquals(logits.length, 3 * 151674);
    assert(logits.every(Number.isFinite));
  } finally {
    model.close();
  }
});
