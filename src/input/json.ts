// Checked access to JSON that came from somewhere else.
import { badFile } from "../base/errors.ts";

/** A JSON object whose values are not known yet. */
export type JsonObject = { readonly [key: string]: unknown };

/** Larger than any tokenizer file in use (about 35 MB). */
const MAX_LENGTH = 128 * 1024 * 1024;

/** Whether a value is a JSON object (not a list, not null). */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses text that must hold a JSON object; `file` names it in errors. */
export function parseObject(text: string, file: string): JsonObject {
  if (text.length > MAX_LENGTH) {
    throw badFile(file, `expected at most ${MAX_LENGTH} characters of JSON, found ${text.length}.`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw badFile(
      file,
      "expected JSON, found something else; the file is damaged or not the right one.",
      { cause },
    );
  }
  if (!isObject(value)) throw badFile(file, "expected a JSON object at the top.");
  return value;
}

/** A field of an object, checked by a guard; `kind` says in errors what was expected. */
export function field<T>(
  object: JsonObject,
  key: string,
  guard: (value: unknown) => value is T,
  kind: string,
  file: string,
): T {
  const value = object[key];
  if (!guard(value)) throw badFile(file, `expected "${key}" to be ${kind}.`);
  return value;
}

/** A value as short JSON, for error messages. */
export function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
