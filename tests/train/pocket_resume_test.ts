// The pocket model's language stage, killed at three moments: the packed file is the one of an undisturbed run, byte for
// byte.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { openChatData } from "../../src/data/files.ts";
import { bilevelFormat, symmetricFormat } from "../../src/formats/format.ts";
import { loadModel } from "../../src/generate/model.ts";
import { bufferSink } from "../../src/io/bytes.ts";
import { writePacked } from "../../src/models/packed_file.ts";
import { packLinear, replaceWeight } from "../../src/quant/pack_linear.ts";
import { roundToNearest } from "../../src/quant/round.ts";
import { openExamples } from "../../src/recipe/stages/examples.ts";
import { trainLanguage } from "../../src/recipe/stages/language.ts";
import { LANGUAGE_TRAINING } from "../../src/recipe/stages/settings.ts";
import type { StageOptions } from "../../src/recipe/stages/train_stage.ts";

const POCKET = new URL("../models/pocket-internvl", import.meta.url).pathname;
const CALIBRATION = new URL("../data/calib/calib.jsonl", import.meta.url).pathname;

/** Trains a fresh model and gives the packed file's bytes. */
async function run(options: StageOptions): Promise<Uint8Array> {
  const model = await loadModel(POCKET, { threads: 2 });
  const { engine, vlm, open } = model;
  try {
    const teacher = await open.load(engine);
    const items = openChatData(CALIBRATION).items.slice(0, 4);
    const examples = await openExamples(items, open.assets, vlm.input);
    for (const linear of [vlm.language.table, vlm.language.head]) {
      const packed = packLinear(engine.memory, linear, symmetricFormat(4), roundToNearest);
      replaceWeight(engine.memory, linear, packed);
    }
    const formats = new Map(
      vlm.language.blocks.flatMap(({ linears }) => linears).map(({ name }) =>
        [name, bilevelFormat(2)] as const
      ),
    );
    const settings = { ...LANGUAGE_TRAINING, steps: 4, batch: 2 };
    await trainLanguage(model, examples, formats, settings, { ...options, teacher });
    const sink = bufferSink("model.lobit");
    await writePacked(sink, engine, vlm, new Map(), null);
    return sink.bytes();
  } finally {
    model.close();
  }
}

Deno.test("the pocket model's language stage, killed three times, ends in the same file", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const checkpoint = { path: `${folder}/state`, every: 1, resume: true };
    for (const moment of [1, 2, 3]) {
      const onStep = ({ step }: { step: number }) => {
        if (step === moment) throw new Error("killed");
      };
      await assertRejects(() => run({ checkpoint, onStep }), Error, "killed");
    }
    const steps: number[] = [];
    const resumed = await run({ checkpoint, onStep: ({ step }) => steps.push(step) });
    assertEquals(steps, [3, 4], "the kept state is that of the last step that was not killed");
    const whole = await run({});
    assert(whole.length > 4_000_000);
    assertEquals(resumed.length, whole.length);
    assertEquals(resumed.findIndex((byte, i) => byte !== whole[i]), -1);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
