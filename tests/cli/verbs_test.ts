// The verbs, run in this process on the shipped model.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { VERBS } from "../../src/cli/main.ts";
import { VERSION } from "../../src/cli/version.ts";
import { testPath } from "../testing/folders.ts";
import { cli, DATA, MODEL, PICTURE, withFolder } from "./support.ts";

const QUESTION = "What is in the picture?";

Deno.test("The version printed is the package's", async () => {
  const { version } = JSON.parse(await Deno.readTextFile(testPath("../deno.json")));
  assertEquals(VERSION, version);
  assertEquals(await cli(["--version"]), { code: 0, out: `lobit ${version}\n`, err: "" });
  assertEquals(JSON.parse((await cli(["--version", "--json"])).out), { version });
});

Deno.test("Help shows every verb, and a verb's help every flag and an example of use", async () => {
  const { code, out } = await cli(["--help"]);
  assertEquals(code, 0);
  for (const { name, flags, examples } of VERBS) {
    assertStringIncludes(out, `lobit ${name}`);
    const help = await cli([name, "--help"]);
    assertEquals(help, await cli(["help", name]));
    assertEquals([help.code, help.err], [0, ""]);
    for (const flag of [...flags.map(({ name }) => name), "json", "help"]) {
      assertStringIncludes(help.out, `--${flag}`);
    }
    assert(examples.length > 0);
    for (const [command] of examples) assertStringIncludes(help.out, command);
    assertEquals(JSON.parse((await cli([name, "--help", "--json"])).out).name, name);
  }
});

Deno.test("Wrong usage ends with code 2, one sentence and nothing on standard output", async () => {
  const usages: [string[], string][] = [
    [[], "verb is missing"],
    [["inspekt"], "did you mean inspect?"],
    [["inspect"], "Expected 1 arguments, found 0"],
    [["inspect", MODEL, "more"], 'needs "quotes"'],
    [["inspect", MODEL, "--tensor"], "did you mean --tensors?"],
    [["quantize", MODEL, "--bits", "4"], "--output is missing"],
    [["quantize", MODEL, "--bits", "5", "--dry-run"], "--bits takes 2, 3, 4 or 16"],
    [["quantize", MODEL, "--dry-run", "--recipe", "magic"], "known are: rtn"],
    [["quantize", MODEL, "--dry-run", "--set", "nonsense"], "PATTERN=FORMAT"],
    [["quantize", MODEL, "--dry-run", "--set", "*.nothing=w4"], "no linear matches"],
    [["run", MODEL, QUESTION, "--top-p", "2"], "top-p must be"],
    [["run", MODEL, QUESTION, "--max-tokens", "0"], "whole number from 1"],
    [["run", MODEL, QUESTION, "--max-memory", "lots"], "900M or 4G"],
    [["run", MODEL, ""], "no question"],
    [["run", MODEL], "no question"],
    [["run", MODEL, "Is <image> here?", "-i", PICTURE, "-i", PICTURE], "1 <image> where 2 --image"],
    [["run", MODEL, QUESTION, "-i", PICTURE, "--ctx", "20"], "does not fit into the context of 20"],
    [["run", MODEL, "word ".repeat(3000)], "does not fit into the context of 2048"],
    [["eval", MODEL, DATA, "--limit", "0"], "whole number from 1"],
    [["export", MODEL, "-o", "/nowhere"], "is a folder already"],
  ];
  for (const [args, sentence] of usages) {
    const { code, out, err } = await cli(args);
    assertEquals([code, out], [2, ""], `${args}: ${err}`);
    assertStringIncludes(err, sentence);
    assert(!err.includes("bug in lobit"));
  }
});

