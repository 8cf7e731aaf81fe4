// The library as one bundle in a worker of a headless Chromium: on a cross-origin isolated page with two threads, on an
// ordinary page with one, and its answers are those of Deno. Skipped where there is no Chromium.
import { assert, assertEquals } from "@std/assert";
import { decodeImage, generate, loadModel, quantize } from "../../mod.ts";
import { CHROMIUM, servePages, startBrowser } from "../testing/browser.ts";
import { testPath } from "../testing/folders.ts";

const QUESTION = "What is in the picture?";
const PICTURE = testPath("images/coffee.png");

/** Runs in the worker. */
const WORKER = `
import { blobSource, decodeImage, generate, loadModel, openPacked } from "/lobit.js";
onmessage = async ({ data: { threads, question } }) => {
  try {
    const get = async (path) => await (await fetch(path)).blob();
    const open = await openPacked(blobSource(await get("/pocket.lobit"), "pocket.lobit"));
    const model = await loadModel(open, { threads });
    const bytes = new Uint8Array(await (await get("/picture.png")).arrayBuffer());
    const picture = decodeImage(bytes, "picture.png");
    const messages = [{ role: "user", content: question }];
    const { text, ids } = await generate(model, messages, [picture], { maxTokens: 16 });
    const used = model.engine.threads;
    model.close();
    postMessage({ text, ids, threads: used, isolated: crossOriginIsolated });
  } catch (error) {
    postMessage({ error: String(error && error.stack || error) });
  }
};
`;

const PAGE = `<script>
window.ask = (threads, question) => new Promise((resolve) => {
  const worker = new Worker("/worker.js", { type: "module" });
  worker.onmessage = ({ data }) => { worker.terminate(); resolve(data); };
  worker.onerror = ({ message }) => resolve({ error: message });
  worker.postMessage({ threads, question });
});
</script>`;

interface Reply {
  text: string;
  ids: number[];
  threads: number;
  isolated: boolean;
  error?: string;
}

async function hasChromium(): Promise<boolean> {
  if (await Deno.stat(CHROMIUM).then(() => true, () => false)) return true;
  console.log(`skipped: there is no Chromium at ${CHROMIUM} (Debian: apt-get install chromium)`);
  return false;
}

Deno.test({
  name: "A bundle answers in Chromium as in Deno, isolated on two threads and otherwise on one",
  ignore: !await hasChromium(),
  // The browser's process and its pipes belong to playwright.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "lobit-browser-" });
    const browser = await startBrowser();
    try {
      const file = `${folder}/pocket.lobit`;
      await quantize(testPath("models/pocket-internvl"), file, { bits: 4, threads: 1 });
      const bundle = await new Deno.Command(Deno.execPath(), {
        args: ["bundle", "--quiet", "--platform", "browser", "-o", `${folder}/lobit.js`, "mod.ts"],
        cwd: testPath(".."),
        env: { NO_COLOR: "1" },
      }).output();
      assertEquals(bundle.code, 0, new TextDecoder().decode(bundle.stderr));
      await Deno.writeTextFile(`${folder}/worker.js`, WORKER);

      const model = await loadModel(file, { threads: 1 });
      const picture = decodeImage(await Deno.readFile(PICTURE), "picture.png");
      const messages = [{ role: "user" as const, content: QUESTION }];
      const wanted = await generate(model, messages, [picture], { maxTokens: 16 });
      model.close();
      assert(wanted.ids.length > 0);

      for (const isolated of [true, false]) {
        const server = servePages((path) => {
          if (path === "/") return { html: PAGE };
          if (path === "/picture.png") return { file: PICTURE };
          const known = ["/pocket.lobit", "/lobit.js", "/worker.js"].includes(path);
          return known ? { file: folder + path } : undefined;
        }, isolated);
        try {
          const page = await browser.newPage();
          await page.goto(server.url);
          const ask = `ask(2, ${JSON.stringify(QUESTION)})`;
          const reply = await page.evaluate(ask) as Reply;
          assertEquals(reply, {
            ...{ text: wanted.text, ids: [...wanted.ids] },
            ...{ threads: isolated ? 2 : 1, isolated },
          });
          await page.close();
        } finally {
          await server.stop();
        }
      }
    } finally {
      await browser.close();
      await Deno.remove(folder, { recursive: true });
    }
  },
});
