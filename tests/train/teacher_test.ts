// The teacher's kept logits, and a frozen tower's features: the same whether they were kept, dropped or shortened.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
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
    const together = floats(engine.memory, teacher.of(ALL, arena)).slice();
    const other = make("auto");
    const parts = ALL.toReversed().map((i) => floats(engine.memory, other.of([i], arena)).slice());
    assertEquals(together, Float32Array.from(parts.toReversed().flatMap((part) => [...part])));
    const whole = floats(engine.memory, make(48).of(ALL, arena)).slice();
    assertEquals(whole, together);
    const short = floats(engine.memory, make(5).of(ALL, arena)).slice();
    assert(short.some((value, i) => value !== together[i]), "nothing was shortened");
  } finally {
    engine.close();
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
