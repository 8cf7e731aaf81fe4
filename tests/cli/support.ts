// Runs the command line in this process with a console made of strings, or as a real process.
import type { Console } from "../../src/cli/console.ts";
import { main } from "../../src/cli/main.ts";
import { testPath } from "../testing/folders.ts";

/** The shipped model. */
export const MODEL: string = testPath("models/pocket-internvl");
/** A picture. */
export const PICTURE: string = testPath("images/chelsea.png");
/** The dev items. */
export const DATA: string = testPath("data/pocketvqa_dev.tsv");
const BIN = testPath("../src/cli/bin.ts");

/** What a command did. */
export interface Outcome {
  code: number;
  out: string;
  err: string;
}

/** What the command finds. */
export interface Surroundings {
  /** Lines on standard input; somebody types them if `terminal`. */
  input?: readonly string[];
  /** Whether everything is a terminal. */
  terminal?: boolean;
  /** Fires before the command starts when already aborted. */
  signal?: AbortSignal;
}

/** Runs a command in this process. */
export async function cli(args: readonly string[], found: Surroundings = {}): Promise<Outcome> {
  const { input = [], terminal = false, signal = new AbortController().signal } = found;
  const lines = [...input];
  const printed = { out: "", err: "" };
  const console: Console = {
    outIsTerminal: terminal,
    errIsTerminal: terminal,
    inIsTerminal: terminal,
    width: 80,
    out: (text) => void (printed.out += text),
    err: (text) => void (printed.err += text),
    readLine: () => Promise.resolve(lines.shift()),
    interrupt: () => signal,
  };
  const code = await main(args, console);
  return { code, ...printed };
}

/** Starts a command as a process of its own with these Deno permissions. */
export function start(
  permissions: readonly string[],
  args: readonly string[],
  cwd?: string,
): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-check", "--quiet", ...permissions, BIN, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
    ...(cwd && { cwd }),
  }).spawn();
}

/** Runs a command as a process of its own to its end. */
export async function spawn(
  permissions: readonly string[],
  args: readonly string[],
  cwd?: string,
): Promise<Outcome> {
  const { code, stdout, stderr } = await start(permissions, args, cwd).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

/** Runs the body with a temporary folder (its real path, as permissions compare them). */
export async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "lobit-cli-" }));
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
