/**
 * Reads and checks the files a byte-level BPE tokenizer comes in, and states it in one form: the
 * tokenizer.json object that `@huggingface/tokenizers` takes. Nothing unchecked reaches that
 * library, because it trusts ids, merges and regular expressions. Two sources: `tokenizer.json`, or
 * `vocab.json` + `merges.txt` (the original InternVL repositories, Qwen2).
 */
import { badFile } from "../base/errors.ts";
import { brief, field, isObject, type JsonObject, parseObject } from "./json.ts";
import {
  QWEN2_PRE_TOKENIZERS,
  readNormalizer,
  readPreTokenizers,
  type Stage,
} from "./tokenizer_stages.ts";
import { checkVocab } from "./vocab_check.ts";

/** The texts of a tokenizer's files; `json` alone, or `vocab` and `merges`, must be there. */
export interface TokenizerFiles {
  /** What to call the tokenizer in errors: its folder or file. */
  readonly name: string;
  /** `tokenizer.json`. */
  readonly json?: string;
  /** `tokenizer_config.json`. */
  readonly config?: string;
  /** `vocab.json`. */
  readonly vocab?: string;
  /** `merges.txt`. */
  readonly merges?: string;
  /** `added_tokens.json`. */
  readonly addedTokens?: string;
  /** `special_tokens_map.json`. */
  readonly specialTokensMap?: string;
  /** `generation_config.json`, whose `eos_token_id` adds stop ids. */
  readonly generationConfig?: string;
}

/** A token that stands outside the BPE vocabulary. */
export interface AddedToken {
  /** Its row in the model's embedding. */
  readonly id: number;
  /** The text that names it. */
  readonly content: string;
  /** Left out of decoded text when the caller asks so. */
  readonly special: boolean;
  /** Whether white space before it belongs to it. */
  readonly lstrip: boolean;
  /** Whether white space after it belongs to it. */
  readonly rstrip: boolean;
}

/** A checked byte-level BPE tokenizer. */
export interface TokenizerParts {
  /** Ids of the tokens, written in the byte-level alphabet. */
  readonly vocab: ReadonlyMap<string, number>;
  /** Pairs of tokens that join, the most urgent first. */
  readonly merges: readonly (readonly [string, string])[];
  /** Whether a word that is a token is taken whole, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** What happens to text first. */
  readonly normalizer: Stage | null;
  /** How text is cut into words, in order; the last turns them into bytes. */
  readonly preTokenizers: readonly Stage[];
  /** Control tokens and the like. */
  readonly added: readonly AddedToken[];
}

/** Larger than any vocabulary in use (about 262,000), small enough to allocate. */
const MAX_ID = (1 << 21) - 1;

/**
 * Reads the tokenizer from `tokenizer.json` or, without one, from `vocab.json` and `merges.txt`.
 */
export function readTokenizerParts(files: TokenizerFiles): TokenizerParts {
  const parts = files.json === undefined ? fromVocab(files) : fromJson(files, files.json);
  checkVocab(parts, files.name);
  return parts;
}

function fromJson(files: TokenizerFiles, json: string): TokenizerParts {
  const file = `${files.name} (tokenizer.json)`;
  const root = parseObject(json, file);
  const model = field(root, "model", isObject, "an object", file);
  if (model["type"] !== undefined && model["type"] !== "BPE") {
    throw badFile(
      file,
      `expected a BPE model, found ${brief(model["type"])}; only byte-level BPE tokenizers work.`,
    );
  }
  for (const key of ["dropout", "continuing_subword_prefix", "end_of_word_suffix"]) {
    if (model[key]) {
      throw badFile(file, `expected model.${key} to be absent, found ${brief(model[key])}.`);
    }
  }
  if (model["byte_fallback"]) {
    throw badFile(file, "expected byte-level BPE, found byte_fallback (SentencePiece).");
  }
  if (!hasByteLevelDecoder(root["decoder"])) {
    throw badFile(file, "expected a ByteLevel decoder, found none.");
  }
  const added = root["added_tokens"] ?? [];
  if (!Array.isArray(added)) throw badFile(file, "expected added_tokens to be a list.");
  return {
    vocab: readVocab(model["vocab"], file),
    merges: readMergeList(model["merges"], file),
    ignoreMerges: model["ignore_merges"] === true,
    normalizer: readNormalizer(root["normalizer"], file),
    preTokenizers: readPreTokenizers(root["pre_tokenizer"], file),
    added: added.map((entry: unknown, i) => {
      if (!isObject(entry)) throw badFile(file, `expected added_tokens[${i}] to be an object.`);
      return readAddedToken(entry["content"], entry["id"], entry, file);
    }),
  };
}

