// The worker's source as a string, so that it needs no file, no permission and no rewriting by bundlers. It runs as a
// Blob module worker (Deno, browsers) or an eval worker thread (Node).

/** Source of a worker: instantiates the kernels on the shared memory and stays in their loop until told to stop. */
export const WORKER_SOURCE: string = `
const node = globalThis.Deno || typeof process !== "object" || !process.getBuiltinModule
  ? null : process.getBuiltinModule("node:worker_threads");
const listen = node ? (f) => node.parentPort.on("message", f) : (f) => { globalThis.onmessage = (e) => f(e.data); };
const post = node ? (m) => node.parentPort.postMessage(m) : (m) => globalThis.postMessage(m);
listen(({ module, memory, thread, failed, done }) => {
  const words = new Int32Array(memory.buffer);
  try {
    const instance = new WebAssembly.Instance(module, { env: { memory } });
    post({ ready: true });
    instance.exports.worker(thread);
    post({ stopped: true });
  } catch (error) {
    Atomics.store(words, failed >> 2, 1);
    Atomics.notify(words, done >> 2);
    post({ error: String(error && error.stack || error) });
  }
});
`;
