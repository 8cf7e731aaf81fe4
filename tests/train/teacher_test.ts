// The teacher's kept logits, and a frozen tower's features: the same whether they were kept, dropped or shortened.
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { Arena } from "../../src/tensor/arena.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { Features } from "../../src/train/features.ts";
import { expand, shorten, Teacher } from "../../src/train/teacher.ts";
import { Engine } from "../../wasm/mod.ts";
import { packTiny, tinyExamples, tinyModel } from "./tiny_model.ts";

const ALL = [0, 1, 2, 3, 4, 5];
const companions = (example: number) => example < 3 ? [0, 1, 2] : [3, 4, 5];

Deno.test("shortened logits keep the largest and each row's whole mass", () => {
  const random = new Random(6);
  const vocab = 50, rows = 4;
  const logits = Float32Array.from({ length: rows * vocab }, () => 4 * random.normal());
  for (const top of [1, 7, 49, 50]) {
    const again = new Float32Array(logits.length).fill(NaN);
    expand(shorten(logits, vocab, top), top, vocab, again);
    for (let row = 0; row < rows; row++) {
      const [was, is] = [logits, again].map((
        all,
      ) => [...all.subarray(row * vocab, (row + 1) * vocab)]);
      const mass = (values: number[]) => values.reduce((sum, value) => sum + Math.exp(value), 0);
      assertAlmostEquals(Math.log(mass(is!)), Math.log(mass(was!)), 1e-5);
      const limit = was!.toSorted((a, b) => b - a)[top - 1]!;
      was!.forEach((value, id) => value >= limit && assertEquals(is![id], value));
      assertEquals(new Set(is).size, Math.min(top + 1, 50));
    }
  }
});

Deno.test("teacher logits do not depend on which examples are asked for together", async () => {
  const engine = await Engine.create({ threads: 2 });
  try {
    const vlm = await tinyModel(engine);
    const examples = tinyExamples(6);
    const arena = new Arena(engine.memory);
    const make = (top: number | "auto") =>
      new Teacher(engine, vlm, examples, { companions, mask: "shifted", top });
    const teacher = make("auto");
    const together = floats(engine.memory, await teacher.of(ALL, arena)).slice();
    const other = make("auto");
    const parts: Float32Array[] = [];
    for (const i of ALL.toReversed()) {
      parts.push(floats(engine.memory, await other.of([i], arena)).slice());
    }
    assertEquals(together, Float32Array.from(parts.toReversed().flatMap((part) => [...part])));
    const whole = floats(engine.memory, await make(48).of(ALL, arena)).slice();
    assertEquals(whole, together);
    const short = floats(engine.memory, await make(5).of(ALL, arena)).slice();
    assert(short.some((value, i) => value !== together[i]), "nothing was shortened");
  } finally {
    engine.close();
  }
});

Deno.test("logits kept on disk are those computed, bit for bit, and are not computed again", async () => {
  const engine = await Engine.create({ threads: 2 });
  const path = Deno.makeTempDirSync();
  try {
    const vlm = await tinyModel(engine);
    const examples = tinyExamples(6);
    const arena = new Arena(engine.memory);
    for (const top of [5, "auto"] as const) {
      const make = (limit: number, on: { path: string; fingerprint: string } | undefined) =>
        new Teacher(engine, vlm, examples, {
          ...{ companions, mask: "shifted", top, limit, folder: on },
        });
      const all = async (teacher: Teacher) =>
        floats(engine.memory, await teacher.of(ALL, arena)).slice();
      const expected = await all(make(2 ** 20, undefined));
      const folder = { path, fingerprint: `tiny ${top}` };
      // With no room in memory every answer but the first comes from the disk.
      const first = make(0, folder);
      assertEquals(await all(first), expected);
      assertEquals(await all(first), expected);
      const sets = [...Deno.readDirSync(path)].flatMap(({ name }) =>
        [...Deno.readDirSync(`${path}/${name}`)].map((file) => `${path}/${name}/${file.name}`)
      ).filter((file) => file.endsWith(".safetensors"));
      assertEquals(sets.length, 2);
      // What is read says so by what was put there: a changed bit shows.
      const target = sets.at(-1)!;
      const bytes = Deno.readFileSync(target);
      const changed = bytes.slice();
      changed[changed.length - 1]! ^= 0x40;
      Deno.writeFileSync(target, changed);
      assert((await all(make(0, folder))).some((value, i) => value !== expected[i]));
      // Another fingerprint is another run's: nothing of it is read.
      assertEquals(await all(make(0, { path, fingerprint: `other ${top}` })), expected);
      Deno.writeFileSync(target, bytes.subarray(0, bytes.length - 9));
      const error = await assertRejects(() => all(make(0, folder)), LobitError);
      assert(error.message.includes(target), error.message);
      Deno.removeSync(target);
      assertEquals(await all(make(0, folder)), expected);
      Deno.removeSync(path, { recursive: true });
      Deno.mkdirSync(path);
    }
  } finally {
    engine.close();
    Deno.removeSync(path, { recursive: true });
  }
});

Deno.test("features are the same whether they are kept or computed again", async () => {
  const engine = await Engine.create({ threads: 2 });
  try {
    const vlm = await tinyModel(engine);
    packTiny(engine, vlm);
    const examples = tinyExamples(6);
    const arena = new Arena(engine.memory);
    const kept = new Features(engine, vlm, examples, { companions, exact: true });
    const first = floats(engine.memory, kept.of(ALL, arena)!).slice();
    assertEquals(floats(engine.memory, kept.of(ALL, arena)!).slice(), first);
    const dropped = new Features(engine, vlm, examples, { companions, exact: true, limit: 0 });
    assertEquals(floats(engine.memory, dropped.of(ALL, arena)!).slice(), first);
    // Example 0 has two pictures, example 2 none.
    const size = 4 * 128;
    assertEquals(
      floats(engine.memory, dropped.of([1], arena)!).slice(),
      first.slice(2 * size, 3 * size),
    );
    assertEquals(dropped.of([2], arena), undefined);
  } finally {
    engine.close();
  }
});
