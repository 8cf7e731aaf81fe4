// Logits of a fixed conversation with a picture, as raw f32: prefill and three decoded tokens. Run on two machines, the
// bytes can be compared. Usage: logits.ts FILE.lobit OUT BUILD THREADS
import { decodeImage, loadModel } from "../../mod.ts";
import { runJobs } from "../../src/generate/decode_loop.ts";
import { buildRequest } from "../../src/generate/request.ts";
import type { Build } from "../../wasm/mod.ts";

const [file, out, build, threads] = Deno.args;
const picture = new URL("../images/chelsea.png", import.meta.url);
const model = await loadModel(file!, { build: build as Build, threads: Number(threads) });
try {
  const request = buildRequest(
    model.open.assets,
    model.vlm.input,
    [{ role: "user", content: "What is in the picture?" }],
    [decodeImage(await Deno.readFile(picture), "chelsea.png")],
    { maxTiles: 1 },
  );
  const steps: Uint8Array<ArrayBuffer>[] = [];
  await runJobs(model, [{
    request,
    maxTokens: 4,
    choose(logits) {
      steps.push(new Uint8Array(new Float32Array(logits).buffer));
      return logits.indexOf(Math.max(...logits));
    },
    accept: () => steps.length === 4,
  }]);
  await Deno.writeFile(out!, new Uint8Array(await new Blob(steps).arrayBuffer()));
} finally {
  model.close();
}
