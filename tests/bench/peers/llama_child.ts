// Native llama.cpp as a contestant, through node-llama-cpp. Which library for the CPU it uses depends on the folder that
// it was installed in. Runs with that folder's node_modules. Arguments: folder, GGUF of the language, of the tower, threads.
import { type Contest, serve } from "./child.ts";
import { DECODE, PREFILL, TOWER } from "./sizes.ts";

const [folder, language, tower, threadsText] = Deno.args as [string, string, string, string];
const threads = Number(threadsText);

interface Sequence {
  clearHistory(): Promise<void>;
  evaluate(tokens: number[], options: object): AsyncGenerator<number>;
  evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
}

interface Llama {
  systemInfo: string;
  loadModel(options: object): Promise<{
    createContext(options: object): Promise<{ getSequence(): Sequence }>;
    createEmbeddingContext(
      options: object,
    ): Promise<{ getEmbeddingFor(tokens: number[]): Promise<unknown> }>;
  }>;
}

const { getLlama } = await import(`${folder}/node_modules/node-llama-cpp/dist/index.js`) as {
  getLlama(options: object): Promise<Llama>;
};
const llama = await getLlama({
  ...{ build: "never", gpu: false, logLevel: "error", maxThreads: threads, skipDownload: true },
});
console.error(`llama.cpp in ${folder}: ${llama.systemInfo}`);
const model = await llama.loadModel({ modelPath: language, gpuLayers: 0 });
const context = await model.createContext({
  ...{ contextSize: 2048, batchSize: 512, threads: { ideal: threads, min: threads } },
});
const sequence = context.getSequence();
const tests: Record<string, Contest> = {
  async decode() {
    await sequence.clearHistory();
    let count = 0, start = 0;
    for await (const _ of sequence.evaluate([400], { temperature: 0 })) {
      // The first token ends the prefill.
      if (count === 0) start = performance.now();
      if (count++ >= DECODE) break;
    }
    return { count: count - 1, seconds: (performance.now() - start) / 1000 };
  },
  async prefill() {
    await sequence.clearHistory();
    const tokens = Array.from({ length: PREFILL }, (_, i) => 400 + i * 97 % 100_000);
    await sequence.evaluateWithoutGeneratingNewTokens(tokens);
    return PREFILL;
  },
};
if (tower !== "-") {
  const vision = await llama.loadModel({ modelPath: tower, gpuLayers: 0 });
  const encoder = await vision.createEmbeddingContext({
    ...{
      contextSize: TOWER + 31,
      batchSize: TOWER + 31,
      threads: { ideal: threads, min: threads },
    },
  });
  tests["vision"] = async () => {
    // Tokens differ from call to call, so that nothing can be reused.
    const shift = Math.floor(performance.now()) % 500;
    await encoder.getEmbeddingFor(Array.from({ length: TOWER }, (_, i) => 10 + (i + shift) % 900));
    return 1;
  };
}
await serve(tests);
