// Whole blocks of the pocket model through every calibrated method.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { openChatData } from "../../src/data/files.ts";
import { sampleItems } from "../../src/data/sample.ts";
import { fitFormat, type Format, parseFormat } from "../../src/formats/mod.ts";
import { openModel } from "../../src/models/open.ts";
import {
  linearsOf,
  type Part,
  type PartName,
  partsOf,
  vectorsOf,
  type Vlm,
} from "../../src/models/vlm.ts";
import { Infer } from "../../src/ops/infer.ts";
import { CALIBRATED, type CalibratedMethod, type MethodPlan } from "../../src/quant/methods.ts";
import { type BlockReport, quantizeBlocks } from "../../src/recipe/blocks.ts";
import {
  calibrationRequests,
  languageFeed,
  languageStates,
  visionFeed,
  visionStates,
} from "../../src/recipe/feed.ts";
import { projections, refitProjector } from "../../src/recipe/projector.ts";
import { planRecipe } from "../../src/recipe/plan.ts";
import { calibratedRecipe } from "../../src/recipe/recipe.ts";
import { bytesOf } from "../../src/tensor/tensor.ts";
import { Engine } from "../../wasm/mod.ts";

const open = await openModel(new URL("../models/pocket-internvl", import.meta.url).pathname);
const { items } = openChatData(
  new URL("../data/calib/calib.jsonl", import.meta.url).pathname,
);

async function withModel(
  body: (vlm: Vlm, engine: Engine, ops: Infer) => Promise<void>,
): Promise<void> {
  const engine = await Engine.create();
  try {
    await body(await open.load(engine), engine, new Infer(engine));
  } finally {
    engine.close();
  }
}

function requestsOf(vlm: Vlm, count: number) {
  return calibrationRequests(open.assets, vlm.input, sampleItems(items, { seed: 3, count }));
}

/** The first block of a part by a method. */
async function quantizeFirst(
  vlm: Vlm,
  ops: Infer,
  name: "vision" | "language",
  method: MethodPlan,
  format: string,
  options: { steps?: number; signal?: AbortSignal } = {},
): Promise<BlockReport> {
  const requests = requestsOf(vlm, 6);
  const whole = vlm[name];
  const part: Part = { ...whole, blocks: whole.blocks.slice(0, 1) };
  const formats = new Map<string, Format>(
    part.blocks[0]!.linears.map(({ name, rows, columns }) => [
      name,
      fitFormat(parseFormat(format), rows, columns),
    ]),
  );
  const seen = name === "vision" ? visionFeed(vlm, requests) : languageFeed(vlm, requests);
  const states = () =>
    "tiles" in seen ? visionStates(ops, vlm, seen) : languageStates(ops, vlm, seen);
  const [report] = await quantizeBlocks({
    ops,
    part,
    formats,
    feed: seen,
    teacher: states(),
    student: states(),
    method,
    ...options,
  });
  return report!;
}

/** The bytes of all weights and vectors of a part. */
function bytesOfPart(engine: Engine, part: Part): Uint8Array[] {
  const tensors = [
    ...linearsOf(part).map(({ weight }) =>
      weight.kind === "packed" ? weight.blob : weight.kind === "dense" ? weight.tensor : weight.seen
    ),
    ...vectorsOf(part).map(({ tensor }) => tensor),
  ];
  return tensors.map((tensor) => bytesOf(engine.memory, tensor).slice());
}

for (const method of Object.keys(CALIBRATED) as CalibratedMethod[]) {
  // The parts differ in their blocks only; for the methods that learn one of them is enough.
  const parts = CALIBRATED[method].learn ? ["vision"] as const : ["vision", "language"] as const;
  Deno.test(`${method} disturbs a block less than rounding to nearest: ${parts.join(", ")}`, async () => {
    for (const part of parts) {
      await withModel(async (vlm, _, ops) => {
        const report = await quantizeFirst(vlm, ops, part, CALIBRATED[method], "w2g16q16", {
          steps: 6,
        });
        assert(!report.fellBack);
        assert(
          report.errorMethod < 0.8 * report.errorRounded,
          `${part}: ${report.errorMethod} instead of ${report.errorRounded}`,
        );
        assert(vlm[part].blocks[0]!.linears.every(({ weight }) => weight.kind === "packed"));
        assert(vlm[part].blocks[1]!.linears.every(({ weight }) => weight.kind === "dense"));
      });
    }
  });
}

Deno.test("a method that does worse than rounding to nearest is not used, and the report says so", () =>
  withModel(async (vlm, _, ops) => {
    const poor: MethodPlan = {
      ...CALIBRATED.clip,
      quantize(task) {
        const found = CALIBRATED.clip.quantize(task);
        return { grid: found.grid, codes: found.codes.map((code) => 3 - code) };
      },
    };
    const report = await quantizeFirst(vlm, ops, "vision", poor, "w2g16q16");
    assert(report.fellBack && report.errorMethod > report.errorRounded);
    assert(vlm.vision.blocks[0]!.linears.every(({ weight }) => weight.kind === "packed"));
  }));