Deno.test("What cannot be read ends with code 1 and names the file", async () => {
  await withFolder(async (folder) => {
    const file = (name: string, content: Uint8Array | string) => {
      const path = `${folder}/${name}`;
      Deno.writeFileSync(
        path,
        typeof content === "string" ? new TextEncoder().encode(content) : content,
      );
      return path;
    };
    const weights = await Deno.readFile(`${MODEL}/model.safetensors`);
    const cut = file("cut.lobit", weights.subarray(0, 100_000));
    const foreign = file("foreign.lobit", weights);
    const text = file("text.tsv", "index\tquestion\n1\twhat?\n");
    const noPicture = file("no.png", "not a picture");
    const wrong: [string[], string][] = [
      [["inspect", `${folder}/missing`], "no such file or folder"],
      [["inspect", cut], cut],
      [["inspect", foreign], "not a lobit model"],
      [["run", MODEL, QUESTION, "-i", `${folder}/missing.png`], "missing.png"],
      [["run", MODEL, QUESTION, "-i", noPicture], noPicture],
      [["eval", MODEL, text], "lacks answer"],
      [["eval", MODEL, `${folder}/missing.tsv`], "missing.tsv"],
      [["export", cut, "-o", `${folder}/out`], cut],
      [["run", MODEL, QUESTION, "--max-memory", "8M", "--threads", "1"], "MiB"],
    ];
    for (const [args, sentence] of wrong) {
      const { code, out, err } = await cli(args);
      assertEquals([code, out], [1, ""], `${args}: ${err}`);
      assertStringIncludes(err, sentence);
      assert(!err.includes("bug in lobit"), err);
      const answer = JSON.parse((await cli([...args, "--json"])).out);
      assertEquals(typeof answer.error.message, "string");
    }
  });
});

Deno.test("A damaged config is a sentence, not a crash", async () => {
  await withFolder(async (folder) => {
    for (const { name } of Deno.readDirSync(MODEL)) {
      if (name !== "config.json") await Deno.symlink(`${MODEL}/${name}`, `${folder}/${name}`);
    }
    const config = JSON.parse(await Deno.readTextFile(`${MODEL}/config.json`));
    config.text_config.hidden_size = "wide";
    await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
    const { code, err } = await cli(["inspect", folder]);
    assertEquals(code, 1);
    assertStringIncludes(err, "hidden_size");
  });
});

Deno.test("Inspecting a folder gives its sizes in text and in JSON", async () => {
  const text = await cli(["inspect", MODEL]);
  assertEquals([text.code, text.err], [0, ""]);
  assertStringIncludes(text.out, "12,063,744");
  assertStringIncludes(text.out, "16 tokens each");
  const model = JSON.parse((await cli(["inspect", MODEL, "--json"])).out);
  assertEquals(model.weights, 12_063_744);
  assertEquals(model.bytes, 24_127_488);
  assertEquals([model.context, model.vocabulary, model.kind], [2048, 1024, "folder"]);
  assertEquals(model.list, undefined);
  const { list } = JSON.parse((await cli(["inspect", MODEL, "--json", "--tensors"])).out);
  assertEquals(list.length, model.tensors);
});

Deno.test("A plan's sizes are those of the file that is written", async () => {
  await withFolder(async (folder) => {
    const file = `${folder}/pocket.lobit`;
    const flags = ["--bits", "2", "--vision-bits", "4", "--projector-bits", "8", "--clip"];
    const rules = ["--set", "*.layers.0.*.v_proj=w4g96q100", "--set", "*.lm_head=keep"];
    const plan = await cli(["quantize", MODEL, "--dry-run", "--json", ...flags, ...rules]);
    const made = await cli(["quantize", MODEL, "-o", file, "--json", ...flags, ...rules]);
    assertEquals([plan.code, made.code, plan.err], [0, 0, ""]);
    const [planned, written] = [JSON.parse(plan.out), JSON.parse(made.out)];
    assertEquals(written.parts, planned.parts);
    assertEquals(written.fileBytes, (await Deno.stat(file)).size);
    const found = JSON.parse((await cli(["inspect", file, "--json"])).out);
    assertEquals(found.bytes, planned.bytes);
    assertEquals(found.recipe, planned.recipe);
    // 96 does not divide 256 columns, nor 100 the 128 rows.
    assertEquals(planned.adjusted, [{
      wanted: "w4g96q100",
      format: "w4g64q64",
      linears: ["language_model.model.layers.0.self_attn.v_proj"],
    }]);
    const [vision, projector, language] = found.parts.map((part: { formats: object }) =>
      Object.keys(part.formats).sort()
    );
    assertEquals(vision, ["bf16", "f32", "w4g32q128"]);
    assertEquals(projector, ["f32", "s8g64"]);
    assertEquals(language, ["bf16", "f32", "s4g32", "w2g16q16", "w4g64q64"]);
    const text = await cli(["quantize", MODEL, "--dry-run", ...flags, ...rules]);
    assertStringIncludes(text.out, "1 linears take w4g64q64 instead of w4g96q100");
  });
});

