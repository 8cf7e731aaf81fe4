// Starts and stops the worker threads. After start they never exchange messages: jobs go through the shared memory.
import { LobitError } from "../src/base/errors.ts";
import { DONE, FAILED, GO, STOP } from "./abi.ts";
import { WORKER_SOURCE } from "./worker.ts";

/** What the hosts' worker objects have in common. */
interface Thread {
  post(message: unknown): void;
  terminate(): void;
}

interface Message {
  ready?: boolean;
  stopped?: boolean;
  error?: string;
}

interface NodeWorker {
  postMessage(message: unknown): void;
  terminate(): void;
  unref(): void;
  on(event: string, listener: (value: unknown) => void): void;
}

interface NodeProcess {
  getBuiltinModule?(name: string): {
    Worker: new (source: string, options: object) => NodeWorker;
  };
}

function startThread(
  onMessage: (message: Message) => void,
  onError: (error: string) => void,
): Thread {
  const host = globalThis as { Deno?: unknown; process?: NodeProcess };
  if (host.Deno === undefined && host.process?.getBuiltinModule) {
    const { Worker } = host.process.getBuiltinModule("node:worker_threads");
    const worker = new Worker(WORKER_SOURCE, { eval: true, execArgv: [] });
    worker.on("message", (message) => {
      // Until the first word arrives the thread must keep the process alive: nothing else does.
      worker.unref();
      onMessage(message as Message);
    });
    worker.on("error", (error) => onError(String(error)));
    return { post: (message) => worker.postMessage(message), terminate: () => worker.terminate() };
  }
  const url = URL.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  worker.onmessage = (event: MessageEvent<Message>) => onMessage(event.data);
  worker.onerror = (event) => {
    event.preventDefault();
    onError(event.message);
  };
  return {
    post: (message) => worker.postMessage(message),
    terminate: () => {
      worker.terminate();
      URL.revokeObjectURL(url);
    },
  };
}

/** The engine's worker threads. */
export class Pool {
  readonly #threads: Thread[];
  readonly #words: Int32Array;
  #failure: string | undefined;

  private constructor(threads: Thread[], words: Int32Array) {
    this.#threads = threads;
    this.#words = words;
  }

  /** Number of workers; the caller's own thread comes on top. */
  get size(): number {
    return this.#threads.length;
  }

  /** What a worker died of, if one did. */
  get failure(): string | undefined {
    return this.#failure ??
      (Atomics.load(this.#words, FAILED >> 2) ? "a worker trapped" : undefined);
  }

  /** Starts `count` workers and waits until each has the kernels. Throws `internal` if one cannot start. */
  static async start(
    count: number,
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
  ): Promise<Pool> {
    const threads: Thread[] = [];
    const pool = new Pool(threads, new Int32Array(memory.buffer));
    try {
      await Promise.all(
        Array.from({ length: count }, (_, i) =>
          new Promise<void>((resolve, reject) => {
            const fail = (error: string) => {
              pool.#failure = error;
              reject(
                new LobitError("internal", `A worker thread could not run the kernels: ${error}`),
              );
            };
            const thread = startThread((message) => {
              if (message.ready) resolve();
              if (message.error) fail(message.error);
            }, fail);
            threads.push(thread);
            thread.post({ module, memory, thread: i + 1, failed: FAILED, done: DONE });
          })),
      );
    } catch (error) {
      pool.stop();
      throw error;
    }
    return pool;
  }

  /** Asks the workers to leave their loop and ends them. */
  stop(): void {
    Atomics.store(this.#words, STOP >> 2, 1);
    Atomics.add(this.#words, GO >> 2, 1);
    Atomics.notify(this.#words, GO >> 2);
    for (const thread of this.#threads) thread.terminate();
    this.#threads.length = 0;
  }
}
