// The command line: finds the verb, checks its arguments, turns errors into sentences and exit codes.
import { badRequest, LobitError } from "../base/errors.ts";
import { bench } from "./bench.ts";
import type { Console } from "./console.ts";
import { demo } from "./demo.ts";
import { evaluateVerb } from "./eval.ts";
import { exportVerb } from "./export.ts";
import { COMMON_FLAGS, nearest, readArguments } from "./flags.ts";
import { helpJson, overview, verbHelp } from "./help.ts";
import { inspect } from "./inspect.ts";
import { quantize } from "./quantize.ts";
import { run } from "./run.ts";
import type { Verb } from "./verb.ts";
import { VERSION } from "./version.ts";

/** All verbs, in the order of the overview. */
export const VERBS: readonly Verb[] = [
  quantize,
  run,
  evaluateVerb,
  inspect,
  exportVerb,
  bench,
  demo,
];

const DONE = 0;
const FAILED = 1;
const USAGE = 2;
const INTERRUPTED = 130;

/** Runs the command line; never throws. Returns the exit code. */
export async function main(args: readonly string[], console: Console): Promise<number> {
  const json = asksFor(args, "--json");
  try {
    const value = await dispatch(args, console, json);
    if (json) console.out(`${JSON.stringify(value)}\n`);
    return DONE;
  } catch (error) {
    return report(error, console, json);
  }
}

/** Whether a switch is there before the flags are parsed: wrong usage, too, is answered in JSON, and help always. */
function asksFor(args: readonly string[], ...flags: string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end < 0 ? args.length : end).some((arg) => flags.includes(arg));
}

/** Runs a verb or prints help; the result is what `--json` prints. */
async function dispatch(
  args: readonly string[],
  console: Console,
  json: boolean,
): Promise<unknown> {
  const say = json ? () => {} : (text: string) => console.out(text);
  const [first, ...rest] = args.filter((arg, i) => i > 0 || arg !== "--json");
  if (first === undefined) {
    if (!json) console.err(overview(VERBS));
    throw badRequest("A verb is missing; see above for those there are.");
  }
  if (first === "--version" || first === "-V") {
    say(`lobit ${VERSION}\n`);
    return { version: VERSION };
  }
  const asked = first === "help" || first === "--help" || first === "-h";
  const [topic] = rest.filter((arg) => arg !== "--json");
  if (asked && topic === undefined) {
    say(overview(VERBS));
    return { version: VERSION, verbs: VERBS.map(helpJson) };
  }
  const verb = findVerb(asked ? topic! : first);
  // Help answers even if other arguments are missing or wrong.
  if (asked || asksFor(rest, "--help", "-h")) {
    say(verbHelp(verb));
    return helpJson(verb);
  }
  const read = readArguments([...verb.flags, ...COMMON_FLAGS], rest);
  checkPositional(verb, read.positional);
  return await verb.run({ args: read, console, say });
}

function findVerb(name: string): Verb {
  const verb = VERBS.find((verb) => verb.name === name);
  if (verb) return verb;
  const names = VERBS.map(({ name }) => name);
  const near = nearest(name, names);
  throw badRequest(
    `There is no verb "${name}"${near ? ` (did you mean ${near}?)` : ""}; known are: ` +
      `${names.join(", ")}, help.`,
  );
}

function checkPositional(
  { name, usage, positional: [least, most] }: Verb,
  found: readonly string[],
): void {
  if (found.length >= least && found.length <= most) return;
  const wanted = least === most ? String(least) : `${least} to ${most}`;
  const quotes = found.length > most ? ` What has spaces needs "quotes".` : "";
  throw badRequest(
    `Expected ${wanted} arguments, found ${found.length}: lobit ${name} ${usage}.${quotes} ` +
      `See lobit ${name} --help.`,
  );
}

/** Tells the user what went wrong. */
function report(error: unknown, console: Console, json: boolean): number {
  if (error instanceof LobitError) {
    if (json) console.out(`${JSON.stringify({ error: describe(error.code, error.message) })}\n`);
    console.err(`lobit: ${error.message}\n`);
    return error.code === "bad-request" ? USAGE : error.code === "aborted" ? INTERRUPTED : FAILED;
  }
  if (
    error instanceof RangeError && /allocation|invalid (typed )?array length/i.test(error.message)
  ) {
    const memory =
      "The machine has too little memory for this; close other programs or use a smaller model.";
    return report(new LobitError("no-memory", memory, { cause: error }), console, json);
  }
  const stack = error instanceof Error ? error.stack ?? String(error) : String(error);
  if (json) console.out(`${JSON.stringify({ error: describe("internal", String(error)) })}\n`);
  console.err(`lobit: This is a bug in lobit ${VERSION}; please report it with these lines.\n`);
  console.err(`${stack}\n`);
  return FAILED;
}

function describe(code: string, message: string): { code: string; message: string } {
  return { code, message };
}