function fromVocab(files: TokenizerFiles): TokenizerParts {
  if (files.vocab === undefined || files.merges === undefined) {
    throw badFile(
      files.name,
      "expected tokenizer.json, or vocab.json and merges.txt; copy them from the model's page.",
    );
  }
  const file = `${files.name} (vocab.json)`;
  return {
    vocab: readVocab(parseObject(files.vocab, file), file),
    merges: readMergeLines(files.merges, `${files.name} (merges.txt)`),
    ignoreMerges: false,
    normalizer: { type: "NFC" },
    preTokenizers: QWEN2_PRE_TOKENIZERS,
    added: readAddedFiles(files),
  };
}

/**
 * added_tokens.json gives ids, tokenizer_config.json ids and flags, special_tokens_map.json names
 * the special ones.
 */
function readAddedFiles(files: TokenizerFiles): AddedToken[] {
  const added = new Map<string, AddedToken>();
  const mapFile = `${files.name} (special_tokens_map.json)`;
  const special = new Set(
    files.specialTokensMap === undefined
      ? []
      : collectContents(parseObject(files.specialTokensMap, mapFile)),
  );
  if (files.addedTokens !== undefined) {
    const file = `${files.name} (added_tokens.json)`;
    for (const [content, id] of Object.entries(parseObject(files.addedTokens, file))) {
      added.set(content, readAddedToken(content, id, { special: special.has(content) }, file));
    }
  }
  if (files.config !== undefined) {
    const file = `${files.name} (tokenizer_config.json)`;
    const decoder = parseObject(files.config, file)["added_tokens_decoder"] ?? {};
    if (!isObject(decoder)) throw badFile(file, "expected added_tokens_decoder to be an object.");
    for (const [id, entry] of Object.entries(decoder)) {
      if (!isObject(entry)) {
        throw badFile(file, `expected added_tokens_decoder.${id} to be an object.`);
      }
      const token = readAddedToken(
        entry["content"],
        /^\d{1,7}$/.test(id) ? Number(id) : id,
        entry,
        file,
      );
      const other = added.get(token.content);
      if (other && other.id !== token.id) {
        throw badFile(
          file,
          `expected id ${other.id} for ${
            brief(token.content)
          } as in added_tokens.json, found ${id}.`,
        );
      }
      added.set(token.content, token);
    }
  }
  return [...added.values()];
}

function collectContents(map: JsonObject): string[] {
  return Object.values(map).flat().flatMap((entry) => {
    const content = isObject(entry) ? entry["content"] : entry;
    return typeof content === "string" ? [content] : [];
  });
}

function readAddedToken(
  content: unknown,
  id: unknown,
  flags: JsonObject,
  file: string,
): AddedToken {
  if (typeof content !== "string" || content === "" || content.length > 1024) {
    throw badFile(
      file,
      `expected an added token's content to be 1 to 1024 characters, found ${brief(content)}.`,
    );
  }
  return {
    id: readId(id, content, file),
    content,
    special: flags["special"] === true,
    lstrip: flags["lstrip"] === true,
    rstrip: flags["rstrip"] === true,
  };
}

function readId(id: unknown, token: string, file: string): number {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id <= MAX_ID) return id;
  throw badFile(
    file,
    `expected token ${brief(token)} to have an id from 0 to ${MAX_ID}, found ${brief(id)}.`,
  );
}

function readVocab(vocab: unknown, file: string): Map<string, number> {
  if (!isObject(vocab)) {
    throw badFile(file, `expected the vocabulary to be an object, found ${brief(vocab)}.`);
  }
  return new Map(Object.entries(vocab).map(([token, id]) => [token, readId(id, token, file)]));
}

function readMergeList(merges: unknown, file: string): [string, string][] {
  if (!Array.isArray(merges)) {
    throw badFile(file, `expected model.merges to be a list, found ${brief(merges)}.`);
  }
  return merges.map((merge: unknown, i) => readMerge(merge, `model.merges[${i}]`, file));
}

function readMergeLines(text: string, file: string): [string, string][] {
  const merges: [string, string][] = [];
  text.split(/\r?\n/).forEach((line, i) => {
    if (line === "" || (i === 0 && line.startsWith("#version"))) return;
    merges.push(readMerge(line, `line ${i + 1}`, file));
  });
  return merges;
}

function readMerge(merge: unknown, where: string, file: string): [string, string] {
  const pair: unknown = typeof merge === "string" ? merge.split(" ") : merge;
  if (Array.isArray(pair) && pair.length === 2) {
    const [left, right] = pair as unknown[];
    if (typeof left === "string" && typeof right === "string" && left && right) {
      return [left, right];
    }
  }
  throw badFile(file, `expected ${where} to be a pair of tokens, found ${brief(merge)}.`);
}

function hasByteLevelDecoder(decoder: unknown): boolean {
  if (!isObject(decoder)) return false;
  if (decoder["type"] === "ByteLevel") return true;
  const inner = decoder["decoders"];
  return decoder["type"] === "Sequence" && Array.isArray(inner) && inner.length === 1 &&
    isObject(inner[0]) && inner[0]["type"] === "ByteLevel";
}
