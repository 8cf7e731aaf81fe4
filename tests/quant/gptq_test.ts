// Factorisation, rounding with error feedback and coordinate descent on synthetic linears.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { codesOn, dequantize, layoutOf, pack, unpack } from "../../src/formats/mod.ts";
import { descend } from "../../src/quant/descend.ts";
import { factor, freeFactor } from "../../src/quant/factor.ts";
import { codedError, gptq } from "../../src/quant/gptq.ts";
import { roundToNearest } from "../../src/quant/round.ts";
import { Engine } from "../../wasm/mod.ts";
import { hessianOf, inputsOf, taskOf } from "./support.ts";

const FORMATS = ["w2g16q16", "w3g16q16", "w4g32q128", "w4g128q8", "s4g32"];

async function withEngine(body: (engine: Engine) => void | Promise<void>, threads = 2) {
  const engine = await Engine.create({ threads });
  try {
    await body(engine);
  } finally {
    engine.close();
  }
}

Deno.test("a factored matrix multiplies back to itself plus its damping", () =>
  withEngine((engine) => {
    for (const n of [1, 5, 64, 65, 200]) {
      const hessian = hessianOf(engine, inputsOf(3 * n, n, n), n);
      const found = factor(engine, hessian, n, 0.01);
      const upper = engine.memory.f32(found.upper.ptr, n * n);
      const u = (i: number, j: number) => i === j ? 1 : i < j ? upper[i * n + j]! : 0;
      const mean = Array.from({ length: n }, (_, i) =>
        hessian[i * n + i]!).reduce((a, b) => a + b) / n;
      assertEquals(found.damping, 0.01);
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let k = Math.max(i, j); k < n; k++) sum += u(i, k) * found.diagonal[k]! * u(j, k);
          const expected = hessian[i * n + j]! + (i === j ? 0.01 * mean : 0);
          const size = Math.sqrt(hessian[i * n + i]! * hessian[j * n + j]!) + mean;
          assertAlmostEquals(sum, expected, 1e-5 * size);
        }
      }
      freeFactor(engine, found);
    }
  }));

Deno.test("a singular matrix is damped until it can be factored, and gives its memory back", () =>
  withEngine((engine) => {
    const n = 96;
    const before = engine.memory.used;
    const inputs = inputsOf(4, n, 1); // four tokens: rank four
    const found = factor(engine, hessianOf(engine, inputs, n), n, 0);
    assert(found.damping > 0 && found.diagonal.every((value) => value > 0));
    freeFactor(engine, found);
    assertEquals(engine.memory.used, before);
  }));

Deno.test("error feedback beats rounding to nearest and coordinate descent beats that, in every format", () =>
  withEngine((engine) => {
    for (const format of FORMATS) {
      const task = taskOf(engine, 128, 256, format, 7);
      const nearest = codedError(task, roundToNearest(task.weights, 128, 256, task.format));
      const before = engine.memory.used;
      const fed = gptq(task);
      const better = descend(task, fed);
      assertEquals(engine.memory.used, before);
      const [first, second] = [codedError(task, fed), codedError(task, better)];
      assert(first < 0.7 * nearest, `${format}: ${first} after ${nearest}`);
      assert(second < first, `${format}: ${second} after ${first}`);
      // What was found is what the packed file holds.
      const layout = layoutOf(task.format, 128, 256);
      const blob = new Uint8Array(layout.bytes);
      pack(layout, better.grid, better.codes, blob);
      const read = unpack(layout, blob);
      assertEquals(dequantize(read.grid, read.codes), dequantize(better.grid, better.codes));
    }
  }));

Deno.test("orders and group modes of error feedback all work, in one block or several", () =>
  withEngine((engine) => {
    for (const columns of [48, 80, 320]) {
      const task = taskOf(engine, 32, columns, "w2g16q16", 3);
      const nearest = codedError(task, roundToNearest(task.weights, 32, columns, task.format));
      for (const staticGroups of [false, true]) {
        for (const activationOrder of [false, true]) {
          const found = codedError(task, gptq(task, { staticGroups, activationOrder }));
          assert(
            found < nearest,
            `${columns}, ${staticGroups}, ${activationOrder}: ${found}, ${nearest}`,
          );
        }
      }
    }
  }));

Deno.test("with inputs that do not depend on each other error feedback is rounding on the same grid", () =>
  withEngine((engine) => {
    const n = 64;
    const hessian = new Float32Array(n * n);
    for (let i = 0; i < n; i++) hessian[i * n + i] = 1 + i % 5;
    const task = { ...taskOf(engine, 32, n, "w3g16q16", 5), hessian };
    const { grid, codes } = gptq(task, { damping: 0 });
    assertEquals(codes, codesOn(grid, task.weights));
  }));

Deno.test("where coordinate descent ends, no single code can be changed for the better", () =>
  withEngine((engine) => {
    const task = taskOf(engine, 16, 64, "w4g32q16", 9);
    const start = roundToNearest(task.weights, 16, 64, task.format);
    const wrong = { grid: start.grid, codes: new Uint8Array(start.codes.length) };
    const found = descend(task, wrong, { sweeps: 200, reach: 15, grid: false });
    assert(wrong.codes.every((code) => code === 0), "the start stays as it was");
    const least = codedError(task, found);
    assert(least < codedError(task, wrong));
    for (let i = 0; i < found.codes.length; i += 7) {
      for (const code of [found.codes[i]! - 1, found.codes[i]! + 1]) {
        if (code < 0 || code > 15) continue;
        const codes = found.codes.slice();
        codes[i] = code;
        const other = codedError(task, { grid: found.grid, codes });
        assert(other > least * (1 - 1e-5), `${i}: ${other} instead of ${least}`);
      }
    }
  }));

Deno.test("the same task gives the same codes on one and on two threads", async () => {
  const codes: Uint8Array[] = [];
  for (const threads of [1, 2]) {
    await withEngine((engine) => {
      const task = taskOf(engine, 32, 160, "w2g16q16", 11);
      codes.push(descend(task, gptq(task)).codes);
    }, threads);
  }
  assertEquals(codes[0], codes[1]);
});
