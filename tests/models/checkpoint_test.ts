import { assert, assertEquals } from "@std/assert";
import { type Checkpoint, openCheckpoint } from "../../src/io/checkpoint.ts";
import { byteSize } from "../../src/io/safetensors.ts";
import { parseConfig } from "../../src/models/internvl/config.ts";
import { type ResolvedTensor, resolveTensors } from "../../src/models/internvl/layout.ts";
import { testPath } from "../testing/folders.ts";
import { writeOriginalLayout } from "../testing/original_layout.ts";

const POCKET = testPath("models/pocket-internvl");

async function resolve(checkpoint: Checkpoint): Promise<Map<string, ResolvedTensor>> {
  const config = parseConfig(
    await checkpoint.readJson("config.json"),
    "config.json",
    await checkpoint.readJson("preprocessor_config.json"),
  );
  return resolveTensors(config, checkpoint.tensors, checkpoint.folder.name);
}

async function bytesOf(checkpoint: Checkpoint, place: ResolvedTensor): Promise<Uint8Array> {
  const { dtype } = checkpoint.tensors.get(place.source)!;
  const bytes = new Uint8Array(byteSize(dtype, place.shape)!);
  await checkpoint.read(place.source, bytes, place.firstRow, place.rows);
  return bytes;
}

Deno.test("the pocket model holds the same bytes in both layouts, tensor by tensor", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await writeOriginalLayout(POCKET, folder);
    const native = await openCheckpoint(POCKET);
    const original = await openCheckpoint(folder);
    const places = await resolve(native);
    const others = await resolve(original);
    assertEquals([...others.keys()], [...places.keys()]);
    assertEquals(places.size, 217);
    assertEquals(original.tensors.size, 217 - 6 * 4);
    let parameters = 0;
    for (const [name, place] of places) {
      const bytes = await bytesOf(native, place);
      const same = await bytesOf(original, others.get(name)!);
      assert(bytes.length === same.length && bytes.every((byte, i) => byte === same[i]), name);
      parameters += bytes.length / 2;
    }
    assertEquals(parameters, 12063744); // models/pocket-internvl/README.md
    native.close();
    original.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the original layout brings the slow tokenizer's files, with or without a template", async () => {
  for (const chatTemplate of [true, false]) {
    const folder = await Deno.makeTempDir();
    try {
      await writeOriginalLayout(POCKET, folder, { chatTemplate });
      const native = await openCheckpoint(POCKET);
      const original = await openCheckpoint(folder);
      const fast = await native.readJson("tokenizer.json") as {
        model: { vocab: object; merges: unknown[] };
        added_tokens: { content: string; id: number }[];
      };
      assertEquals(original.has("tokenizer.json"), false);
      assertEquals(original.has("chat_template.jinja"), false);
      assertEquals(await original.readJson("vocab.json"), fast.model.vocab);
      const merges = (await original.readText("merges.txt")).trim().split("\n");
      assertEquals(merges.length, 1 + fast.model.merges.length);
      assertEquals(
        await original.readJson("added_tokens.json"),
        Object.fromEntries(fast.added_tokens.map(({ content, id }) => [content, id])),
      );
      const config = await original.readJson("tokenizer_config.json") as { chat_template?: string };
      assertEquals(
        config.chat_template,
        chatTemplate ? await native.readText("chat_template.jinja") : undefined,
      );
      native.close();
      original.close();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }
});
