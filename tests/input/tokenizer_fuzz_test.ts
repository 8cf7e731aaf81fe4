import { assert, assertEquals } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { loadTokenizer, type TokenizerFiles } from "../../src/input/tokenizer.ts";
import { mutateJson, mutateText } from "../testing/mutate.ts";
import { pocketFiles, pocketOriginalFiles, smallTokenizerJson } from "../testing/tokenizers.ts";

// Plain in every Unicode normal form, so that a tokenizer that loads must give it back.
const PROBE = "hello <|im_end|> <img>\n\t 12345's";

/** Loads hostile files: either a LobitError, or a tokenizer that works. */
function survive(files: TokenizerFiles): boolean {
  let tokenizer;
  try {
    tokenizer = loadTokenizer(files);
  } catch (error) {
    assert(error instanceof LobitError, `not a LobitError: ${error}`);
    assertEquals(error.code, "bad-file");
    return false;
  }
  const ids = tokenizer.encode(PROBE);
  assertEquals(tokenizer.decode(ids), PROBE);
  assert(
    ids.every((id) => Number.isInteger(id) && id < tokenizer.vocabSize && !tokenizer.isSpecial(id)),
  );
  return true;
}

Deno.test("1,200 damaged values in a small tokenizer.json end in a LobitError or a working tokenizer", () => {
  const random = new Random(1);
  const json = smallTokenizerJson();
  // Left out of most mutations: the vocabulary would take nearly all of them.
  const { model, ...rest } = json as { model: Record<string, unknown> };
  const { vocab, ...settings } = model;
  let working = 0;
  for (let i = 0; i < 1200; i++) {
    const mutant = i % 3 === 0
      ? mutateJson(json, random)
      : mutateJson({ ...rest, model: { ...settings } }, random) as Record<string, unknown>;
    const target = (mutant as { model?: Record<string, unknown> }).model;
    if (i % 3 !== 0 && typeof target === "object" && target !== null) target["vocab"] ??= vocab;
    if (survive({ name: "fuzz", json: JSON.stringify(mutant) })) working++;
  }
  // Both outcomes must occur, or the mutations test nothing.
  assert(working > 50 && working < 1150, `${working} of 1200 loaded`);
});

Deno.test("600 damaged texts of a small tokenizer.json end in a LobitError or a working tokenizer", () => {
  const random = new Random(2);
  const text = JSON.stringify(smallTokenizerJson());
  for (let i = 0; i < 600; i++) survive({ name: "fuzz", json: mutateText(text, random) });
});

Deno.test("100 damaged texts of the pocket tokenizer.json end in a LobitError or a working tokenizer", () => {
  const random = new Random(3);
  const { json } = pocketFiles();
  for (let i = 0; i < 100; i++) survive({ name: "fuzz", json: mutateText(json, random) });
});

Deno.test("600 damaged original files end in a LobitError or a working tokenizer", () => {
  const random = new Random(4);
  const pocket = pocketOriginalFiles();
  const small = (smallTokenizerJson()["model"] as { vocab: Record<string, number> }).vocab;
  const files: TokenizerFiles = {
    ...pocket,
    vocab: JSON.stringify(small),
    merges: "#version: 0.2\nh e\nl l\nhe ll\n",
    generationConfig: '{"eos_token_id": [1018, 1016]}',
  };
  const keys = [
    "vocab",
    "merges",
    "addedTokens",
    "specialTokensMap",
    "config",
    "generationConfig",
  ] as const;
  let working = 0;
  for (let i = 0; i < 600; i++) {
    const key = keys[i % keys.length]!;
    const text = files[key]!;
    const mutant = i % 2 === 0 && key !== "merges"
      ? JSON.stringify(mutateJson(JSON.parse(text), random)) ?? ""
      : mutateText(text, random);
    if (survive({ ...files, [key]: mutant })) working++;
  }
  assert(working > 50 && working < 550, `${working} of 600 loaded`);
});
