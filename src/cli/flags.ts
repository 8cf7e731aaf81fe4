// Command line flags as tables: every verb lists its flags once, and parsing, checking, suggestions and help come from
// that list. Parsing itself is @std/cli's.
import { parseArgs } from "@std/cli";
import { badRequest } from "../base/errors.ts";

/** A flag of a verb. */
export interface Flag {
  /** Long name without dashes. */
  readonly name: string;
  /** One letter that stands for it. */
  readonly letter?: string;
  /** `switch` takes no value, `list` may be given several times. */
  readonly kind: "switch" | "text" | "number" | "size" | "list";
  /** What the value is, for help: `N`, `FILE`. */
  readonly value?: string;
  /** One line of help. */
  readonly help: string;
  /** The values allowed. */
  readonly choices?: readonly string[];
}

/** Flags that every verb has. */
export const COMMON_FLAGS: readonly Flag[] = [
  { name: "json", kind: "switch", help: "print one JSON value and nothing else" },
  { name: "help", letter: "h", kind: "switch", help: "show this help" },
];

/** How a model keeps what it has read. */
export const KV_FLAG: Flag = {
  name: "kv",
  kind: "text",
  value: "KIND",
  choices: ["f32", "int8"],
  help: "keys and values: f32, or int8 in 27 % of the memory (default f32)",
};

/** Flags of the verbs that ask a model. */
export const MODEL_FLAGS: readonly Flag[] = [
  { name: "max-tiles", kind: "number", value: "N", help: "most tiles per picture" },
  {
    name: "activations",
    kind: "text",
    value: "KIND",
    choices: ["int8", "f32"],
    help: "what packed products read (default int8)",
  },
  KV_FLAG,
];

/** Flags of the verbs that compute. */
export const ENGINE_FLAGS: readonly Flag[] = [
  {
    name: "threads",
    kind: "number",
    value: "N",
    help: "threads to use (default: the machine's cores, at most 8)",
  },
  {
    name: "max-memory",
    kind: "size",
    value: "SIZE",
    help: "most memory for the model, e.g. 900M or 4G (default: 4G)",
  },
];

/** What was given on the command line, checked against the table. */
export class Arguments {
  /** What is no flag, in order. */
  readonly positional: readonly string[];
  readonly #values: ReadonlyMap<string, string | boolean | readonly string[]>;

  /** Wraps checked values. */
  constructor(
    positional: readonly string[],
    values: ReadonlyMap<string, string | boolean | readonly string[]>,
  ) {
    this.positional = positional;
    this.#values = values;
  }

  /** Whether a switch was given. */
  has(name: string): boolean {
    return this.#values.get(name) === true;
  }

  /** A flag's text. */
  text(name: string): string | undefined {
    const value = this.#values.get(name);
    return typeof value === "string" ? value : undefined;
  }

  /** A flag's number; throws if the text is none. */
  number(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
      throw badRequest(`--${name} takes a number, found "${text}".`);
    }
    return Number(text);
  }

  /** A flag's whole number of at least `least`. */
  integer(name: string, least: number): number | undefined {
    const value = this.number(name);
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= least)) {
      throw badRequest(
        `--${name} takes a whole number from ${least}, found "${this.text(name)}".`,
      );
    }
    return value;
  }

  /** A flag's number of bytes, e.g. `900M` or `4G` (binary units). */
  bytes(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const match = /^(\d+(?:\.\d+)?)([KMG]?)(?:i?B)?$/i.exec(text);
    if (!match) throw badRequest(`--${name} takes a size such as 900M or 4G, found "${text}".`);
    const power = ["", "K", "M", "G"].indexOf(match[2]!.toUpperCase());
    return Math.floor(Number(match[1]) * 1024 ** power);
  }

  /** Every value of a flag that may be repeated. */
  list(name: string): readonly string[] {
    const value = this.#values.get(name);
    return typeof value === "object" ? value : [];
  }
}

/** Parses and checks; throws one `bad-request` error that names every unknown flag. */
export function readArguments(flags: readonly Flag[], args: readonly string[]): Arguments {
  const names = (kinds: readonly Flag["kind"][]) =>
    flags.filter(({ kind }) => kinds.includes(kind)).map(({ name }) => name);
  const problems: string[] = [];
  const parsed = parseArgs([...args], {
    boolean: names(["switch"]),
    // "_" keeps positional arguments as they were typed: a question may look like a number.
    string: ["_", ...names(["text", "number", "size", "list"])],
    collect: names(["list"]),
    alias: Object.fromEntries(flags.flatMap(({ name, letter }) => letter ? [[letter, name]] : [])),
    unknown(arg, key) {
      if (key === undefined) return true;
      problems.push(unknownFlag(arg, key, flags));
      return false;
    },
  });
  const values = new Map<string, string | boolean | readonly string[]>();
  for (const flag of flags) {
    const value = parsed[flag.name] as string | boolean | readonly string[] | undefined;
    if (value === undefined) continue;
    if (value === "" || (Array.isArray(value) && value.includes(""))) {
      problems.push(`--${flag.name} needs a value: --${flag.name} ${flag.value ?? "VALUE"}`);
    } else if (flag.choices && typeof value === "string" && !flag.choices.includes(value)) {
      problems.push(
        `--${flag.name} takes ${flag.choices.slice(0, -1).join(", ")} or ${flag.choices.at(-1)}, ` +
          `found "${value}"`,
      );
    }
    values.set(flag.name, value);
  }
  if (problems.length > 0) throw badRequest(`${problems.join(". ")}.`);
  return new Arguments(parsed._.map(String), values);
}

function unknownFlag(arg: string, key: string, flags: readonly Flag[]): string {
  // Of `-xyz` the parser reports single letters, which say more than the whole.
  const given = arg.startsWith("--") ? `--${key}` : `-${key}`;
  const near = arg.startsWith("--") ? nearest(key, flags.map(({ name }) => name)) : undefined;
  return `Unknown flag ${given}${near ? ` (did you mean --${near}?)` : ""}`;
}

/** The word that a mistyped one is likely to be: at most a third of its letters differ. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const ranked = words
    .map((candidate) => ({ candidate, cost: editDistance(word.slice(0, 64), candidate) }))
    .sort((a, b) => a.cost - b.cost);
  const best = ranked[0];
  return best && best.cost <= Math.max(1, Math.ceil(best.candidate.length / 3))
    ? best.candidate
    : undefined;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(
        Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])),
      );
    }
    row = next;
  }
  return row[b.length]!;
}
