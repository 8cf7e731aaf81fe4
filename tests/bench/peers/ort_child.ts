// onnxruntime-web as a contestant: 4-bit products on its WebAssembly build, one thread (Deno has no classic workers,
// which its threads need).
import { type Contest, serve } from "./child.ts";
import { matMul4Bits } from "./onnx.ts";

interface Session {
  run(feeds: Record<string, unknown>): Promise<unknown>;
}

interface Ort {
  env: { wasm: { numThreads: number } };
  InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> };
  Tensor: new (type: string, data: Float32Array, shape: number[]) => unknown;
}

// Not a literal, so that checking the repository does not download it.
const specifier = ["npm", "onnxruntime-web@1.30.0"].join(":");
const ort = await import(specifier) as Ort;
ort.env.wasm.numThreads = 1;

async function product(
  tokens: number,
  rows: number,
  columns: number,
  repeats: number,
): Promise<Contest> {
  const session = await ort.InferenceSession.create(matMul4Bits(tokens, rows, columns), {
    executionProviders: ["wasm"],
  });
  const x = new ort.Tensor("float32", new Float32Array(tokens * columns).fill(0.5), [
    tokens,
    columns,
  ]);
  return async () => {
    for (let i = 0; i < repeats; i++) await session.run({ x });
    return tokens * rows * columns * repeats;
  };
}

await serve({
  "matvec 4864x896": await product(1, 4864, 896, 3),
  "matvec 896x4864": await product(1, 896, 4864, 3),
  "matmul 4864x896": await product(128, 4864, 896, 1),
});