Deno.test("Quantizing never replaces the model it reads", async () => {
  await withFolder(async (folder) => {
    const packed = `${folder}/all16.lobit`;
    const keep = ["--bits", "16", "--embedding-bits", "16"];
    assertEquals((await cli(["quantize", MODEL, "-o", packed, ...keep])).code, 0);
    const before = await Deno.readFile(packed);
    const link = `${folder}/link.lobit`;
    await Deno.symlink(packed, link);
    for (const out of [packed, link]) {
      const { code, err } = await cli(["quantize", packed, "-o", out, "--bits", "4"]);
      assertEquals(code, 2);
      assertStringIncludes(err, "is the model itself");
    }
    assertEquals(await Deno.readFile(packed), before);

    await Deno.mkdir(`${folder}/model`);
    for (const { name } of Deno.readDirSync(MODEL)) {
      await Deno.copyFile(`${MODEL}/${name}`, `${folder}/model/${name}`);
    }
    const weights = `${folder}/model/model.safetensors`;
    const { code, err } = await cli(["quantize", `${folder}/model`, "-o", weights]);
    assertEquals(code, 2);
    assertStringIncludes(err, "model's own folder");
    assertEquals(
      (await Deno.stat(weights)).size,
      (await Deno.stat(`${MODEL}/model.safetensors`)).size,
    );
  });
});

Deno.test("A question is answered in text, in JSON and from standard input alike", async () => {
  const flags = ["--image", PICTURE, "--threads", "2", "--max-tokens", "12"];
  const text = await cli(["run", MODEL, QUESTION, ...flags]);
  const json = await cli(["run", MODEL, QUESTION, ...flags, "--json"]);
  const piped = await cli(["run", MODEL, ...flags, "--verbose"], { input: [QUESTION] });
  assertEquals([text.code, json.code, piped.code], [0, 0, 0]);
  const answer = JSON.parse(json.out);
  assertEquals(text.out, `${answer.text}\n`);
  assertEquals(piped.out, text.out);
  assert(answer.text.length > 0 && answer.tokens.length > 0);
  // The picture is 451 x 300: 3 x 2 tiles and a thumbnail of 16 tokens each, and the words.
  assertEquals([answer.tiles, answer.ended], [7, "stop"]);
  assert(answer.promptTokens > 7 * 16);
  assertEquals([text.err, json.err], ["", ""]);
  assert(/prompt \d+ tokens, 7 tiles; first token after .* tokens\/s/.test(piped.err), piped.err);
  const few = JSON.parse(
    (await cli(["run", MODEL, QUESTION, ...flags, "--max-tiles", "1", "--json"])).out,
  );
  assertEquals(few.tiles, 1);
});

