import { assert, assertEquals } from "@std/assert";
import { fitFormat, layoutOf, parseFormat } from "../../src/formats/mod.ts";
import { Op, warmUp } from "../../wasm/mod.ts";
import { onEveryEngine } from "../conformance/engines.ts";

const layouts = ["w2g16q16", "w3g16q16", "w4g32q128", "s4g32", "s8g64"].map((name) =>
  layoutOf(fitFormat(parseFormat(name), 64, 256), 64, 256)
);

Deno.test("A warm-up runs the kernels that the weights need and leaves no memory behind", async () => {
  await onEveryEngine(({ engine, name }) => {
    const { used } = engine.memory;
    const seen = new Set<Op>();
    engine.watch = (op) => seen.add(op);
    const left = warmUp(engine, layouts);
    assert(left >= 0 && left <= 8 + 4 * layouts.length, `${name}: ${left}`);
    assertEquals(engine.memory.used, used);
    assert(seen.has(Op.RmsNorm) && !seen.has(Op.Gemm), name);
    seen.clear();
    warmUp(engine, [], "int8");
    assertEquals(engine.memory.used, used);
    assert(seen.has(Op.AppendKeysValues), name);
    assert(seen.has(Op.Attend) && !seen.has(Op.PackedVector), name);
  });
});
