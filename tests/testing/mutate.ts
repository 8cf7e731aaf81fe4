/** Seeded mutations of text and JSON for fuzz tests. */
import type { Random } from "../../src/base/random.ts";

/** Values that parsers like to trust. */
const HOSTILE: readonly unknown[] = [
  null,
  true,
  -1,
  0.5,
  1e9,
  2 ** 53,
  "",
  "\u0000",
  "\ud800",
  "__proto__",
  "x".repeat(5000),
  "(a+)+$",
  [],
  {},
  [[[[[[[[]]]]]]]],
  [1e9],
  { type: "Sequence" },
  { toString: null },
];

const SNIPPETS: readonly string[] = [
  '"',
  "\\",
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  "\t",
  "\n",
  "\r",
  "\u0000",
  "e99",
  "-",
  "é",
  "\ud800",
];

/**
 * Changes one to four places of a text: characters replaced, removed, doubled, inserted, or the end
 * cut off.
 */
export function mutateText(text: string, random: Random): string {
  let mutated = text;
  for (let left = 1 + random.integer(4); left > 0; left--) {
    const at = random.integer(mutated.length + 1);
    const length = random.integer(12);
    const snippet = SNIPPETS[random.integer(SNIPPETS.length)]!;
    switch (random.integer(5)) {
      case 0:
        mutated = mutated.slice(0, at) + snippet + mutated.slice(at + 1);
        break;
      case 1:
        mutated = mutated.slice(0, at) + mutated.slice(at + length);
        break;
      case 2:
        mutated = mutated.slice(0, at + length) + mutated.slice(at);
        break;
      case 3:
        mutated = mutated.slice(0, at) + snippet + mutated.slice(at);
        break;
      default:
        if (random.integer(4) === 0) mutated = mutated.slice(0, at);
    }
  }
  return mutated;
}

/**
 * Replaces, removes or doubles one to three values anywhere inside a JSON value; the given value is
 * left alone.
 */
export function mutateJson(value: unknown, random: Random): unknown {
  const copy: unknown = structuredClone(value);
  for (let left = 1 + random.integer(3); left > 0; left--) {
    let node = copy;
    for (;;) {
      if (typeof node !== "object" || node === null) break;
      const holder = node as Record<string, unknown>;
      const keys = Object.keys(holder);
      if (keys.length === 0) break;
      const key = keys[random.integer(keys.length)]!;
      const inner = holder[key];
      if (typeof inner === "object" && inner !== null && random.integer(4) > 0) {
        node = inner;
        continue;
      }
      const other = holder[keys[random.integer(keys.length)]!];
      if (random.integer(5) === 0) delete holder[key];
      else if (random.integer(4) === 0) holder[key] = structuredClone(other);
      else holder[key] = structuredClone(HOSTILE[random.integer(HOSTILE.length)]);
      break;
    }
  }
  return copy;
}
