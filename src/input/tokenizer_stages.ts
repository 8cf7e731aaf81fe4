/**
 * The normalizers and pre-tokenizers a tokenizer may have. Regular expressions come from a list of
 * known ones and never from the file itself: JavaScript cannot bound the time of a hostile pattern.
 */
import { badFile } from "../base/errors.ts";
import { isObject, type JsonObject } from "./json.ts";

/** One normalizer or pre-tokenizer, as tokenizer.json writes it. */
export type Stage = JsonObject & { readonly type: string };

/**
 * Qwen2 and Qwen2.5: single digits, words with one leading non-letter, runs of punctuation, line
 * ends, white space.
 */
export const QWEN2_PATTERN: string =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** The patterns a tokenizer.json may have; each runs in linear time on any text. */
export const KNOWN_PATTERNS: ReadonlySet<string> = new Set([
  QWEN2_PATTERN,
  // Qwen3.5: combining marks belong to words.
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  // Llama 3: up to three digits.
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  // GPT-2.
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
]);

/** What tokenizer.json would say for a Qwen2 vocabulary. */
export const QWEN2_PRE_TOKENIZERS: readonly Stage[] = [splitBy(QWEN2_PATTERN), byteLevel(false)];

const NORMALIZERS: ReadonlySet<unknown> = new Set(["NFC", "NFD", "NFKC", "NFKD"]);

/** Checks a `normalizer`: none, a Unicode normal form, or a list of one. */
export function readNormalizer(value: unknown, file: string): Stage | null {
  if (value === null || value === undefined) return null;
  const only = unwrap(value, "normalizers");
  if (only.length === 0) return null;
  const type = isObject(only[0]) ? only[0]["type"] : undefined;
  if (only.length === 1 && NORMALIZERS.has(type)) return { type: String(type) };
  throw badFile(
    file,
    `expected the normalizer to be one of ${[...NORMALIZERS].join(", ")} or none.`,
  );
}

/** Checks a `pre_tokenizer`: known splits and single digits, then bytes. */
export function readPreTokenizers(value: unknown, file: string): Stage[] {
  const stages = unwrap(value, "pretokenizers").map((stage) => readPreTokenizer(stage, file));
  const bytes = stages.filter((stage) => stage.type === "ByteLevel").length;
  if (stages.length > 8 || bytes !== 1 || stages.at(-1)?.type !== "ByteLevel") {
    throw badFile(
      file,
      "expected the pre-tokenizer to end in its only ByteLevel stage; only byte-level BPE works.",
    );
  }
  return stages;
}

function readPreTokenizer(value: unknown, file: string): Stage {
  const stage = isObject(value) ? value : {};
  switch (stage["type"]) {
    case "Split": {
      const pattern = isObject(stage["pattern"]) ? stage["pattern"]["Regex"] : undefined;
      if (typeof pattern !== "string" || !KNOWN_PATTERNS.has(pattern)) {
        throw badFile(
          file,
          "its pre-tokenization pattern is not among the known ones (Qwen2, Qwen3.5, Llama 3, GPT-2).",
        );
      }
      if (stage["behavior"] !== "Isolated" || stage["invert"] === true) {
        throw badFile(
          file,
          'expected a Split pre-tokenizer with behavior "Isolated", not inverted.',
        );
      }
      return splitBy(pattern);
    }
    case "Digits":
      return { type: "Digits", individual_digits: stage["individual_digits"] === true };
    case "ByteLevel":
      if (stage["add_prefix_space"] === true) {
        throw badFile(
          file,
          "expected ByteLevel without add_prefix_space; such tokenizers are not supported.",
        );
      }
      return byteLevel(stage["use_regex"] !== false);
    default:
      throw badFile(file, "expected only Split, Digits and ByteLevel pre-tokenizers.");
  }
}

function splitBy(pattern: string): Stage {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}

function byteLevel(useRegex: boolean): Stage {
  return { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: useRegex };
}

function unwrap(value: unknown, key: string): readonly unknown[] {
  if (!isObject(value) || value["type"] !== "Sequence") return [value];
  return Array.isArray(value[key]) ? value[key] : [];
}
