// Real processes: what Deno has to allow, pipes, and commands that are killed.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openModel } from "../../src/models/open.ts";
import { DATA, MODEL, PICTURE, spawn, start, withFolder } from "./support.ts";

const QUESTION = "What is in the picture?";
const TWO = ["--threads", "2"];

/** A folder outside the clone with the model, a picture and a few items. */
async function fill(folder: string): Promise<void> {
  await Deno.mkdir(`${folder}/in/model`, { recursive: true });
  for (const { name } of Deno.readDirSync(MODEL)) {
    await Deno.copyFile(`${MODEL}/${name}`, `${folder}/in/model/${name}`);
  }
  await Deno.copyFile(PICTURE, `${folder}/in/cat.png`);
  const lines = (await Deno.readTextFile(DATA)).split("\n");
  await Deno.writeTextFile(`${folder}/in/few.tsv`, [lines[0], ...lines.slice(-6)].join("\n"));
}

Deno.test("Reading one folder is enough to run and evaluate, and writing one file to quantize", async () => {
  await withFolder(async (folder) => {
    await fill(folder);
    const input = `${folder}/in`;
    const read = [`--allow-read=${input}`];
    const packed = `${input}/pocket.lobit`;

    const refused = await spawn(read, ["quantize", `${input}/model`, "-o", packed, ...TWO]);
    assertEquals(refused.code, 2, refused.err);
    assertStringIncludes(refused.err, "--allow-write=");

    // Leave to write the one file only, then, over the file that is there now, its folder.
    const quantize = ["quantize", `${input}/model`, "-o", packed, "--bits", "4", ...TWO];
    const written = await spawn([...read, `--allow-write=${packed}`], quantize);
    assertEquals(written.code, 0, written.err);
    const size = (await Deno.stat(packed)).size;
    const again = await spawn([...read, `--allow-write=${input}`], [...quantize, "--json"]);
    assertEquals(again.code, 0, again.err);
    assertEquals(JSON.parse(again.out).fileBytes, size);
    assertEquals([...Deno.readDirSync(input)].map(({ name }) => name).sort(), [
      "cat.png",
      "few.tsv",
      "model",
      "pocket.lobit",
    ]);

    // Relative paths, started elsewhere than in the clone.
    const run = ["run", "in/pocket.lobit", "-i", "in/cat.png", QUESTION, "--max-tokens", "8"];
    const answer = await spawn(read, [...run, ...TWO, "--json"], folder);
    assertEquals([answer.code, answer.err], [0, ""]);
    assert(JSON.parse(answer.out).text.length > 0);

    const evaluated = await spawn(read, ["eval", packed, `${input}/few.tsv`, "--json", ...TWO]);
    assertEquals(evaluated.code, 0, evaluated.err);
    assertEquals(Object.keys(JSON.parse(evaluated.out)), ["average", "categories", "counts"]);

    const hidden = await spawn([], ["inspect", packed]);
    assertEquals([hidden.code, hidden.out], [2, ""]);
    assertStringIncludes(hidden.err, "--allow-read=");
  });
});

Deno.test("Help needs no permission, and a reader that stops early is no error", async () => {
  const help = await spawn([], ["help"]);
  assertEquals([help.code, help.err], [0, ""]);
  const child = start(["--allow-read"], ["inspect", MODEL, "--tensors"]);
  await child.stdout.cancel();
  const [{ code }, err] = await Promise.all([child.status, new Response(child.stderr).text()]);
  assertEquals([code, err], [0, ""]);
});

Deno.test("The demo needs no temporary folder, and measures three models on the same questions", async () => {
  const { code, out, err } = await spawn(["--allow-read"], [
    "demo",
    "--every",
    "100",
    "--recipe",
    "fast",
    "--json",
  ]);
  assertEquals(code, 0, err);
  const { items, models } = JSON.parse(out) as {
    items: number;
    models: { name: string; bytes: number; bitsPerWeight: number; categories: object }[];
  };
  assertEquals(items, 16);
  assertEquals(models.map(({ name }) => name), ["16 bits", "2 bits, rtn", "2 bits, fast"]);
  assertEquals(models.map(({ bitsPerWeight }) => Math.floor(bitsPerWeight)), [16, 3, 3]);
  assert(models[0]!.bytes > 4 * models[1]!.bytes && models[1]!.bytes <= models[2]!.bytes);
  assert(models.every(({ categories }) => Object.keys(categories).length === 8));
});

/** Starts quantizing and waits until the plan is printed: then the work is under way. */
async function startQuantizing(folder: string, file: string): Promise<Deno.ChildProcess> {
  const args = ["quantize", MODEL, "-o", file, "--bits", "2", "--clip", "--threads", "1"];
  const child = start([`--allow-read`, `--allow-write=${folder}`], args);
  const reader = child.stdout.getReader();
  await reader.read();
  reader.releaseLock();
  return child;
}

Deno.test("Ctrl-C while quantizing ends with code 130 and leaves nothing behind", async () => {
  await withFolder(async (folder) => {
    const child = await startQuantizing(folder, `${folder}/pocket.lobit`);
    child.kill("SIGINT");
    const { code, stderr } = await child.output();
    assertEquals(code, 130, new TextDecoder().decode(stderr));
    assertStringIncludes(new TextDecoder().decode(stderr), "stopped before it finished");
    assertEquals([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("A killed quantize leaves the older file or the whole new one, never half of one", async () => {
  await withFolder(async (folder) => {
    const file = `${folder}/pocket.lobit`;
    for (const [kill, older] of [[0, false], [150, true], [400, false]] as const) {
      await Deno.writeTextFile(file, "older");
      if (!older) await Deno.remove(file);
      const child = await startQuantizing(folder, file);
      await new Promise((resolve) => setTimeout(resolve, kill));
      child.kill("SIGKILL");
      await child.output();
      const found = await Deno.readTextFile(file).catch(() => undefined);
      if (found === undefined) assert(!older);
      else if (found !== "older") (await openModel(file)).close();
    }
  });
});
