import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Tokenizer as Reference } from "npm:@huggingface/tokenizers@0.2.0";
import { LobitError } from "../../src/base/errors.ts";
import { loadTokenizer } from "../../src/input/tokenizer.ts";
import { KNOWN_PATTERNS } from "../../src/input/tokenizer_stages.ts";
import { goldenTensor, readGolden } from "../testing/goldens.ts";
import {
  pocketFiles,
  pocketOriginalFiles,
  pocketTokenizer,
  smallTokenizerJson,
} from "../testing/tokenizers.ts";

const SEED = 20261123;
const unicode = () => fc.string({ unit: "binary", maxLength: 60 });

Deno.test("decoding the golden prompts' ids gives their text", () => {
  const tokenizer = pocketTokenizer();
  const golden = readGolden("pocket_forward.safetensors");
  for (const [name, { prompt }] of Object.entries<{ prompt: string }>(golden.cases)) {
    const ids = goldenTensor(golden, `${name}.input_ids`).data as Int32Array;
    assertEquals(tokenizer.decode(ids), prompt, name);
  }
});

Deno.test("text without control tokens encodes as by Hugging Face's whole tokenizer", () => {
  const { json, config } = pocketFiles();
  const reference = new Reference(JSON.parse(json), JSON.parse(config));
  const tokenizer = pocketTokenizer();
  fc.assert(
    fc.property(unicode(), (text) => {
      assertEquals(tokenizer.encode(text), text === "" ? [] : reference.encode(text).ids);
    }),
    { seed: SEED, numRuns: 300 },
  );
});

Deno.test("decoding agrees with Hugging Face's decoder, with and without special tokens", () => {
  const { json, config } = pocketFiles();
  const reference = new Reference(JSON.parse(json), JSON.parse(config));
  const tokenizer = pocketTokenizer();
  const ids = fc.array(fc.integer({ min: 0, max: tokenizer.vocabSize - 1 }), {
    minLength: 1,
    maxLength: 40,
  });
  fc.assert(
    fc.property(ids, fc.boolean(), (ids, skipSpecial) => {
      assertEquals(
        tokenizer.decode(ids, { skipSpecial }),
        reference.decode(ids, { skip_special_tokens: skipSpecial }),
      );
    }),
    { seed: SEED, numRuns: 300 },
  );
});

Deno.test("decoding gives back any encoded text in Unicode's composed form", () => {
  const tokenizer = pocketTokenizer();
  fc.assert(
    fc.property(fc.oneof(unicode(), fc.string({ unit: "grapheme" })), (text) => {
      assertEquals(tokenizer.decode(tokenizer.encode(text)), text.normalize("NFC").toWellFormed());
    }),
    { seed: SEED, numRuns: 500 },
  );
});

Deno.test("no text encodes to a control token, whichever pieces of their names it holds", () => {
  const tokenizer = pocketTokenizer();
  const piece = fc.oneof(
    fc.constantFrom(...tokenizer.specialNames, "<", "|", "im_", "end|>", "IMG_CONTEXT>", "\n", " "),
    unicode(),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      assert(tokenizer.encode(pieces.join("")).every((id) => !tokenizer.isSpecial(id)));
    }),
    { seed: SEED, numRuns: 300 },
  );
});

Deno.test("the original layout's files make the same tokenizer", () => {
  const one = pocketTokenizer();
  const other = loadTokenizer(pocketOriginalFiles());
  assertEquals(other.specialNames.toSorted(), one.specialNames.toSorted());
  assertEquals([other.vocabSize, other.eosIds], [1024, [1018]]);
  for (const name of one.specialNames) assertEquals(other.special(name), one.special(name));
  assert(other.isSpecial(1018));
  fc.assert(
    fc.property(unicode(), (text) => assertEquals(other.encode(text), one.encode(text))),
    { seed: SEED, numRuns: 200 },
  );
});

Deno.test("the original layout needs neither added_tokens.json nor a config", () => {
  const { name, vocab, merges, addedTokens } = pocketOriginalFiles();
  assertEquals(loadTokenizer({ name, vocab, merges, addedTokens }).special("<img>"), 1019);
  assertEquals(loadTokenizer({ name, vocab, merges }).special("<img>"), undefined);
});

Deno.test("stop ids come from the generation config and the tokenizer config", () => {
  assertEquals(pocketTokenizer().eosIds, [1018, 1016]);
});

