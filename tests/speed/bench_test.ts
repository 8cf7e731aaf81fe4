// The speed bench: what it makes up is valid, and what it reports adds up. Nothing here asserts on time.
import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { bench } from "../../src/bench/bench.ts";
import { summarize } from "../../src/bench/measure.ts";
import { architectureOf, SHAPES } from "../../src/bench/shapes.ts";
import { SyntheticStore } from "../../src/bench/synthetic.ts";
import { checkPacked, parseFormat } from "../../src/formats/mod.ts";
import { openModel } from "../../src/models/open.ts";
import { bytesOf } from "../../src/tensor/tensor.ts";
import { Memory } from "../../wasm/mod.ts";
import { cli, MODEL } from "../cli/support.ts";
import { testPath } from "../testing/folders.ts";

Deno.test("Made-up weights of every format are valid as those of a file must be", async () => {
  for (const name of ["w2g16q16", "w3g16q16", "w4g32q128", "w4", "s4g32", "s8g64"]) {
    const store = new SyntheticStore(new Memory(), () => parseFormat(name));
    const linear = await store.linear("some.linear", 72, 320, true);
    assert(linear.weight.kind === "packed");
    checkPacked(linear.weight.layout, bytesOf(store.memory, linear.weight.blob), name);
    assertEquals(store.bytes, linear.weight.layout.bytes + 72 * 4);
  }
  const store = new SyntheticStore(new Memory(), () => undefined);
  const { weight } = await store.linear("kept", 6, 10, false);
  assert(weight.kind === "dense" && weight.tensor.dtype === "bf16");
});

Deno.test("Named shapes have the tensors of the published models", () => {
  const golden = JSON.parse(Deno.readTextFileSync(testPath("goldens/internvl3_tensors.json")));
  for (
    const [shape, model] of [["internvl3-1b", "InternVL3-1B"], ["internvl3-2b", "InternVL3-2B"]]
  ) {
    assert(SHAPES.includes(shape!));
    const wanted = golden[model!].native as Record<string, number[]>;
    const found = architectureOf(shape!).tensors;
    assertEquals([...found.keys()].sort(), Object.keys(wanted).sort());
    for (const [name, size] of found) assertEquals(size, wanted[name], name);
  }
});

Deno.test("Mean, deviation and median of measurements", () => {
  const { mean, deviation, median } = summarize([2, 4, 9]);
  assertEquals([mean, median], [5, 4]);
  assertAlmostEquals(deviation, Math.sqrt(13));
  assertEquals(summarize([1, 4]).median, 2.5);
  assertEquals(summarize([3]).deviation, 0);
});

Deno.test("A bench of the shipped model reports every test it was asked for, with a profile", async () => {
  const options = { prefill: 8, decode: 4, vision: 1, repeat: 2, warmUp: false, profile: true };
  const result = await bench({ open: await openModel(MODEL) }, { threads: 1 }, options);
  assertEquals(result.speeds.map(({ test }) => test), ["prefill 8", "decode 4", "vision 1"]);
  for (const { rate, bytesPerSecond, macsPerSecond, profile } of result.speeds) {
    assertEquals(rate.samples.length, 2);
    for (const value of [rate.mean, bytesPerSecond, macsPerSecond]) assert(value > 0);
    assert(profile!.some(({ op }) => op === "Attend"));
    assert(profile!.some(({ op }) => op === "(host)"));
  }
  assert(result.memory.peak > result.memory.weights);
  for (const ceiling of Object.values(result.ceilings)) assert(ceiling.median > 0);
});

Deno.test("lobit bench prints tables, JSON and usage errors", async () => {
  const flags = ["--prefill", "4", "--decode", "2", "--vision", "0", "--repeat", "1"];
  const plain = await cli(["bench", MODEL, ...flags, "--threads", "1,2"]);
  assertEquals(plain.code, 0, plain.err);
  assertMatch(plain.out, /^ +1 +prefill 4 .*\n +1 +decode 2 .*\n +2 +prefill 4 /m);
  const marked = await cli(["bench", MODEL, ...flags, "--threads", "1", "--markdown"]);
  assertMatch(marked.out, /^\| 1 \| prefill 4 \| [\d.]+ ± 0\.0+ tokens \|/m);
  const json = JSON.parse((await cli(["bench", MODEL, ...flags, "--threads", "1", "--json"])).out);
  assertEquals(json.results[0].speeds.length, 2);
  for (const wrong of [["--threads", "0"], ["--bits", "4"], ["--shape", "internvl9"]]) {
    assertEquals((await cli(["bench", MODEL, ...wrong])).code, 2, wrong.join(" "));
  }
});
