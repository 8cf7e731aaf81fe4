import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { openEvalData } from "../../src/data/files.ts";
import type { EvalItem } from "../../src/data/tsv.ts";
import { evaluate } from "../../src/eval/evaluate.ts";
import { type LoadedModel, loadModel } from "../../src/generate/model.ts";
import { testPath } from "../testing/folders.ts";

const { items } = await openEvalData(testPath("data/pocketvqa_dev.tsv"));
/** Items of every category, short and long prompts mixed. */
const SOME = Array.from({ length: 24 }, (_, i) => items[(i * 211) % items.length]!);

async function withModel(body: (model: LoadedModel) => Promise<void>): Promise<void> {
  const model = await loadModel(testPath("models/pocket-internvl"), { threads: 2 });
  try {
    await body(model);
  } finally {
    model.close();
  }
}

Deno.test("Answers do not depend on the batch and keep the items' order", async () => {
  await withModel(async (model) => {
    const done: number[] = [];
    const alone = await evaluate(model, SOME, { batch: 1, maxTokens: 6 });
    const together = await evaluate(model, SOME, {
      batch: 7,
      maxTokens: 6,
      onProgress: (count, total) => {
        assertEquals(total, SOME.length);
        done.push(count);
      },
    });
    assertEquals(together, alone);
    assertEquals(together.items.map(({ index }) => index), SOME.map(({ index }) => index));
    assertEquals([done[0], done.at(-1)], [0, SOME.length]);
    assertEquals(done, [...done].sort((a, b) => a - b));
    for (const [i, { answer, correct }] of together.items.entries()) {
      const expected = SOME[i]!.answer.trim().toLowerCase();
      assertEquals(correct, answer.trim().toLowerCase() === expected);
    }
    assert(new Set(together.items.map(({ answer }) => answer)).size > 5);
  });
});

Deno.test("An item that cannot be asked is named, before and instead of an average", async () => {
  await withModel(async (model) => {
    const base = SOME.find(({ images }) => images.length === 0)!;
    const long: EvalItem = { ...base, index: "long-one", question: "word ".repeat(3000) };
    const error = await assertRejects(() => evaluate(model, [base, long]), LobitError);
    assertEquals(error.code, "bad-request");
    assertStringIncludes(error.message, "Item long-one");
    const picture = { kind: "bytes", bytes: new Uint8Array(9), name: "line 7" } as const;
    const broken: EvalItem = { ...base, index: "broken-one", images: [picture] };
    const second = await assertRejects(() => evaluate(model, [broken]), LobitError);
    assertEquals(second.code, "bad-file");
    assertStringIncludes(second.message, "Item broken-one");
    assertStringIncludes(second.message, "line 7");
    for (const options of [{ batch: 0 }, { maxTokens: 1.5 }]) {
      await assertRejects(() => evaluate(model, [base], options), LobitError, "whole number");
    }
  });
});

Deno.test("An evaluation stops between batches when its signal fires", async () => {
  await withModel(async (model) => {
    const controller = new AbortController();
    const seen: number[] = [];
    const error = await assertRejects(
      () =>
        evaluate(model, SOME, {
          batch: 4,
          maxTokens: 4,
          signal: controller.signal,
          onProgress: (done) => {
            seen.push(done);
            if (done === 8) controller.abort();
          },
        }),
      LobitError,
    );
    assertEquals(error.code, "aborted");
    assertEquals(seen, [0, 4, 8]);
    const after = await evaluate(model, SOME.slice(0, 2), { maxTokens: 4 });
    assertEquals(after.items.length, 2, "the model can be used again");
  });
});
