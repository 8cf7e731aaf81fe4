// The life of an engine: start, many jobs, traps, shutdown.
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import {
  DONE,
  FAILED,
  GO,
  JOB_GRAIN,
  JOB_ITEMS,
  JOB_OP,
  JOB_TICKETS,
  TICKET,
  TICKET_BIAS,
} from "../../wasm/abi.ts";
import { simd } from "../../wasm/generated/simd.ts";
import { address, offset } from "../../wasm/memory.ts";
import { Engine, hasRelaxedSimd, kernels, Memory, Op } from "../../wasm/mod.ts";
import { Pool } from "../../wasm/pool.ts";

const UNKNOWN = 9999 as Op;

/** Runs a short script in a process of its own; a script that does not end by itself within a minute fails. */
async function script(body: string): Promise<string> {
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  const module = new URL("../../wasm/mod.ts", import.meta.url);
  await Deno.writeTextFile(path, `import { Engine, kernels } from "${module}";\n${body}`);
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-config", "--no-check", "-A", path],
      env: { NO_COLOR: "1" },
      signal: AbortSignal.timeout(60_000),
    }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assertEquals(code, 0, text);
    return text.trim();
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("Thousands of small jobs on three threads all give the right result", async () => {
  const engine = await Engine.create({ threads: 3 });
  try {
    const { memory } = engine;
    const random = new Random(5);
    const tokens = 40, dim = 12;
    const [x, weight, out] = [tokens * dim, dim, tokens * dim].map((n) => memory.allocate(4 * n));
    memory.f32(weight!, dim).fill(1);
    const input = memory.f32(x!, tokens * dim);
    const output = memory.f32(out!, tokens * dim);
    for (let job = 0; job < 4000; job++) {
      // Each token is constant, so its norm is 1: exactly representable, and 0 if nobody computed it.
      const used = 1 + random.integer(tokens);
      const value = 2 ** random.integer(8);
      input.fill(value);
      output.fill(0);
      engine.call(Op.RmsNorm, used, 1 + random.integer(4), [out!, x!, weight!, dim], [0]);
      for (let i = 0; i < tokens * dim; i++) {
        const expected = i < used * dim ? 1 : 0;
        if (output[i] !== expected) {
          throw new Error(`job ${job}: ${output[i]} at ${i}, expected ${expected}`);
        }
      }
    }
  } finally {
    engine.close();
  }
});

Deno.test("Two engines at a time do not disturb each other", async () => {
  const engines = await Promise.all([2, 3].map((threads) => Engine.create({ threads })));
  try {
    const dim = 8;
    const places = engines.map(({ memory }) => {
      const x = memory.allocate(4 * dim * 16), weight = memory.allocate(4 * dim);
      memory.f32(x, dim * 16).fill(2);
      return { x, weight, out: memory.allocate(4 * dim * 16) };
    });
    for (let round = 1; round <= 200; round++) {
      for (const [i, engine] of engines.entries()) {
        const { x, weight, out } = places[i]!;
        engine.memory.f32(weight, dim).fill(round + i);
        kernels.rmsNorm(engine, out, x, weight, 16, dim, 0);
        const got = engine.memory.f32(out, dim * 16);
        assert(got.every((v) => v === round + i), `round ${round}, engine ${i}: ${got[0]}`);
      }
    }
  } finally {
    for (const engine of engines) engine.close();
  }
});

Deno.test("One thread needs no workers and gives the same bits as three", async () => {
  const results: Float32Array[] = [];
  for (const threads of [1, 3]) {
    const engine = await Engine.create({ threads, build: "simd" });
    assertEquals(engine.threads, threads);
    const { memory } = engine;
    const [tokens, dim] = [33, 50];
    const [x, weight, out] = [tokens * dim, dim, tokens * dim].map((n) => memory.allocate(4 * n));
    const random = new Random(9);
    for (const view of [memory.f32(x!, tokens * dim), memory.f32(weight!, dim)]) {
      for (let i = 0; i < view.length; i++) view[i] = random.normal();
    }
    kernels.rmsNorm(engine, out!, x!, weight!, tokens, dim, 1e-6);
    results.push(memory.f32(out!, tokens * dim).slice());
    engine.close();
  }
  assertEquals(results[0], results[1]);
});

Deno.test("The default build is the best this host runs, and a job of no items is no job", async () => {
  const engine = await Engine.create({ threads: 1 });
  assertEquals(engine.build, hasRelaxedSimd() ? "relaxed" : "simd");
  engine.call(UNKNOWN, 0, 1, []);
  engine.close();
});

Deno.test("A trap on whichever thread is a LobitError and ends the engine", async () => {
  for (const build of ["simd", "relaxed"] as const) {
    for (const threads of [1, 2, 3]) {
      const engine = await Engine.create({ threads, build });
      try {
        const error = assertThrows(() => engine.call(UNKNOWN, 64, 1, []), LobitError);
        assertEquals(error.code, "internal");
        assertMatch(error.message, /did not finish: .*trapped/);
        const later = assertThrows(() => engine.call(Op.RmsNorm, 1, 1, []), LobitError);
        assertMatch(later.message, /create a new one/);
      } finally {
        engine.close();
      }
    }
  }
});

