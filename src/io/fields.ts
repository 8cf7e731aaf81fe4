// Reads the fields of parsed JSON that nobody vouches for, and collects every problem instead of stopping at the first.
// A field at fault reads as NaN or an empty value, so that checks on it stay quiet and follow-up complaints do not pile
// up; `done` then throws all problems as one error.

import { badFile } from "../base/errors.ts";
import { clip } from "./bytes.ts";

/** A JSON object whose fields are checked as they are read. */
export class Fields {
  readonly #values: Record<string, unknown>;
  readonly #path: string;
  readonly #problems: string[];

  /** Wraps a parsed value; `path` is its name in messages, empty for the outermost. */
  constructor(value: unknown, path: string = "", problems: string[] = []) {
    this.#path = path;
    this.#problems = problems;
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    this.#values = isObject ? value as Record<string, unknown> : {};
    if (!isObject) this.problem("", `expected an object, found ${show(value)}`);
  }

  /** Whether the field is there and not null. */
  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  /** A field's raw value; undefined if it is missing or null. */
  get(key: string): unknown {
    return Object.hasOwn(this.#values, key) ? this.#values[key] ?? undefined : undefined;
  }

  /** Notes a problem with a field (or with the whole object, for an empty key). */
  problem(key: string, what: string): void {
    const path = [this.#path, key].filter((part) => part !== "").join(".");
    this.#problems.push(path === "" ? what : `${path}: ${what}`);
  }

  /** An integer within bounds; required without a fallback. */
  integer(key: string, min: number, max: number, fallback?: number): number {
    const complaint = `expected a whole number from ${min} to ${max}`;
    return this.#number(
      key,
      fallback,
      complaint,
      (value) => Number.isInteger(value) && value >= min && value <= max,
    );
  }

  /** A number above zero and at most `max`; required without a fallback. */
  positive(key: string, max: number, fallback?: number): number {
    const complaint = `expected a number above 0, at most ${max}`;
    return this.#number(key, fallback, complaint, (value) => value > 0 && value <= max);
  }

  #number(
    key: string,
    fallback: number | undefined,
    complaint: string,
    fits: (value: number) => boolean,
  ): number {
    const value = this.get(key);
    if (value === undefined && fallback !== undefined) return fallback;
    if (typeof value === "number" && fits(value)) return value;
    this.problem(key, `${complaint}, found ${show(value)}`);
    return NaN;
  }

  /** True or false. */
  flag(key: string, fallback: boolean): boolean {
    const value = this.get(key) ?? fallback;
    if (typeof value === "boolean") return value;
    this.problem(key, `expected true or false, found ${show(value)}`);
    return fallback;
  }

  /** A text, or undefined if the field is missing. */
  text(key: string): string | undefined {
    const value = this.get(key);
    if (value === undefined || typeof value === "string") return value;
    this.problem(key, `expected a text, found ${show(value)}`);
    return undefined;
  }

  /** Demands one of the supported values; a missing field counts as `fallback`. */
  demand(key: string, supported: readonly unknown[], fallback: unknown): void {
    const value = this.get(key) ?? fallback;
    if (supported.includes(value)) return;
    const wanted = supported.map((one) => JSON.stringify(one)).join(" or ");
    this.problem(key, `only ${wanted} is supported, found ${show(value)}`);
  }

  /** A nested object; a missing one is a problem unless it is optional. */
  object(key: string, optional: boolean = false): Fields {
    const value = this.get(key) ?? (optional ? {} : undefined);
    return new Fields(value, this.#path === "" ? key : `${this.#path}.${key}`, this.#problems);
  }

  /** Throws one `bad-file` error that lists every problem found so far, if there is any. */
  done(file: string): void {
    const problems = this.#problems;
    if (problems.length === 1) throw badFile(file, `${problems[0]}.`);
    if (problems.length > 1) {
      const lines = problems.map((problem) => `\n  ${problem}`).join("");
      throw badFile(file, `${problems.length} problems:${lines}`);
    }
  }
}

/** A value for a message: short, and safe for nested input of any depth. */
function show(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object") return "an object";
  return clip(JSON.stringify(value), 60);
}
