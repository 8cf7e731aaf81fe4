// The terminal or pipes that a command talks to, reached through node:process as Deno and Node both offer it. Commands
// get it as an object, so that tests can hand them another one.
import type * as NodeProcess from "node:process";

/** What a command reads from and prints to. */
export interface Console {
  /** Whether standard output is a terminal. */
  readonly outIsTerminal: boolean;
  /** Whether standard error, where progress goes, is a terminal. */
  readonly errIsTerminal: boolean;
  /** Whether somebody types on standard input. */
  readonly inIsTerminal: boolean;
  /** Columns of the terminal; 80 when piped. */
  readonly width: number;
  /** Prints to standard output, without a line end of its own. */
  out(text: string): void;
  /** Prints to standard error, without a line end of its own. */
  err(text: string): void;
  /** The next line of standard input without its end; nothing at the end of the input or when the signal fires. */
  readLine(signal: AbortSignal): Promise<string | undefined>;
  /** A signal that fires at the next Ctrl-C. A second Ctrl-C, before a new signal is asked for, ends the process. */
  interrupt(): AbortSignal;
}

/** A console over the host's process. `close` lets the process end. */
export interface HostConsole extends Console {
  /** Arguments after the program's name. */
  readonly args: readonly string[];
  /** Sets the exit code and stops listening. */
  close(code: number): void;
}

const INTERRUPTED = 130;
const BROKEN_PIPE = "EPIPE";

/** The console of the running process. */
export function hostConsole(): HostConsole {
  const { process } = globalThis as unknown as { process: typeof NodeProcess };
  const { stdin, stdout, stderr } = process;
  let controller = new AbortController();
  const onInterrupt = () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED);
    controller.abort();
  };
  process.on("SIGINT", onInterrupt);
  // Whoever reads our output may stop early (`| head`): that is no error.
  const onError = (error: { code?: string }) => {
    if (error.code !== BROKEN_PIPE) throw error;
    process.exit(0);
  };
  stdout.on("error", onError);
  stderr.on("error", onError);
  const lines = lineReader(() => stdin);
  return {
    args: process.argv.slice(2),
    outIsTerminal: stdout.isTTY === true,
    errIsTerminal: stderr.isTTY === true,
    inIsTerminal: stdin.isTTY === true,
    width: stderr.columns || 80,
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    readLine: lines.next,
    interrupt() {
      controller = new AbortController();
      return controller.signal;
    },
    close(code) {
      process.removeListener("SIGINT", onInterrupt);
      process.exitCode = code;
      // A terminal's pending read would keep the process alive even when its stream is destroyed; what was written goes
      // out first.
      if (lines.opened()) stdout.write("", () => process.exit(code));
    },
  };
}

/** Cuts a stream of bytes into lines. The stream is not touched before the first line is asked for. */
function lineReader(open: () => AsyncIterable<Uint8Array>): {
  next(signal: AbortSignal): Promise<string | undefined>;
  opened(): boolean;
} {
  const decoder = new TextDecoder();
  let chunks: AsyncIterator<Uint8Array> | undefined;
  let waiting: Promise<IteratorResult<Uint8Array>> | undefined;
  let text = "";
  let ended = false;
  return {
    async next(signal) {
      chunks ??= open()[Symbol.asyncIterator]();
      while (!ended && !text.includes("\n")) {
        // A read that a signal cut off is still under way: the next call waits for the same one.
        waiting ??= chunks.next();
        const chunk = await raceSignal(waiting, signal);
        if (chunk === undefined) return undefined;
        waiting = undefined;
        ended = chunk.done === true;
        text += ended ? decoder.decode() : decoder.decode(chunk.value, { stream: true });
      }
      if (text === "") return undefined;
      const found = text.indexOf("\n");
      const end = found < 0 ? text.length : found;
      const line = text.slice(0, end);
      text = text.slice(end + 1);
      return line.endsWith("\r") ? line.slice(0, -1) : line;
    },
    opened: () => chunks !== undefined,
  };
}

async function raceSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  let stop = () => {};
  const stopped = new Promise<undefined>((resolve) => {
    stop = () => resolve(undefined);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
