import { assert, assertEquals, assertRejects } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { dequantize } from "../../src/formats/grid.ts";
import { parseFormat } from "../../src/formats/format.ts";
import { bufferSink, bufferSource } from "../../src/io/bytes.ts";
import { openModel, openPacked } from "../../src/models/open.ts";
import { linearsOf, partsOf } from "../../src/models/vlm.ts";
import { readRows } from "../../src/quant/pack_linear.ts";
import { roundToNearest } from "../../src/quant/round.ts";
import { quantize } from "../../src/recipe/quantize.ts";
import { weightErrors } from "../../src/report/weight_errors.ts";
import { Engine } from "../../wasm/mod.ts";
import { testPath } from "../testing/folders.ts";

Deno.test("Errors of weights are those of rounding them, and only of the packed ones asked for", async () => {
  const sink = bufferSink("pocket");
  const { plan } = await quantize(testPath("models/pocket-internvl"), sink, {
    bits: 2,
    embedding: 8,
    threads: 1,
  });
  const engine = await Engine.create({ threads: 1 });
  const opened = [
    await openModel(testPath("models/pocket-internvl")),
    await openPacked(bufferSource(sink.bytes(), "pocket")),
  ];
  try {
    const { memory } = engine;
    const [before, after] = await Promise.all(opened.map((open) => open.load(engine)));
    const held = [{ vlm: before!, memory }, { vlm: after!, memory }] as const;
    const all = new Set(plan.weights.map(({ name }) => name));
    const errors = await weightErrors(...held, all);
    const packed = plan.weights.filter(({ format }) => format);
    assertEquals([...errors.keys()].sort(), packed.map(({ name }) => name).sort());
    assertEquals([...await weightErrors(...held, new Set(["no such"]))], []);
    // Independent: the dense weights rounded here, without any file.
    const linears = new Map(partsOf(before!).flatMap(linearsOf).map((l) => [l.name, l]));
    const samples = [
      packed[0]!,
      packed[40]!,
      packed.find(({ name }) => /embed_tokens/.test(name))!,
    ];
    for (const { name, rows, columns, format } of samples) {
      const { weight } = linears.get(name)!;
      assert(weight.kind === "dense");
      const values = readRows(memory, weight.tensor, columns, 0, rows);
      const { grid, codes } = roundToNearest(values, rows, columns, format!);
      let [miss, square] = [0, 0];
      dequantize(grid, codes).forEach((seen, i) => {
        miss += (seen - values[i]!) ** 2;
        square += values[i]! ** 2;
      });
      const error = errors.get(name)!;
      assert(Math.abs(error - miss / square) < 1e-6 * error, `${name}: ${error} ${miss / square}`);
      // 8 bits lose far less than 2.
      assert(error > (format!.bits === 2 ? 0.01 : 1e-6), name);
      assert(error < (format!.bits === 2 ? 0.5 : 1e-3), name);
    }
    assertEquals(parseFormat("s8").bits, samples[2]!.format!.bits);
    const stopped = AbortSignal.abort();
    const error = await assertRejects(() => weightErrors(...held, all, stopped), LobitError);
    assertEquals(error.code, "aborted");
  } finally {
    opened.forEach((open) => open.close());
    engine.close();
  }
});
