import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { bufferSink, type ByteSource } from "../../src/io/bytes.ts";
import { openCheckpoint } from "../../src/io/checkpoint.ts";
import { type TensorToWrite, writeSafetensors } from "../../src/io/safetensors.ts";
import { damageJson } from "../testing/damage.ts";
import { memoryFolder, testPath } from "../testing/folders.ts";

const INDEX = "model.safetensors.index.json";

/** A safetensors file in memory; each tensor's bytes count up from its seed. */
async function shard(tensors: Record<string, [number[], number]>): Promise<Uint8Array> {
  const sink = bufferSink("shard");
  const list = Object.entries(tensors).map(([name, [shape, seed]]): TensorToWrite => {
    const bytes = new Uint8Array(shape.reduce((a, b) => a * b, 1)).map((_, i) => i + seed);
    return { name, dtype: "U8", shape, bytes: () => bytes };
  });
  await writeSafetensors(sink, list);
  return sink.bytes();
}

const FIRST = await shard({ a: [[4, 3], 10], b: [[2], 50] });
const SECOND = await shard({ c: [[2, 2, 2], 100], d: [[], 7] });
const WEIGHT_MAP = {
  a: "m-1.safetensors",
  b: "m-1.safetensors",
  c: "m-2.safetensors",
  d: "m-2.safetensors",
};

function sharded(index: unknown = { metadata: { total_size: 23 }, weight_map: WEIGHT_MAP }) {
  return memoryFolder({ [INDEX]: index, "m-1.safetensors": FIRST, "m-2.safetensors": SECOND });
}

Deno.test("rows are read from whichever shard holds them", async () => {
  const checkpoint = await openCheckpoint(sharded());
  assertEquals(checkpoint.files, ["m-1.safetensors", "m-2.safetensors"]);
  const read = async (name: string, size: number, firstRow?: number, rows?: number) => {
    const into = new Uint8Array(size);
    await checkpoint.read(name, into, firstRow, rows);
    return Array.from(into);
  };
  assertEquals(await read("a", 12), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]);
  assertEquals(await read("a", 6, 1, 2), [13, 14, 15, 16, 17, 18]);
  assertEquals(await read("a", 3, 3), [19, 20, 21]);
  assertEquals(await read("c", 4, 1), [104, 105, 106, 107]);
  assertEquals(await read("d", 1), [7]);
  assertEquals(await read("a", 0, 4), []);
  for (
    const [name, size, firstRow, rows] of [["a", 12, 1, 4], ["a", 11, 0, 4], ["x", 1, 0, 1], [
      "a",
      3,
      -1,
      1,
    ], ["a", 3, 0.5, 1]] as const
  ) {
    const error = await assertRejects(() => read(name, size, firstRow, rows), LobitError);
    assertEquals(error.code, "bad-request");
  }
  checkpoint.close();
});

Deno.test("the pocket model opens from its folder, texts and JSON included", async () => {
  const checkpoint = await openCheckpoint(testPath("models/pocket-internvl"));
  assertEquals(checkpoint.tensors.size, 217);
  assertEquals(checkpoint.has("tokenizer.json"), true);
  assertEquals(checkpoint.has("vocab.json"), false);
  assertEquals(
    (await checkpoint.readJson("config.json") as { model_type: string }).model_type,
    "internvl",
  );
  assertStringIncludes(await checkpoint.readText("chat_template.jinja"), "im_start");
  await assertRejects(() => checkpoint.readText("vocab.json"), LobitError, "there is no such file");
  const name = "language_model.model.norm.weight";
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const into = new Uint8Array(memory.buffer, 64, 512);
  await checkpoint.read(name, into);
  const { begin, end } = checkpoint.tensors.get(name)!;
  const file = await Deno.readFile(testPath("models/pocket-internvl/model.safetensors"));
  assertEquals(Array.from(into), Array.from(file.subarray(begin, end)));
  checkpoint.close();
  await assertRejects(() => checkpoint.read(name, into), LobitError, "closed");
});

