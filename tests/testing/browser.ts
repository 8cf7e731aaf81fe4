// A headless Chromium and a page server for what runs only in browsers. Pages are cross-origin isolated if asked, so
// that they may use threads.
import { type Browser, chromium } from "npm:playwright-core@1.65.1";

/** Where Debian puts Chromium. */
export const CHROMIUM = "/usr/bin/chromium";

/** What a server answers: a file's path, or a page's text. */
export type Route = (path: string) => { file: string } | { html: string } | undefined;

const TYPES: Record<string, string> = {
  js: "text/javascript",
  mjs: "text/javascript",
  wasm: "application/wasm",
  json: "application/json",
};

/** Serves on a free port of this machine. */
export function servePages(
  route: Route,
  isolated: boolean,
): { url: string; stop(): Promise<void> } {
  const headers = new Headers(
    isolated
      ? {
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-resource-policy": "same-origin",
      }
      : {},
  );
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const found = route(new URL(request.url).pathname);
    const all = new Headers(headers);
    if (!found) return new Response("not here", { status: 404, headers: all });
    if ("html" in found) {
      all.set("content-type", "text/html");
      return new Response(found.html, { headers: all });
    }
    const { size } = await Deno.stat(found.file);
    all.set("content-type", TYPES[found.file.split(".").at(-1)!] ?? "application/octet-stream");
    all.set("content-length", String(size));
    return new Response((await Deno.open(found.file)).readable, { headers: all });
  });
  const url = `http://localhost:${server.addr.port}`;
  return { url, stop: () => server.shutdown() };
}

/** Starts Chromium without a window. */
export async function startBrowser(): Promise<Browser> {
  return await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
}
