// Seeded damage for the fuzz tests of checkpoint readers: to bytes as disks and cut-off downloads do it, to JSON with
// values that length fields, shapes and paths must not be trusted with.

import type { Random } from "../../src/base/random.ts";

/** A copy of the bytes with one to four places damaged, shortened or lengthened. */
export function damageBytes(bytes: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
  let out = Uint8Array.from(bytes);
  for (let count = 1 + random.integer(4); count > 0; count--) {
    const at = random.integer(out.length + 1);
    const length = random.integer(9);
    switch (random.integer(6)) {
      case 0:
        if (at < out.length) out[at]! ^= 1 << random.integer(8);
        break;
      case 1:
        if (at < out.length) out[at] = [0, 0xff, 0x7f, 0x80, 0x22, 0x7b][random.integer(6)]!;
        break;
      case 2:
        out = out.slice(0, at);
        break;
      case 3:
        out = join(out.subarray(0, at), out.subarray(at + length));
        break;
      case 4:
        out = join(out.subarray(0, at), out.subarray(0, length), out.subarray(at));
        break;
      default:
        for (let i = at; i < Math.min(at + length, out.length); i++) out[i] = random.integer(256);
    }
  }
  return out;
}

function join(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1,
  0.5,
  3,
  1e308,
  -1e308,
  2 ** 31,
  2 ** 32 + 1,
  2 ** 53,
  2 ** 64,
  1e-320,
  "",
  "x",
  "\u0000",
  "../../etc/passwd.safetensors",
  "/a.safetensors",
  "__proto__",
  "BF16",
  [],
  [1],
  [0, 0],
  [2 ** 52, 2 ** 52],
  {},
  { a: 1 },
  "y".repeat(5000),
];

/** A copy of the JSON value with one to three nodes, anywhere, replaced, removed, renamed, nudged or swapped. */
export function damageJson(value: unknown, random: Random): unknown {
  let root = structuredClone(value);
  for (let count = 1 + random.integer(3); count > 0; count--) {
    const places: [Record<string, unknown>, string][] = [];
    collect(root, places);
    if (places.length === 0 || random.integer(200) === 0) {
      root = structuredClone(VALUES[random.integer(VALUES.length)]);
      continue;
    }
    const [parent, key] = places[random.integer(places.length)]!;
    const [other, otherKey] = places[random.integer(places.length)]!;
    switch (random.integer(5)) {
      case 0:
        delete parent[key];
        break;
      case 1:
        parent[`${key}${random.integer(10)}`] = parent[key];
        delete parent[key];
        break;
      case 2:
        parent[key] = structuredClone(other[otherKey]);
        break;
      case 3:
        if (typeof parent[key] === "number") {
          parent[key] = (parent[key] as number) + [1, -1, 0.25, 64, -64][random.integer(5)]!;
        }
        break;
      default:
        parent[key] = structuredClone(VALUES[random.integer(VALUES.length)]);
    }
  }
  return root;
}

function collect(value: unknown, places: [Record<string, unknown>, string][]): void {
  if (typeof value !== "object" || value === null) return;
  for (const key of Object.keys(value)) {
    places.push([value as Record<string, unknown>, key]);
    collect((value as Record<string, unknown>)[key], places);
  }
}
