// What `--data` names: files and folders by kind, put together, with all mistakes told at once.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { readData } from "../../src/cli/data.ts";
import { testPath } from "../testing/folders.ts";
import { cli, MODEL, PICTURE, withFolder } from "./support.ts";

const CALIBRATION = testPath("data/calib/calib.jsonl");

/** A folder with four conversations, two pictures below it, a text, and broken things. */
async function fill(folder: string): Promise<void> {
  const lines = (await Deno.readTextFile(CALIBRATION)).split("\n").slice(0, 4);
  const records = lines.map((line) => {
    const record = JSON.parse(line);
    return JSON.stringify({ ...record, image: testPath(`data/calib/${record.image}`) });
  });
  await Deno.writeTextFile(`${folder}/few.jsonl`, [...records, "{"].join("\n"));
  await Deno.writeTextFile(`${folder}/words.txt`, "One two three.\n\nFour five.\n");
  await Deno.writeTextFile(`${folder}/none.jsonl`, "{\n");
  await Deno.mkdir(`${folder}/photos/inner`, { recursive: true });
  await Deno.copyFile(PICTURE, `${folder}/photos/inner/cat.png`);
  await Deno.copyFile(testPath("images/rocket.jpg"), `${folder}/photos/rocket.jpg`);
}

Deno.test("files and folders are read by kind and put together in the order given", async () => {
  await withFolder(async (folder) => {
    await fill(folder);
    let said = "";
    const at = (name: string) => `${folder}/${name}`;
    const given = await readData(
      [at("photos"), at("few.jsonl"), at("words.txt"), testPath("data/pocketvqa_tune.tsv")],
      (text) => said += text,
      0.5,
    );
    assertEquals(
      given.pictures,
      ["photos/inner/cat.png", "photos/rocket.jpg"].map((name) => ({
        kind: "path",
        path: at(name),
      })),
    );
    assertEquals(given.texts, ["One two three.", "Four five."]);
    assert(given.data!.length > 4);
    assertStringIncludes(given.data![4]!.source, "pocketvqa_tune.tsv");
    assertEquals(given.data![4]!.messages.at(-1)!.role, "assistant");
    assertStringIncludes(said, "few.jsonl: 1 of 5 records left out, the first in place 5");
    assertEquals(await readData([], () => {}), {});
  });
});

Deno.test("all data at fault is told at once", async () => {
  await withFolder(async (folder) => {
    await fill(folder);
    const at = (name: string) => `${folder}/${name}`;
    const wrong = ["words.txt", "none.jsonl", "words.txt", "missing.txt", "missing"].map(at);
    const { message } = await assertRejects(() => readData(wrong, () => {}), LobitError);
    for (const words of ["4 of the data", "none.jsonl: 1 of 1 records", "twice", "missing.txt"]) {
      assertStringIncludes(message, words);
    }
  });
});

Deno.test("a model is quantized on a folder of pictures and a text file", async () => {
  await withFolder(async (folder) => {
    await fill(folder);
    const at = (name: string) => `${folder}/${name}`;
    // One block of each part, so that the test takes seconds.
    const stage = (part: string, layers: string) => ({
      ...{
        part,
        method: "gptq",
        rules: [{ layers: "*", format: "keep" }, { layers, format: "w4" }],
      },
    });
    const stages = [stage("vision", "*.layer.0.*"), stage("language", "*.layers.0.*")];
    await Deno.writeTextFile(at("own.json"), JSON.stringify({ stages }));
    const flags = ["quantize", MODEL, "-o", at("m.lobit"), "--recipe", at("own.json")];
    const { code, err } = await cli([...flags, "--data", at("photos"), "--data", at("words.txt")]);
    assertEquals(code, 0, err);
    assert((await Deno.stat(at("m.lobit"))).size > 1e6);
    const blind = await cli([...flags, "--data", at("words.txt")]);
    assertEquals(blind.code, 2);
    assertStringIncludes(blind.err, "the vision stage (gptq) looks at data: pictures");
  });
});
