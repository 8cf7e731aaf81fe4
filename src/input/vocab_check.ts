// What the encoder relies on: every text can be written in tokens, ids are unique, merges lead to
// known tokens, and no text merges into a special token.
import { badFile } from "../base/errors.ts";
import { BYTE_CHARS } from "./byte_alphabet.ts";
import { brief } from "./json.ts";
import type { TokenizerParts } from "./tokenizer_files.ts";

/** Bytes that occur in no UTF-8 text, so a vocabulary may do without them. */
const NEVER_IN_UTF8 = new Set([
  0xc0,
  0xc1,
  0xf5,
  0xf6,
  0xf7,
  0xf8,
  0xf9,
  0xfa,
  0xfb,
  0xfc,
  0xfd,
  0xfe,
  0xff,
]);

/** Throws a bad-file error unless the vocabulary, merges and added tokens fit together. */
export function checkVocab({ vocab, merges, added }: TokenizerParts, file: string): void {
  const special = new Set(added.filter((token) => token.special).map((token) => token.content));
  const owner = new Map<number, string>();
  const claim = (token: string, id: number) => {
    const other = owner.get(id);
    if (other !== undefined && other !== token) {
      throw badFile(
        file,
        `expected one token per id, found ${brief(other)} and ${brief(token)} at ${id}.`,
      );
    }
    owner.set(id, token);
  };
  for (const [token, id] of vocab) claim(token, id);
  const contents = new Map<string, number>();
  for (const { content, id } of added) {
    claim(content, id);
    const known = vocab.get(content) ?? contents.get(content) ?? id;
    if (known !== id) {
      throw badFile(file, `expected one id for ${brief(content)}, found ${known} and ${id}.`);
    }
    contents.set(content, id);
  }
  BYTE_CHARS.forEach((char, byte) => {
    if (!vocab.has(char) && !NEVER_IN_UTF8.has(byte)) {
      throw badFile(
        file,
        `expected a token for byte ${byte} (${brief(char)}); the vocabulary is incomplete.`,
      );
    }
  });
  for (const [left, right] of merges) {
    const missing = [left, right, left + right].find((token) => !vocab.has(token));
    if (missing !== undefined) {
      throw badFile(
        file,
        `expected the merge of ${brief(left)} and ${brief(right)} to use known tokens, but ${
          brief(missing)
        } is none.`,
      );
    }
    if (special.has(left + right)) {
      throw badFile(
        file,
        `the merge of ${brief(left)} and ${
          brief(right)
        } would turn typed text into a control token.`,
      );
    }
  }
}
