// wllama as a contestant: in a page of headless Chromium. Arguments: its npm folder, a GGUF, threads.
import { serve } from "./child.ts";
import { servePages, startBrowser } from "../../testing/browser.ts";
import { DECODE, PREFILL } from "./sizes.ts";

const [folder, gguf, threads] = Deno.args as [string, string, string];
const page = `<script type="module">
import { Wllama } from "/wllama/index.js";
const wllama = new Wllama({ default: "/wllama/wasm/wllama.wasm" }, { suppressNativeLog: true });
window.ready = (async () => {
  const blob = await (await fetch("/model.gguf")).blob();
  await wllama.loadModel([blob], { n_ctx: 2048, n_batch: 512, n_threads: ${threads} });
  window.wllama = wllama;
})();
</script>`;
const server = servePages((path) => {
  if (path === "/") return { html: page };
  if (path === "/model.gguf") return { file: gguf };
  if (path.startsWith("/wllama/")) return { file: `${folder}/esm/${path.slice(8)}` };
  return undefined;
}, true);
const browser = await startBrowser();
const tab = await browser.newPage();
tab.on("pageerror", (error) => console.error(String(error)));
await tab.goto(server.url);
await tab.waitForFunction("window.ready");
await tab.evaluate("window.ready");

const inPage = (body: string) => async () =>
  await tab.evaluate(`(async () => {${body}})()`) as { count: number; seconds: number };

// Every letter of the prompt is a token: the vocabulary has no merges that apply. The server code inside tells its times.
await serve({
  decode: inPage(`
    const { timings } = await wllama.createCompletion({
      prompt: "c", max_tokens: ${DECODE}, ignore_eos: true, cache_prompt: false, temperature: 0 });
    return { count: timings.predicted_n, seconds: timings.predicted_ms / 1000 };`),
  prefill: inPage(`
    const { timings } = await wllama.createCompletion({
      prompt: "c".repeat(${PREFILL}), max_tokens: 1, cache_prompt: false, temperature: 0 });
    return { count: timings.prompt_n, seconds: timings.prompt_ms / 1000 };`),
});
await browser.close();
await server.stop();