Deno.test("templates' control tokens are cut out, the longest name first", () => {
  const tokenizer = pocketTokenizer();
  assertEquals(tokenizer.splitSpecial("<|im_start|>user\n<img></img>x"), [
    1017,
    "user\n",
    1019,
    1020,
    "x",
  ]);
  assertEquals(tokenizer.splitSpecial("<img"), ["<img"]);
  const json = smallTokenizerJson();
  json["added_tokens"] = [
    { id: 259, content: "<a>", special: true, lstrip: true },
    { id: 260, content: "<a>b", special: true, rstrip: true },
  ];
  const small = loadTokenizer({ name: "small", json: JSON.stringify(json) });
  assertEquals(small.splitSpecial("x <a> y <a>b  z"), ["x", 259, " y ", 260, "z"]);
});

Deno.test("tokens that share a character have its bytes between them", () => {
  const tokenizer = pocketTokenizer();
  const ids = tokenizer.encode("é→🦊");
  const bytes = ids.flatMap((id) => [...tokenizer.tokenBytes(id)]);
  assertEquals(new Uint8Array(bytes), new TextEncoder().encode("é→🦊"));
  assertEquals(tokenizer.tokenBytes(100_000).length, 0);
  assertThrows(() => tokenizer.tokenBytes(-1), LobitError);
});

Deno.test("what a tokenizer cannot be is said in one sentence that names the file", () => {
  const refuses = (change: (json: Record<string, unknown>) => void, part: string) => {
    const json = smallTokenizerJson();
    change(json);
    const error = assertThrows(
      () => loadTokenizer({ name: "m", json: JSON.stringify(json) }),
      LobitError,
      part,
    );
    assertEquals(error.code, "bad-file");
    assert(error.message.startsWith("m"), error.message);
  };
  const model = (json: Record<string, unknown>) => json["model"] as Record<string, unknown>;
  const vocab = (json: Record<string, unknown>) => model(json)["vocab"] as Record<string, number>;
  refuses((json) => model(json)["type"] = "Unigram", "expected a BPE model");
  refuses((json) => model(json)["byte_fallback"] = true, "byte_fallback");
  refuses((json) => delete vocab(json)["a"], "the vocabulary is incomplete");
  refuses((json) => vocab(json)["a"] = vocab(json)["b"]!, "one token per id");
  refuses((json) => vocab(json)["a"] = 1e9, "to have an id from 0");
  refuses((json) => model(json)["merges"] = [["h", "z"]], "to use known tokens");
  refuses((json) => delete vocab(json)["hell"], "to use known tokens, but");
  refuses((json) => json["decoder"] = null, "ByteLevel decoder");
  refuses((json) => json["normalizer"] = { type: "Lowercase" }, "the normalizer");
  refuses((json) => {
    json["added_tokens"] = [{ id: 258, content: "hell", special: true }];
  }, "into a control token");
  refuses((json) => {
    const stages =
      (json["pre_tokenizer"] as { pretokenizers: Record<string, unknown>[] }).pretokenizers;
    stages[0]!["pattern"] = { Regex: "(a+)+$" };
  }, "pattern is not among the known ones");
  assertThrows(
    () => loadTokenizer({ name: "m" }),
    LobitError,
    "expected tokenizer.json, or vocab.json and merges.txt",
  );
  assertThrows(() => loadTokenizer({ name: "m", json: "{" }), LobitError, "expected JSON");
});

Deno.test("each known pre-tokenization pattern loads, gives text back, and copes with long runs", () => {
  const json = smallTokenizerJson();
  const stages =
    (json["pre_tokenizer"] as { pretokenizers: Record<string, unknown>[] }).pretokenizers;
  assertEquals(KNOWN_PATTERNS.size, 4);
  for (const Regex of KNOWN_PATTERNS) {
    stages[0]!["pattern"] = { Regex };
    const tokenizer = loadTokenizer({ name: "small", json: JSON.stringify(json) });
    for (const unit of [" ", "\n", "a", "!", "1", " \n", "e\u0301", "'s"]) {
      const text = `hello ${unit.repeat(20_000)} 12345 I'LL!\r\n`;
      assertEquals(tokenizer.decode(tokenizer.encode(text)), text.normalize("NFC"));
    }
  }
});

Deno.test("a text beyond any context is refused before work", () => {
  assertThrows(() => pocketTokenizer().encode("a".repeat(5_000_000)), LobitError, "at most");
});
