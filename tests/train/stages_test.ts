// The training stages on a tiny model: they learn, change only what they name, end in the same bytes however often they
// are stopped, and refuse to go on from another run's state.
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import type { Vlm } from "../../src/models/vlm.ts";
import { packLinear, replaceWeight } from "../../src/quant/pack_linear.ts";
import { roundClipped } from "../../src/quant/round.ts";
import { trainLanguage } from "../../src/recipe/stages/language.ts";
import { trainProjector } from "../../src/recipe/stages/projector.ts";
import {
  LANGUAGE_TRAINING,
  PROJECTOR_TRAINING,
  type TrainingSettings,
} from "../../src/recipe/stages/settings.ts";
import type { StageOptions } from "../../src/recipe/stages/train_stage.ts";
import type { StepReport } from "../../src/train/trainer.ts";
import { Engine } from "../../wasm/mod.ts";
import {
  contentOf,
  packTable,
  packTiny,
  tinyExamples,
  tinyFormats,
  tinyModel,
} from "./tiny_model.ts";

const engine = await Engine.create({ threads: 2 });
const teacher = await tinyModel(engine, 1);
const examples = tinyExamples(23);
const SMALL = { steps: 12, batch: 5, lr: 2e-3 };

/** A stage to be run on a fresh model. */
interface Stage {
  settings: TrainingSettings;
  run(vlm: Vlm, settings: TrainingSettings, options: StageOptions): Promise<StepReport[]>;
  /** Leaves a fresh model as the stages before would; packs tower, embedding and head if not given. */
  prepare?(vlm: Vlm): void;
  /** Names of the tensors that it may change. */
  changes: RegExp;
}

const STAGES: Record<string, Stage> = {
  projector: {
    settings: { ...PROJECTOR_TRAINING, ...SMALL },
    run: (vlm, settings, options) => trainProjector({ engine, vlm }, examples, settings, options),
    changes: /^multi_modal_projector\./,
  },
  "projector (by feature match)": {
    settings: { ...PROJECTOR_TRAINING, ...SMALL, label: 0, match: 1, tokens: 40 },
    run: (vlm, settings, options) => trainProjector({ engine, vlm }, examples, settings, options),
    changes: /^multi_modal_projector\./,
  },
  language: {
    settings: { ...LANGUAGE_TRAINING, ...SMALL, tokens: 40 },
    run: (vlm, settings, options) =>
      trainLanguage({ engine, vlm }, examples, tinyFormats(vlm), settings, options),
    changes: /^(multi_modal_projector\.|language_model\.model\.(layers\.|norm))/,
  },
  "language (packed before, scales learned)": {
    settings: { ...LANGUAGE_TRAINING, ...SMALL, tokens: 40, scales: "learned", slack: 0.5 },
    run: (vlm, settings, options) => {
      const originals = new Map(
        teacher.language.blocks.flatMap(({ linears }) => linears).map(({ name, weight }) => {
          assert(weight.kind === "dense");
          return [name, weight.tensor];
        }),
      );
      const how = { ...options, originals };
      return trainLanguage({ engine, vlm }, examples, tinyFormats(vlm), settings, how);
    },
    prepare: (vlm) => {
      packTiny(engine, vlm);
      const formats = tinyFormats(vlm);
      for (const linear of vlm.language.blocks.flatMap(({ linears }) => linears)) {
        const packed = packLinear(engine.memory, linear, formats.get(linear.name)!, roundClipped);
        replaceWeight(engine.memory, linear, packed);
      }
    },
    changes: /^(multi_modal_projector\.|language_model\.model\.(layers\.|norm))/,
  },
  joint: {
    settings: { ...LANGUAGE_TRAINING, ...SMALL, tokens: 40, visionLr: 1e-3 },
    run: (vlm, settings, options) =>
      trainLanguage(
        { engine, vlm },
        examples,
        tinyFormats(vlm, [vlm.vision, vlm.language]),
        settings,
        { ...options, tower: true },
      ),
    prepare: (vlm) => packTable(engine, vlm),
    changes:
      /^(vision_tower\.encoder\.layer\.|multi_modal_projector\.|language_model\.model\.(layers\.|norm))/,
  },
  "language (nothing quantized)": {
    settings: { ...LANGUAGE_TRAINING, ...SMALL, distill: 0 },
    run: (vlm, settings, options) =>
      trainLanguage({ engine, vlm }, examples, new Map(), settings, options),
    prepare: () => {},
    changes: /^(multi_modal_projector\.|language_model\.model\.(layers\.|norm))/,
  },
};

async function freshFor({ prepare }: Pick<Stage, "prepare">): Promise<Vlm> {
  const vlm = await tinyModel(engine, 1);
  if (prepare) prepare(vlm);
  else packTiny(engine, vlm);
  return vlm;
}

