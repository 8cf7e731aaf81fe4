// A contestant is a process of its own: it prints "ready", then for every line with the name of a test it runs that test
// once and answers with the seconds it took on the clock and on the CPU (all threads together). So that the script that
// compares can let contestants take turns, and a busy machine disturbs all of them alike.
import process from "node:process";

/** What a contestant answers. */
export interface Taken {
  /** Things done: tokens, tiles or multiply-adds. */
  count: number;
  /** Seconds on the clock. */
  seconds: number;
  /** Seconds of CPU, all threads. */
  cpu: number;
}

/** A test: does its work and returns how much it was, and the seconds if only a part of it counts. */
export type Contest = () => Promise<number | { count: number; seconds: number }>;

/** Serves tests until standard input ends. */
export async function serve(tests: Readonly<Record<string, Contest>>): Promise<void> {
  console.log(JSON.stringify({ ready: Object.keys(tests) }));
  const decoder = new TextDecoder();
  let text = "";
  for await (const part of Deno.stdin.readable) {
    text += decoder.decode(part, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      const name = text.slice(0, end);
      text = text.slice(end + 1);
      const before = process.cpuUsage(), start = performance.now();
      const done = await tests[name]!();
      const clock = (performance.now() - start) / 1000;
      const { user, system } = process.cpuUsage(before);
      const cpu = (user + system) / 1e6;
      const [count, seconds] = typeof done === "number"
        ? [done, clock]
        : [done.count, done.seconds];
      // Where only a part counts, its share of the CPU time is taken to be that of the clock.
      const taken: Taken = { count, seconds, cpu: cpu * seconds / clock };
      console.log(JSON.stringify(taken));
    }
  }
}

/** A contestant's process. */
export class Contestant {
  readonly name: string;
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(name: string, child: Deno.ChildProcess) {
    this.name = name;
    this.#child = child;
    this.#lines = linesOf(child.stdout);
    this.#input = child.stdin.getWriter();
  }

  /** Starts a process and waits until it is ready. */
  static async start(
    name: string,
    command: string,
    args: readonly string[],
    cwd?: string,
  ): Promise<Contestant> {
    const child = new Deno.Command(command, {
      args: [...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
      ...(cwd && { cwd }),
    }).spawn();
    const contestant = new Contestant(name, child);
    await contestant.#answer("ready");
    return contestant;
  }

  /** Runs a test once. */
  async run(test: string): Promise<Taken> {
    await this.#input.write(new TextEncoder().encode(`${test}\n`));
    return await this.#answer("seconds") as Taken;
  }

  async #answer(field: string): Promise<unknown> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`${this.name} ended`);
      if (!value.startsWith("{")) continue;
      const parsed = JSON.parse(value);
      if (field in parsed) return parsed;
    }
  }

  /** Ends the process. */
  async stop(): Promise<void> {
    await this.#input.close().catch(() => {});
    const ended = await Promise.race([
      this.#child.status.then(() => true),
      new Promise((resolve) => setTimeout(resolve, 3000)),
    ]);
    if (!ended) this.#child.kill();
    await this.#child.status;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let text = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream() as never)) {
    text += part;
    const lines = text.split("\n");
    text = lines.pop()!;
    yield* lines;
  }
}
