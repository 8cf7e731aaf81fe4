// What a verb of the command line is, and what it is given to work with.
import type { EngineOptions } from "../../wasm/mod.ts";
import { badRequest } from "../base/errors.ts";
import type { LoadOptions } from "../generate/model.ts";
import type { Console } from "./console.ts";
import type { Arguments, Flag } from "./flags.ts";

/** What a running verb has. */
export interface Context {
  /** Checked flags and positional arguments. */
  readonly args: Arguments;
  /** The terminal or pipes. */
  readonly console: Console;
  /** Prints to standard output, unless `--json` was given. */
  say(text: string): void;
}

/** One verb. */
export interface Verb {
  /** The word on the command line. */
  readonly name: string;
  /** One line for the overview. */
  readonly summary: string;
  /** Arguments, e.g. `MODEL -o FILE`. */
  readonly usage: string;
  /** Its own flags; the common ones come on top. */
  readonly flags: readonly Flag[];
  /** Fewest and most positional arguments. */
  readonly positional: readonly [number, number];
  /** Commands and what they do, which is how the help teaches. */
  readonly examples: readonly (readonly [string, string])[];
  /** Does the work; the result is what `--json` prints. */
  run(context: Context): Promise<unknown>;
}

/** Engine options from `--threads` and `--max-memory`. */
export function engineOptions(args: Arguments): EngineOptions {
  const threads = args.integer("threads", 1);
  const maxMemory = args.bytes("max-memory");
  return {
    ...(threads !== undefined && { threads }),
    ...(maxMemory !== undefined && { maxMemory }),
  };
}

/** How to load a model, from `--threads`, `--max-memory`, `--activations` and `--kv`. */
export function loadOptions(args: Arguments): LoadOptions {
  const activations = args.text("activations") as LoadOptions["activations"];
  const kvCache = args.text("kv") as LoadOptions["kvCache"];
  return {
    ...engineOptions(args),
    ...(activations && { activations }),
    ...(kvCache && { kvCache }),
  };
}

/** The value of a flag that must be given. */
export function required(args: Arguments, flag: string, hint: string): string {
  const value = args.text(flag);
  if (value === undefined) throw badRequest(`--${flag} is missing: ${hint}`);
  return value;
}
