// Base64 with the standard alphabet (RFC 4648, section 4); Node 20 and 22 lack
// Uint8Array.fromBase64.
import { LobitError } from "../base/errors.ts";

/**
 * Decodes base64; padding may be missing, white space is skipped, anything else is a bad request.
 */
export function decodeBase64(text: string): Uint8Array {
  let binary: string;
  try {
    binary = atob(text);
  } catch (cause) {
    throw new LobitError(
      "bad-request",
      "Expected base64, found other characters or a wrong length.",
      { cause },
    );
  }
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