for (const [name, stage] of Object.entries(STAGES)) {
  const { settings, run, changes } = stage;
  const fresh = () => freshFor(stage);
  Deno.test(`the ${name} stage learns, and changes only what it names`, async () => {
    const vlm = await fresh();
    const before = contentOf(engine, vlm);
    const reports = await run(vlm, { ...settings, steps: 40 }, { teacher });
    assertEquals(reports.map(({ step }) => step), Array.from({ length: 40 }, (_, i) => i + 1));
    const mean = (part: StepReport[]) =>
      part.reduce((sum, { loss }) => sum + loss, 0) / part.length;
    assert(mean(reports.slice(-5)) < 0.9 * mean(reports.slice(0, 5)), "the loss did not go down");
    for (const [tensor, bytes] of contentOf(engine, vlm)) {
      if (changes.test(tensor)) assertNotEquals(bytes, before.get(tensor), `${tensor} stayed`);
      else assertEquals(bytes, before.get(tensor), `${tensor} changed`);
    }
  });

  Deno.test(`the ${name} stage ends in the same bytes after being stopped at random moments`, async () => {
    const random = new Random(3);
    const folder = Deno.makeTempDirSync();
    try {
      const whole = await fresh();
      const expectedReports = await run(whole, settings, { teacher });
      const expected = contentOf(engine, whole);
      let stops = 0;
      for (let round = 0; stops < 20; round++) {
        const path = `${folder}/${round}.state`;
        for (let attempt = 0;; attempt++) {
          assert(attempt < 50, "the run gets nowhere");
          // A kill leaves the last periodic state, an abort the step just done.
          const kill = random.uniform() < 0.5, left = 1 + random.integer(8);
          const controller = new AbortController();
          let done = 0;
          const onStep = () => {
            if (++done !== left) return;
            stops++;
            if (kill) throw new Error("killed");
            controller.abort();
          };
          const vlm = await fresh();
          try {
            const reports = await run(vlm, settings, {
              ...{ teacher, onStep, signal: controller.signal },
              checkpoint: { path, every: 3, resume: true },
            });
            assertEquals(reports, expectedReports);
            assertEquals(contentOf(engine, vlm), expected);
            break;
          } catch (error) {
            const stopped = error instanceof LobitError && error.code === "aborted";
            if (!stopped && (error as Error).message !== "killed") throw error;
          }
        }
      }
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });

  Deno.test(`the ${name} stage refuses the state of another run and says why`, async () => {
    const path = Deno.makeTempFileSync();
    try {
      const checkpoint = { path, every: 5, resume: false };
      await run(await fresh(), settings, { teacher, checkpoint });
      const again = { ...checkpoint, resume: true };
      await assertRejects(
        async () => run(await fresh(), { ...settings, lr: 1e-3 }, { teacher, checkpoint: again }),
        LobitError,
        "belongs to another run",
      );
      const other = await fresh();
      engine.memory.f32(other.projector.vectors[0]!.tensor.ptr, 1)[0]! += 1;
      await assertRejects(
        () => run(other, settings, { teacher, checkpoint: again }),
        LobitError,
        "belongs to another run",
      );
      const bytes = Deno.readFileSync(path);
      const text = new TextDecoder("latin1").decode(bytes);
      const damaged = [
        bytes.subarray(0, bytes.length - 4),
        Uint8Array.from(text.replace('steps\\":', 'stops\\":'), (c) => c.charCodeAt(0)),
        Uint8Array.from(text.replace("#first", "#worst"), (c) => c.charCodeAt(0)),
        new Uint8Array(100),
      ];
      for (const content of damaged) {
        assertNotEquals(content, bytes);
        Deno.writeFileSync(path, content);
        const vlm = await fresh();
        await assertRejects(
          () => run(vlm, settings, { teacher, checkpoint: again }),
          LobitError,
          path,
        );
      }
    } finally {
      Deno.removeSync(path);
    }
  });

  Deno.test(`the ${name} stage stops with a plain error when training diverges`, async () => {
    await assertRejects(
      async () => run(await fresh(), { ...settings, lr: 1e30, clip: 0 }, { teacher }),
      LobitError,
      "diverged at step",
    );
  });
}

const fresh = () => freshFor({});

Deno.test("refreshing scales every few steps is resumable, too", async () => {
  const { settings, run } = STAGES["language"]!;
  const slow = { ...settings, refresh: 4 };
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/state`;
  try {
    const whole = await fresh();
    await run(whole, slow, { teacher });
    for (const left of [3, 5, 1]) {
      const controller = new AbortController();
      let done = 0;
      await assertRejects(async () =>
        run(await fresh(), slow, {
          teacher,
          signal: controller.signal,
          onStep: () => ++done === left && controller.abort(),
          checkpoint: { path, every: 1, resume: left !== 3 },
        }), LobitError);
    }
    const vlm = await fresh();
    const reports = await run(vlm, slow, { teacher, checkpoint: { path, every: 1, resume: true } });
    assertEquals(reports.length, slow.steps);
    assertEquals(contentOf(engine, vlm), contentOf(engine, whole));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("distillation without a teacher and settings without sense are refused before any work", async () => {
  const { settings, run } = STAGES["language"]!;
  const vlm = await fresh();
  const before = contentOf(engine, vlm);
  await assertRejects(() => run(vlm, settings, {}), LobitError, "teacher");
  const wrong = { ...settings, batch: 0, lr: NaN, warmup: 2, gamma: 1.5 };
  const error = await assertRejects(() => run(vlm, wrong, { teacher }), LobitError);
  for (const name of ["batch", "lr", "warmup", "gamma"]) {
    assert((error as Error).message.includes(name), `${name} is not named`);
  }
  assertEquals(contentOf(engine, vlm), before);
});

globalThis.addEventListener("unload", () => engine.close());
