/**
 * Tokenizers for tests: the pocket model's, its files in the original layout, and a small one that
 * fuzz tests can afford.
 */
import { BYTE_CHARS } from "../../src/input/byte_alphabet.ts";
import { loadTokenizer, type Tokenizer, type TokenizerFiles } from "../../src/input/tokenizer.ts";

const POCKET = new URL("../models/pocket-internvl/", import.meta.url);

/** A file of the pocket model as text. */
export function pocketText(file: string): string {
  return Deno.readTextFileSync(new URL(file, POCKET));
}

/** The pocket model's tokenizer files. */
export function pocketFiles(): TokenizerFiles & { json: string; config: string } {
  return {
    name: "pocket",
    json: pocketText("tokenizer.json"),
    config: pocketText("tokenizer_config.json"),
    generationConfig: pocketText("generation_config.json"),
  };
}

/** The pocket model's tokenizer. */
export function pocketTokenizer(): Tokenizer {
  return loadTokenizer(pocketFiles());
}

/** The same tokenizer as vocab.json, merges.txt, added_tokens.json and special_tokens_map.json. */
export function pocketOriginalFiles(): TokenizerFiles & {
  vocab: string;
  merges: string;
  addedTokens: string;
} {
  const { json, config } = pocketFiles();
  const root = JSON.parse(json) as {
    model: { vocab: Record<string, number>; merges: [string, string][] };
    added_tokens: { id: number; content: string }[];
  };
  const names = root.added_tokens.map((token) => token.content);
  return {
    name: "original",
    config,
    vocab: JSON.stringify(root.model.vocab),
    merges: ["#version: 0.2", ...root.model.merges.map((pair) => pair.join(" ")), ""].join("\n"),
    addedTokens: JSON.stringify(
      Object.fromEntries(root.added_tokens.map(({ id, content }) => [content, id])),
    ),
    specialTokensMap: JSON.stringify({
      additional_special_tokens: names.slice(1),
      eos_token: { content: "<|im_end|>", lstrip: false },
    }),
  };
}

/** A tokenizer.json of the 256 bytes, three merges and three control tokens. */
export function smallTokenizerJson(): Record<string, unknown> {
  const vocab: Record<string, number> = {};
  [...BYTE_CHARS, "he", "ll", "hell"].forEach((token, id) => vocab[token] = id);
  const pocket = JSON.parse(pocketText("tokenizer.json")) as Record<string, unknown>;
  const model = pocket["model"] as Record<string, unknown>;
  return {
    ...pocket,
    model: { ...model, vocab, merges: [["h", "e"], ["l", "l"], ["he", "ll"]] },
    added_tokens: ["<|im_start|>", "<|im_end|>", "<img>"].map((content, i) => ({
      id: 259 + i,
      content,
      special: true,
      normalized: false,
    })),
  };
}
