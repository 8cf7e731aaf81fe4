import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { toBf16 } from "../../src/base/half.ts";
import { dequantize } from "../../src/formats/grid.ts";
import { layoutOf, parseFormat, unpack } from "../../src/formats/mod.ts";
import { type GoldenTensor, goldenTensor, readGolden } from "../testing/goldens.ts";
import { writeOriginalLayout } from "../testing/original_layout.ts";
import { cli, MODEL, withFolder } from "./support.ts";

const words = (path: string) => readGolden(path).tensors;

/** As assertEquals, which takes seconds for millions of elements. */
function assertSame(found: GoldenTensor, data: GoldenTensor["data"], name: string): void {
  assertEquals(found.data.length, data.length, name);
  const at = found.data.findIndex((value: number | bigint, i: number) => value !== data[i]);
  assertEquals(at, -1, `${name} differs at ${at}`);
}

async function run(...args: string[]): Promise<void> {
  const { code, err } = await cli([...args, "--threads", "2"]);
  assertEquals(code, 0, err);
}

Deno.test("An exported folder holds what the codes stand for, under the checkpoint's own names", async () => {
  await withFolder(async (folder) => {
    const [file, out] = [`${folder}/pocket.lobit`, `${folder}/exported`];
    await run("quantize", MODEL, "-o", file, "--bits", "2", "--projector-bits", "8");
    await run("export", file, "-o", out);
    const [before, after] = [
      words(`${MODEL}/model.safetensors`),
      words(`${out}/model.safetensors`),
    ];
    const packed = readGolden(file);
    const header = new TextDecoder().decode((await Deno.readFile(file)).subarray(8, 2_000_000));
    const text = header.slice(0, header.indexOf("}", header.lastIndexOf("data_offsets")) + 2);
    const { weights } = JSON.parse(JSON.parse(text).__metadata__.lobit) as {
      weights: Record<string, { format: string; rows: number; columns: number }>;
    };
    assertEquals([...after.keys()].sort(), [...before.keys()].sort());
    let linears = 0;
    const formats = new Set<string>();
    for (const [name, tensor] of after) {
      assertEquals(
        [tensor.dtype, tensor.shape],
        [before.get(name)!.dtype, before.get(name)!.shape],
        name,
      );
      const weight = weights[name.replace(/\.weight$/, "")];
      if (!weight) {
        assertSame(tensor, before.get(name)!.data, name);
        continue;
      }
      // The reference unpacking is slow: a quarter of the linears has every format and part.
      if (linears++ % 4 !== 0 && formats.has(weight.format)) continue;
      const blob = goldenTensor(packed, name).data as Uint8Array;
      const layout = layoutOf(parseFormat(weight.format), weight.rows, weight.columns);
      const { grid, codes } = unpack(layout, blob);
      assertSame(tensor, Uint16Array.from(dequantize(grid, codes), toBf16), name);
      formats.add(weight.format);
    }
    assertEquals(linears, Object.keys(weights).length);
    assertEquals([...formats].sort(), ["s4g32", "s8g64", "w2g16q16"]);
    for (const name of ["config.json", "tokenizer.json", "chat_template.jinja"]) {
      assertEquals(
        await Deno.readTextFile(`${out}/${name}`),
        await Deno.readTextFile(`${MODEL}/${name}`),
      );
    }
    const question = "What color is a ripe banana?";
    const { code, err } = await cli(["run", out, question, "--threads", "1"]);
    assertEquals([code, err], [0, ""], "the exported folder is a model again");
  });
});

Deno.test("A model of the original layout is exported under the original names, q, k and v stacked", async () => {
  await withFolder(async (folder) => {
    const original = `${folder}/original`;
    await writeOriginalLayout(MODEL, original);
    await run("quantize", MODEL, "-o", `${folder}/a.lobit`, "--bits", "4");
    await run("quantize", original, "-o", `${folder}/b.lobit`, "--bits", "4");
    await run("export", `${folder}/a.lobit`, "-o", `${folder}/a`);
    const { out } = await cli(["export", `${folder}/b.lobit`, "-o", `${folder}/b`]);
    assertStringIncludes(out, ".py files");
    // The test's own rewriting of the native export is the expectation.
    await writeOriginalLayout(`${folder}/a`, `${folder}/expected`);
    const [found, expected] = ["b", "expected"].map((name) =>
      words(`${folder}/${name}/model.safetensors`)
    );
    assertEquals([...found!.keys()].sort(), [...expected!.keys()].sort());
    for (const [name, { shape, data }] of expected!) {
      assertEquals(found!.get(name)!.shape, shape, name);
      assertSame(found!.get(name)!, data, name);
    }
    assert(found!.has("vision_model.encoder.layers.0.attn.qkv.weight"));
    assertEquals((await cli(["inspect", `${folder}/b`])).code, 0);
  });
});

Deno.test("Exporting keeps what is there and leaves nothing when it fails", async () => {
  await withFolder(async (folder) => {
    const file = `${folder}/pocket.lobit`;
    await run("quantize", MODEL, "-o", file, "--bits", "4");
    await Deno.mkdir(`${folder}/full`);
    await Deno.writeTextFile(`${folder}/full/mine.txt`, "mine");
    const taken = await cli(["export", file, "-o", `${folder}/full`]);
    assertEquals(taken.code, 2);
    assertStringIncludes(taken.err, "exists already");
    await Deno.mkdir(`${folder}/empty`);
    await run("export", file, "-o", `${folder}/empty`);

    // A flipped bit in the last tensor is found by its checksum after others were written.
    const bytes = await Deno.readFile(file);
    bytes[bytes.length - 40]! ^= 1;
    await Deno.writeFile(`${folder}/damaged.lobit`, bytes);
    const damaged = await cli(["export", `${folder}/damaged.lobit`, "-o", `${folder}/new`]);
    assertEquals(damaged.code, 1);
    assertStringIncludes(damaged.err, "checksum");
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    assertEquals(names, ["damaged.lobit", "empty", "full", "pocket.lobit"]);
    assertEquals(await Deno.readTextFile(`${folder}/full/mine.txt`), "mine");
  });
});

Deno.test("A packed file cannot make export write outside its folder", async () => {
  await withFolder(async (folder) => {
    const file = `${folder}/pocket.lobit`;
    await run("quantize", MODEL, "-o", file, "--bits", "4");
    const bytes = await Deno.readFile(file);
    const [name, evil] = ["file:processor_config.json", "file:../../../../evil.json"].map((text) =>
      new TextEncoder().encode(text)
    ) as [Uint8Array, Uint8Array];
    assertEquals(name.length, evil.length);
    const at = bytes.findIndex((_, i) => name.every((byte, j) => bytes[i + j] === byte));
    bytes.set(evil, at);
    await Deno.writeFile(file, bytes);
    const { code, err } = await cli(["export", file, "-o", `${folder}/a/b/c/d`]);
    assertEquals(code, 1);
    assertStringIncludes(err, "is no name for a small file");
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["pocket.lobit"]);
  });
});