Deno.test("a folder without safetensors says what was looked for", async () => {
  await assertRejects(
    () => openCheckpoint(memoryFolder({ "pytorch_model.bin": "x" })),
    LobitError,
    "found neither",
  );
  await assertRejects(
    () => openCheckpoint(testPath("nowhere")),
    LobitError,
    "there is no such folder",
  );
  await assertRejects(
    () => openCheckpoint(testPath("models/pocket-internvl/config.json")),
    LobitError,
    "expected a model folder",
  );
});

Deno.test("an index that disagrees with its files, or leads outside the folder, is refused", async () => {
  const refuse = (index: unknown, why: string) =>
    assertRejects(() => openCheckpoint(sharded(index)), LobitError, why);
  await refuse([], "expected an object weight_map");
  await refuse({ weight_map: [] }, "expected an object weight_map");
  await refuse({ weight_map: {} }, "is empty");
  for (
    const path of ["../m-1.safetensors", "/m-1.safetensors", "a/b.safetensors", "m-1.bin", 3, null]
  ) {
    await refuse({ weight_map: { a: path } }, "is no plain .safetensors file name");
  }
  const error = await refuse(
    { weight_map: { ...WEIGHT_MAP, x: "m-1.safetensors", a: "m-2.safetensors" } },
    "it lists 2 tensors that their files do not hold",
  );
  assertStringIncludes(error.message, '\n  "x" in m-1.safetensors');
  assertStringIncludes(error.message, '\n  "a" in m-2.safetensors');
  const many = Object.fromEntries(
    Array.from({ length: 5000 }, (_, i) => [`t${i}`, `s${i}.safetensors`]),
  );
  await refuse({ weight_map: many }, "lists 5000 files");
});

Deno.test("a tensor that the index forgot is still seen", async () => {
  const { d: _, ...rest } = WEIGHT_MAP;
  const checkpoint = await openCheckpoint(sharded({ weight_map: rest }));
  assertEquals([...checkpoint.tensors.keys()].sort(), ["a", "b", "c", "d"]);
});

Deno.test("files are closed again when one of them is damaged", async () => {
  let open = 0;
  const folder = memoryFolder({
    [INDEX]: { weight_map: WEIGHT_MAP },
    "m-1.safetensors": FIRST,
    "m-2.safetensors": SECOND.slice(0, 40),
  });
  const counted = {
    ...folder,
    open: (file: string): ByteSource => {
      const source = folder.open(file);
      open++;
      return {
        name: source.name,
        size: source.size,
        read: (at, into) => source.read(at, into),
        close: () => void open--,
      };
    },
  };
  await assertRejects(() => openCheckpoint(counted), LobitError, "m-2.safetensors");
  assertEquals(open, 0);
});

Deno.test("damaged indexes give a typed error or the tensors themselves (3,000 mutations)", async () => {
  const random = new Random(21);
  let accepted = 0;
  for (let round = 0; round < 3000; round++) {
    const index = damageJson({ metadata: { total_size: 23 }, weight_map: WEIGHT_MAP }, random);
    const text = JSON.stringify(index) ?? "";
    const damaged = round % 3 === 0 ? text.slice(0, random.integer(text.length + 1)) : text;
    try {
      const checkpoint = await openCheckpoint(
        memoryFolder({ [INDEX]: damaged, "m-1.safetensors": FIRST, "m-2.safetensors": SECOND }),
      );
      for (const [name, { begin, end, file }] of checkpoint.tensors) {
        assertEquals(file, (WEIGHT_MAP as Record<string, string>)[name]);
        await checkpoint.read(name, new Uint8Array(end - begin));
      }
      accepted++;
    } catch (error) {
      assert(error instanceof LobitError && error.code === "bad-file", String(error));
    }
  }
  assert(accepted > 40 && accepted < 2000, `${accepted} accepted`);
});