Deno.test("An access beyond the memory is a LobitError on one and on three threads", async () => {
  for (const threads of [1, 3]) {
    const engine = await Engine.create({ threads });
    try {
      const x = engine.memory.allocate(64);
      const beyond = offset(x, 2 ** 31);
      const error = assertThrows(
        () => engine.call(Op.RmsNorm, 50, 1, [beyond, x, x, 4], [0]),
        LobitError,
      );
      assertEquals(error.code, "internal");
    } finally {
      engine.close();
    }
  }
});

Deno.test("Every item of a job is computed once, however many there are and whoever takes them", async () => {
  const block = 1024;
  for (const threads of [2, 3, 8]) {
    const engine = await Engine.create({ threads });
    try {
      const most = 300;
      const x = engine.memory.allocate(4 * block * most),
        ones = engine.memory.allocate(4 * block * most);
      engine.memory.f32(ones, block * most).fill(1);
      const values = engine.memory.f32(x, block * most);
      for (const items of [1, 2, 7, 8, 9, 31, 32, 33, 97, most]) {
        for (const grain of [1, 2, 2.5, 5, 40]) {
          values.fill(0);
          engine.call(Op.Add, items, grain, [x, x, ones, block * items]);
          const wrong = values.findIndex((value, i) => value !== (i < block * items ? 1 : 0));
          assertEquals(wrong, -1, `${threads} threads, ${items} items, at least ${grain} each`);
        }
      }
    } finally {
      engine.close();
    }
  }
});

Deno.test("A worker that traps on its own is noticed by the caller", async () => {
  const memory = new Memory();
  memory.allocate(1);
  const module = await WebAssembly.compile(Uint8Array.from(atob(simd), (c) => c.charCodeAt(0)));
  const pool = await Pool.start(1, module, memory.wasm);
  try {
    assertEquals(pool.failure, undefined);
    // A job as dispatch would publish it, but with nobody else to take the ticket.
    const words = new Int32Array(memory.wasm.buffer);
    words[JOB_OP >> 2] = UNKNOWN;
    words[JOB_ITEMS >> 2] = words[JOB_GRAIN >> 2] = words[JOB_TICKETS >> 2] = 1;
    Atomics.store(words, TICKET >> 2, TICKET_BIAS + 1);
    Atomics.add(words, GO >> 2, 1);
    Atomics.notify(words, GO >> 2);
    while (Atomics.load(words, FAILED >> 2) === 0) await new Promise((done) => setTimeout(done, 5));
    assertEquals(pool.failure?.includes("trap") || pool.failure?.includes("unreachable"), true);
    assertEquals(Atomics.load(words, DONE >> 2), 0);
    const instance = await WebAssembly.instantiate(module, { env: { memory: memory.wasm } });
    assertEquals((instance.exports["await_job"] as (maySleep: number) => number)(1), 0);
  } finally {
    pool.stop();
  }
});

Deno.test("A module that does not fit is reported when the workers start", async () => {
  const needsMore = new Uint8Array([
    // (module (import "env" "missing" (func)))
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 2, 15, 1, 3, 0x65, 0x6e, 0x76],
    ...[7, 0x6d, 0x69, 0x73, 0x73, 0x69, 0x6e, 0x67, 0, 0],
  ]);
  const memory = new Memory();
  const error = await assertRejects(
    async () => await Pool.start(2, await WebAssembly.compile(needsMore), memory.wasm),
    LobitError,
  );
  assertMatch(error.message, /could not run the kernels: .*(missing|env)/s);
});

Deno.test("Impossible options are refused", async () => {
  for (const threads of [0, -1, 1.5, 65, NaN]) {
    const error = await assertRejects(() => Engine.create({ threads }), LobitError);
    assertEquals(error.code, "bad-request");
  }
  const error = await assertRejects(() => Engine.create({ maxMemory: 1000 }), LobitError);
  assertEquals(error.code, "no-memory");
});

Deno.test("Memory that grows between jobs is seen by every thread", async () => {
  const engine = await Engine.create({ threads: 3 });
  try {
    const { memory } = engine;
    const dim = 4, weight = memory.allocate(4 * dim);
    memory.f32(weight, dim).fill(1);
    for (const mib of [1, 8, 64]) {
      const tokens = mib * 2 ** 20 / 16;
      const x = memory.allocate(16 * tokens);
      const input = memory.f32(x, 4 * tokens).fill(4);
      kernels.rmsNorm(engine, x, x, weight, tokens, dim, 0);
      assert(input.every((v) => v === 1), `${mib} MiB at ${address(x)}`);
    }
  } finally {
    engine.close();
  }
});

Deno.test("A closed engine leaves no thread behind and lets the process end", async () => {
  const linux = Deno.build.os === "linux";
  const printed = await script(`
    const count = () => ${linux} ? [...Deno.readDirSync("/proc/self/task")].length : 0;
    (await Engine.create({ threads: 4 })).close();
    const before = count();
    for (let i = 0; i < 20; i++) {
      const engine = await Engine.create({ threads: 4 });
      const x = engine.memory.allocate(1600);
      kernels.rmsNorm(engine, x, x, x, 100, 4, 1);
      engine.close();
      engine.close();
    }
    while (count() > before + 6) await new Promise((done) => setTimeout(done, 5));
    console.log("ended");
  `);
  assertEquals(printed, "ended");
});

Deno.test("A lost engine lets the process end, too", async () => {
  const printed = await script(`
    const engine = await Engine.create({ threads: 3 });
    try {
      engine.call(9999, 64, 1, []);
    } catch (error) {
      console.log(error.name, error.code);
    }
  `);
  assertEquals(printed, "LobitError internal");
});
