import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { bufferSink, bufferSource } from "../../src/io/bytes.ts";
import { openModel, openPacked } from "../../src/models/open.ts";
import { chooseRecipe } from "../../src/recipe/choose.ts";
import { quantize } from "../../src/recipe/quantize.ts";
import { testPath } from "../testing/folders.ts";

const MODEL = testPath("models/pocket-internvl");

Deno.test("A file and a sink get the same bytes, whatever the number of threads", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/pocket.lobit`;
    const file = await quantize(MODEL, path, { bits: 3, threads: 1 });
    const sink = bufferSink("pocket");
    const report = await quantize(MODEL, sink, { bits: 3, threads: 2 });
    assertEquals(await Deno.readFile(path), new Uint8Array(sink.bytes()));
    assertEquals([file.fileBytes, report.fileBytes], [sink.size, sink.size]);
    const open = await openPacked(bufferSource(sink.bytes(), "pocket"));
    assertEquals(open.recipe, chooseRecipe({ bits: 3 }));
    open.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("Quantizing reports every weight once, in order, and ends at the total", async () => {
  const seen: { name: string; done: number; total: number }[] = [];
  const { plan } = await quantize(MODEL, bufferSink("pocket"), {
    bits: 4,
    threads: 1,
    onProgress: (progress) => void seen.push(progress),
  });
  const packed = plan.weights.filter(({ format }) => format);
  assertEquals(seen.map(({ name }) => name).sort(), packed.map(({ name }) => name).sort());
  assertEquals(seen.at(-1)!.done, seen.at(-1)!.total);
  assert(seen.every(({ done }, i) => i === 0 || done > seen[i - 1]!.done));
});

Deno.test("Bad outputs are found before any work, and a stopped run leaves no file", async () => {
  const folder = await Deno.makeTempDir();
  try {
    let started = false;
    const onProgress = () => void (started = true);
    const to = (out: string) => quantize(MODEL, out, { threads: 1, onProgress });
    for (const out of [`${folder}/no/such/folder/x.lobit`, folder, MODEL]) {
      await assertRejects(() => to(out), LobitError);
    }
    assertEquals(started, false);
    const controller = new AbortController();
    const error = await assertRejects(
      () =>
        quantize(MODEL, `${folder}/x.lobit`, {
          threads: 1,
          signal: controller.signal,
          onProgress: ({ done, total }) => done > total / 2 && controller.abort(),
        }),
      LobitError,
    );
    assertEquals(error.code, "aborted");
    assertEquals([...Deno.readDirSync(folder)], []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("Recipes are known by name, and impossible bits are refused", async () => {
  for (const choice of [{ recipe: "magic" }, { bits: 5 }, { projector: 2 }, { embedding: 3 }]) {
    const error = assertThrows(() => chooseRecipe(choice), LobitError);
    assertEquals(error.code, "bad-request");
  }
  const own = chooseRecipe({ bits: 2 });
  assertEquals(chooseRecipe({ recipe: own }), own);
  const open = await openModel(MODEL);
  open.close();
});