Deno.test("Sampling is repeated by its seed, and pictures stand where the text places them", async () => {
  const answer = async (...flags: string[]) =>
    JSON.parse((await cli(["run", MODEL, "--json", "--max-tokens", "8", ...flags])).out);
  const sampled = ["Name a fruit.", "--temperature", "5", "--seed"];
  const first = await answer(...sampled, "1");
  assertEquals((await answer(...sampled, "1")).tokens, first.tokens);
  const others = await Promise.all(["2", "3", "4"].map((seed) => answer(...sampled, seed)));
  assert(others.some(({ text }) => text !== first.text));
  const before = await answer("Is <image> a cat?", "-i", PICTURE, "--max-tiles", "1");
  const front = await answer("Is  a cat?", "-i", PICTURE, "--max-tiles", "1");
  assert(before.promptTokens !== front.promptTokens || before.text !== front.text);
  const system = await answer("Name a fruit.", "--system", "Be brief.");
  assert(system.promptTokens > first.promptTokens);
});

Deno.test("Evaluation prints a table, or one object with what was asked for", async () => {
  const flags = ["--limit", "16", "--max-tokens", "8", "--threads", "2"];
  const text = await cli(["eval", MODEL, DATA, ...flags]);
  const plain = JSON.parse((await cli(["eval", MODEL, DATA, ...flags, "--json"])).out);
  const full = JSON.parse((await cli(["eval", MODEL, DATA, ...flags, "--json", "--items"])).out);
  assertEquals(Object.keys(plain), ["average", "categories", "counts"]);
  // Evenly spread over a file sorted by category, so that each of the eight is met twice.
  assertEquals(Object.values(plain.counts), new Array(8).fill(2));
  assertEquals(full.items.length, 16);
  const right = full.items.filter(({ correct }: { correct: boolean }) => correct).length;
  const percents = Object.values(plain.categories) as number[];
  assertEquals(percents.reduce((sum, percent) => sum + percent / 50, 0), right);
  assertEquals(plain.average, percents.reduce((sum, percent) => sum + percent, 0) / 8);
  for (const [category, percent] of Object.entries(plain.categories)) {
    assert(new RegExp(`^${category} +2 +${(percent as number).toFixed(2)} %$`, "m").test(text.out));
  }
});

Deno.test("A stopped command ends with code 130 and writes nothing", async () => {
  const signal = AbortSignal.abort();
  await withFolder(async (folder) => {
    const file = `${folder}/pocket.lobit`;
    const stopped = await cli(["quantize", MODEL, "-o", file], { signal });
    assertEquals(stopped.code, 130);
    assertEquals([...Deno.readDirSync(folder)], []);
    for (const args of [["run", MODEL, QUESTION], ["eval", MODEL, DATA]]) {
      assertEquals((await cli(args, { signal })).code, 130);
    }
    await cli(["quantize", MODEL, "-o", file]);
    const out = `${folder}/exported`;
    assertEquals((await cli(["export", file, "-o", out], { signal })).code, 130);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["pocket.lobit"]);
  });
});

Deno.test("A chat remembers, takes pictures and survives mistakes", async () => {
  const { code, out, err } = await cli(["run", MODEL, "--max-tokens", "6", "--verbose"], {
    terminal: true,
    input: [
      "",
      "/image /no/such/picture.png",
      `/image ${PICTURE}`,
      "What is in the picture?",
      "What is 2 + 3?",
      "/clear",
      "What is 2 + 3?",
      "/unknown",
      "/quit",
      "never reached",
    ],
  });
  assertEquals(code, 0);
  assertStringIncludes(err, "/no/such/picture.png");
  const prompts = [...err.matchAll(/prompt (\d+) tokens, (\d+) tiles/g)];
  const [first, second, third] = prompts.map((
    [, tokens, tiles],
  ) => [Number(tokens), Number(tiles)]);
  assertEquals(prompts.length, 3);
  assertEquals([first![1], second![1], third![1]], [7, 7, 0]);
  assert(second![0]! > first![0]! + 5 && third![0]! < first![0]!);
  assertEquals(out.trimEnd().split("\n").length >= 3, true);
});
