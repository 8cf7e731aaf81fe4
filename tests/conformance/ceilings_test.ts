import { assert, assertEquals } from "@std/assert";
import { kernels, Op } from "../../wasm/mod.ts";
import { onEveryEngine } from "./engines.ts";

Deno.test("Reading through memory touches every block once and joins all of its words", async () => {
  await onEveryEngine(({ name, engine }) => {
    const { memory } = engine;
    for (const blocks of [1, 2, 5]) {
      const words = blocks * 65536;
      const from = memory.allocate(4 * words), out = memory.allocate(4 * blocks + 8);
      const values = memory.i32(from, words), sums = memory.i32(out, blocks + 2);
      for (let i = 0; i < words; i++) values[i] = Math.imul(i + 1, 0x9e3779b1);
      sums.fill(77);
      engine.call(Op.ReadThrough, blocks, 1, [out, from]);
      const expected = Array.from(
        { length: blocks },
        (_, block) =>
          values.subarray(block * 65536, (block + 1) * 65536).reduce((all, word) => all ^ word, 0),
      );
      assertEquals([...sums], [...expected, 77, 77], `${name}, ${blocks} blocks`);
      assertEquals(kernels.readThrough(engine, from, blocks), blocks * 262144);
      memory.free(from);
      memory.free(out);
    }
  });
});

Deno.test("The peaks do work that grows with what they are asked for", async () => {
  await onEveryEngine(({ engine }) => {
    assertEquals(kernels.multiplyPeak(engine, 3), 3 * 4096 * 48);
    for (const dot of kernels.dotsOf(engine, true)) {
      assertEquals(kernels.dotPeak(engine, 3, dot), 3 * 4096 * 80);
    }
  });
});

Deno.test("A watched engine reports each call and its time, and is silent afterwards", async () => {
  await onEveryEngine(({ engine }) => {
    const seen: Op[] = [];
    engine.watch = (op, milliseconds) => {
      assert(milliseconds >= 0);
      seen.push(op);
    };
    kernels.multiplyPeak(engine, 2);
    const x = engine.memory.allocate(64);
    kernels.add(engine, x, x, x, 16);
    engine.watch = undefined;
    kernels.add(engine, x, x, x, 16);
    assertEquals(seen, [Op.MultiplyPeak, Op.Add]);
  });
});