Deno.test("stopped work leaves the block as it was and gives its memory back", () =>
  withModel(async (vlm, engine, ops) => {
    const before = bytesOfPart(engine, vlm.vision);
    const used = engine.memory.used;
    const abort = new AbortController();
    let linears = 0;
    const stopping: MethodPlan = {
      ...CALIBRATED.fast,
      quantize(task) {
        if (++linears === 5) abort.abort();
        return CALIBRATED.fast.quantize(task);
      },
    };
    await assertRejects(
      () => quantizeFirst(vlm, ops, "vision", stopping, "w2g16q16", { signal: abort.signal }),
      LobitError,
      "stopped",
    );
    assertEquals(bytesOfPart(engine, vlm.vision), before);
    ops.free();
    assertEquals(engine.memory.used, used);
  }));

Deno.test("equalization alone leaves a block's function as it is", () =>
  withModel(async (vlm, _, ops) => {
    // In 8 bits rounding hardly shows, so that what shows is the scaling.
    const feed = visionFeed(vlm, requestsOf(vlm, 4));
    const run = () => {
      const [block] = vlm.vision.blocks;
      return visionStates(ops, vlm, feed).map((states, c) =>
        ops.pass(() => {
          const x = ops.arena.tensor([states.length / feed.dim, feed.dim]);
          ops.engine.memory.f32(x.ptr, states.length).set(states);
          const y = block!.run(ops, x, feed.context(ops, c));
          return ops.engine.memory.f32(y.ptr, states.length).slice();
        })
      );
    };
    const before = run();
    const report = await quantizeFirst(vlm, ops, "vision", CALIBRATED.awq, "s8g64");
    assertEquals(report.notEqualized, [vlm.vision.blocks[0]!.linears.at(-1)!.name]);
    let [miss, all] = [0, 0];
    run().forEach((chunk, c) =>
      chunk.forEach((value, i) => {
        miss += (value - before[c]![i]!) ** 2;
        all += before[c]![i]! ** 2;
      })
    );
    assert(miss < 1e-3 * all, `${miss / all}`);
  }));

Deno.test("the projector's fit brings its output closer and changes only its last linear", () =>
  withModel(async (vlm, engine, ops) => {
    const feed = visionFeed(vlm, requestsOf(vlm, 24));
    const targets = projections(ops, vlm, feed);
    await quantizeFirst(vlm, ops, "vision", CALIBRATED.clip, "w2g16q16");
    const others = () => [...bytesOfPart(engine, vlm.vision), ...bytesOfPart(engine, vlm.language)];
    const before = others();
    const first = bytesOfPart(engine, {
      ...vlm.projector,
      linears: vlm.projector.linears.slice(0, 1),
    });
    const { errorBefore, errorAfter } = refitProjector(ops, vlm, feed, targets);
    assert(errorAfter < 0.9 * errorBefore, `${errorAfter} after ${errorBefore}`);
    let [miss, all] = [0, 0];
    projections(ops, vlm, feed).forEach((out, c) =>
      out.forEach((value, i) => {
        miss += (value - targets[c]![i]!) ** 2;
        all += targets[c]![i]! ** 2;
      })
    );
    assert(
      miss / all <= errorAfter * 1.01,
      "the reported error is relative to the variance, which is less",
    );
    assertEquals(others(), before);
    assertEquals(
      bytesOfPart(engine, {
        ...vlm.projector,
        linears: vlm.projector.linears.slice(0, 1),
        vectors: [],
      })[0],
      first[0],
    );
  }));

Deno.test("calibrating blocks changes their part alone, needs data, and repeats itself to the bit", async () => {
  const results: Uint8Array[][] = [];
  for (let run = 0; run < 2; run++) {
    await withModel(async (vlm, engine, ops) => {
      const others = (name: PartName) =>
        partsOf(vlm).filter((part) => part.name !== name)
          .flatMap((part) => bytesOfPart(engine, part));
      const before = others("vision");
      await quantizeFirst(vlm, ops, "vision", CALIBRATED.gptq, "w2g16q16");
      assertEquals(others("vision"), before);
      results.push(bytesOfPart(engine, vlm.vision));
      const nothing = quantizeBlocks({
        ops,
        part: vlm.vision,
        formats: new Map(),
        feed: visionFeed(vlm, []),
        teacher: [],
        student: [],
        method: CALIBRATED.gptq,
      });
      await assertRejects(() => nothing, LobitError, "needs data");
    });
  }
  assertEquals(results[0], results[1]);
});

Deno.test("calibrated recipes plan the formats that their bits say", () => {
  for (const method of Object.keys(CALIBRATED) as CalibratedMethod[]) {
    for (const bits of [2, 3, 4]) {
      const all = { vision: bits, projector: 16, language: bits, embedding: 4 };
      const { weights, recipe } = planRecipe(calibratedRecipe(method, all), open.tensors);
      assertEquals(recipe.stages.map(({ part }) => part), ["vision", "projector", "language"]);
      for (const { name, part, format } of weights) {
        const kept = part === "projector" || name.includes("patch_embeddings");
        const table = /embed_tokens|lm_head/.test(name);
        const kind = kept ? undefined : table ? "symmetric" : "bilevel";
        assertEquals(
          [format?.kind, format?.bits],
          [kind, kept ? undefined : table ? 4 : bits],
          name,
        );
      }
    }
  }
});
