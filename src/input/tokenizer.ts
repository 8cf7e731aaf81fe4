/**
 * Text to token ids and back: byte-level BPE by `@huggingface/tokenizers`. The library gets the
 * vocabulary without the added tokens, so no text can encode to one; the templates' control tokens
 * are looked up here, by name.
 */
import { Tokenizer as Encoder } from "npm:@huggingface/tokenizers@0.2.0";
import { badFile, badRequest } from "../base/errors.ts";
import { bytesOfToken } from "./byte_alphabet.ts";
import { isObject, type JsonObject, parseObject } from "./json.ts";
import { type AddedToken, readTokenizerParts, type TokenizerFiles } from "./tokenizer_files.ts";

export type { TokenizerFiles } from "./tokenizer_files.ts";

/** Options of {@linkcode Tokenizer.decode}. */
export interface DecodeOptions {
  /** Leave special tokens (`<|im_end|>`, `<img>`) out of the text. */
  readonly skipSpecial?: boolean;
}

/** A byte-level BPE tokenizer. */
export interface Tokenizer {
  /**
   * Encodes plain text. A control token's name in it is ordinary text and becomes ordinary tokens.
   */
  encode(text: string): number[];
  /** The id of a control token such as `<|im_end|>`, if the tokenizer has it. */
  special(token: string): number | undefined;
  /**
   * Cuts text that may name control tokens (a rendered template) into their ids and the plain text
   * between them.
   */
  splitSpecial(text: string): (string | number)[];
  /** The names of all control tokens. */
  readonly specialNames: readonly string[];
  /** The text of ids; bytes that are not UTF-8 become U+FFFD, unused ids become nothing. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /**
   * The bytes that a token stands for; several tokens may share one character. None for an unused
   * id.
   */
  tokenBytes(id: number): Uint8Array;
  /** Whether an id is a special token, which text shown to people leaves out. */
  isSpecial(id: number): boolean;
  /** One more than the largest id. The model's embedding may have more rows. */
  readonly vocabSize: number;
  /** Ids that end an answer: generation_config.json's, then tokenizer_config.json's `eos_token`. */
  readonly eosIds: readonly number[];
  /**
   * `bos_token`, `eos_token`, `pad_token`, `unk_token` of tokenizer_config.json, which chat
   * templates may name.
   */
  readonly namedTokens: Readonly<Record<string, string>>;
}

/** Longest text in characters; far beyond any context, and a bound on time. */
const MAX_TEXT = 4 * 1024 * 1024;

/**
 * Loads a tokenizer from `tokenizer.json`, or from `vocab.json` and `merges.txt` with Qwen2's
 * pre-tokenization and NFC. Damaged or unsupported files are a {@linkcode LobitError} with code
 * `bad-file`.
 */
export function loadTokenizer(files: TokenizerFiles): Tokenizer {
  const { vocab, merges, ignoreMerges, normalizer, preTokenizers, added } = readTokenizerParts(
    files,
  );
  const special = new Set(added.filter((token) => token.special).map((token) => token.id));
  const plain = [...vocab].filter(([, id]) => !special.has(id));
  const encoder = new Encoder({
    added_tokens: [],
    normalizer,
    pre_tokenizer: { type: "Sequence", pretokenizers: preTokenizers },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab: Object.fromEntries(plain), merges, ignore_merges: ignoreMerges },
  }, {});
  const config = files.config === undefined
    ? {}
    : parseObject(files.config, `${files.name} (tokenizer_config.json)`);
  const tokenById: (string | undefined)[] = [];
  for (
    const [token, id] of [
      ...vocab,
      ...added.map((token) => [token.content, token.id] as const),
    ]
  ) {
    tokenById[id] = token;
  }
  return new BpeTokenizer(encoder, tokenById, added, readNamedTokens(config), files);
}

class BpeTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly eosIds: readonly number[];
  readonly specialNames: readonly string[];
  readonly namedTokens: Readonly<Record<string, string>>;
  readonly #encoder: Encoder;
  readonly #tokenById: readonly (string | undefined)[];
  readonly #addedByName: ReadonlyMap<string, AddedToken>;
  readonly #addedById: ReadonlyMap<number, AddedToken>;
  readonly #specialPattern: RegExp | undefined;

  constructor(
    encoder: Encoder,
    tokenById: readonly (string | undefined)[],
    added: readonly AddedToken[],
    namedTokens: Readonly<Record<string, string>>,
    files: TokenizerFiles,
  ) {
    this.#encoder = encoder;
    this.#tokenById = tokenById;
    this.#addedByName = new Map(added.map((token) => [token.content, token]));
    this.#addedById = new Map(added.map((token) => [token.id, token]));
    this.#specialPattern = anyOf([...this.#addedByName.keys()]);
    this.specialNames = [...this.#addedByName.keys()];
    this.vocabSize = tokenById.length;
    this.namedTokens = namedTokens;
    this.eosIds = readEosIds(files, this.special(namedTokens["eos_token"] ?? ""), tokenById.length);
  }

  encode(text: string): number[] {
    if (text.length > MAX_TEXT) {
      throw badRequest(
        `The text has ${text.length} characters; at most ${MAX_TEXT} can be encoded.`,
      );
    }
    return text === "" ? [] : this.#encoder.encode(text, { add_special_tokens: false }).ids;
  }

  special(token: string): number | undefined {
    return this.#addedByName.get(token)?.id;
  }

  splitSpecial(text: string): (string | number)[] {
    if (!this.#specialPattern) return text === "" ? [] : [text];
    const runs: (string | number)[] = [];
    let end = 0;
    let stripNext = false;
    const pushPlain = (until: number, stripEnd: boolean) => {
      let plain = text.slice(end, until);
      if (stripNext) plain = plain.trimStart();
      if (stripEnd) plain = plain.trimEnd();
      if (plain !== "") runs.push(plain);
    };
    for (const match of text.matchAll(this.#specialPattern)) {
      const token = this.#addedByName.get(match[0])!;
      pushPlain(match.index, token.lstrip);
      runs.push(token.id);
      end = match.index + match[0].length;
      stripNext = token.rstrip;
    }
    pushPlain(text.length, false);
    return runs;
  }

  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    let text = "";
    for (const id of ids) {
      if (!(options.skipSpecial && this.isSpecial(id))) {
        text += decoder.decode(this.tokenBytes(id), { stream: true });
      }
    }
    return text + decoder.decode();
  }

  tokenBytes(id: number): Uint8Array {
    if (!Number.isInteger(id) || id < 0) throw badRequest(`Expected a token id, found ${id}.`);
    const added = this.#addedById.get(id);
    if (added) return new TextEncoder().encode(added.content);
    return bytesOfToken(this.#tokenById[id] ?? "");
  }

  isSpecial(id: number): boolean {
    return this.#addedById.get(id)?.special === true;
  }
}

/** The longest name wins where one is the beginning of another, as in Hugging Face's tokenizers. */
function anyOf(names: readonly string[]): RegExp | undefined {
  // A name of one character could not be told from the same character typed by a user.
  const escaped = names.filter((name) => name.length > 1).sort((a, b) => b.length - a.length)
    .map((name) => name.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
  return escaped.length === 0 ? undefined : new RegExp(escaped.join("|"), "g");
}

function readNamedTokens(config: JsonObject): Record<string, string> {
  const named: Record<string, string> = {};
  for (const key of ["bos_token", "eos_token", "pad_token", "unk_token"]) {
    const entry = config[key];
    const content = isObject(entry) ? entry["content"] : entry;
    if (typeof content === "string") named[key] = content;
  }
  return named;
}

function readEosIds(files: TokenizerFiles, eos: number | undefined, vocabSize: number): number[] {
  const ids = new Set<number>();
  if (files.generationConfig !== undefined) {
    const file = `${files.name} (generation_config.json)`;
    const value = parseObject(files.generationConfig, file)["eos_token_id"] ?? [];
    for (const id of Array.isArray(value) ? value as unknown[] : [value]) {
      if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= vocabSize) {
        throw badFile(
          file,
          `expected eos_token_id to be ids below ${vocabSize}, found ${JSON.stringify(id)}.`,
        );
      }
      ids.add(id);
    }
  }
  if (eos !== undefined) ids.add(eos);
  return [...ids];
}
