// The byte-level alphabet of GPT-2 style tokenizers: each of the 256 bytes is written as one
// printable character, so that vocabularies are text. Printable Latin-1 bytes stand for themselves,
// the other 68 for U+0100 upwards in order.

function isPrintable(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

function makeAlphabet(): { chars: readonly string[]; bytes: ReadonlyMap<string, number> } {
  const chars: string[] = [];
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    chars.push(String.fromCharCode(isPrintable(byte) ? byte : next++));
  }
  return { chars, bytes: new Map(chars.map((char, byte) => [char, byte])) };
}

const ALPHABET = makeAlphabet();

/** The character that stands for each byte in a byte-level vocabulary. */
export const BYTE_CHARS: readonly string[] = ALPHABET.chars;

/**
 * The bytes that a token of a byte-level vocabulary stands for. A token with a character outside
 * the alphabet is ordinary text and stands for its UTF-8 bytes, as in Hugging Face's byte-level
 * decoder.
 */
export function bytesOfToken(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = ALPHABET.bytes.get(token[i]!);
    if (byte === undefined) return new TextEncoder().encode(token);
    bytes[i] = byte;
  }
  return bytes;
}
