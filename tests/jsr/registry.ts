// A JSR registry in memory: takes what `deno publish` uploads and serves it as jsr.io does, as far as Deno asks.
// Protocol: jsr.io/docs/api (package and version metadata, module files, publishing tasks).
import { unpackTar } from "npm:modern-tar@0.8.6";

/** A running registry. */
export interface Registry {
  /** Value for JSR_URL. */
  url: string;
  /** Files of each published version by `@scope/name/version`, then by path. */
  published: Map<string, Map<string, Uint8Array<ArrayBuffer>>>;
  /** Adds a package without uploading it. */
  add(name: string, version: string, files: Map<string, Uint8Array<ArrayBuffer>>): void;
  /** Stops serving. */
  close(): Promise<void>;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `sha256-${digest.toHex()}`;
}

/** Starts a registry on a free port. */
export function startRegistry(): Registry {
  const published: Registry["published"] = new Map();

  const upload = async (request: Request, key: string): Promise<Response> => {
    const bytes = new Uint8Array(await request.arrayBuffer());
    const gzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
    const tar = gzip
      ? new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))
      : new Blob([bytes]).stream();
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    for (const { header, data } of await unpackTar(tar)) {
      if (header.type === "file") {
        files.set(`/${header.name.replace(/^(\.?\/)+/, "")}`, new Uint8Array(data!));
      }
    }
    published.set(key, files);
    return Response.json({ id: "1", status: "success", error: null });
  };

  const versionMeta = async (files: Map<string, Uint8Array<ArrayBuffer>>): Promise<Response> => {
    const manifest: Record<string, { size: number; checksum: string }> = {};
    for (const [path, bytes] of files) {
      manifest[path] = { size: bytes.length, checksum: await sha256(bytes) };
    }
    const { exports } = JSON.parse(new TextDecoder().decode(files.get("/deno.json")));
    return Response.json({ manifest, exports });
  };

  const handle = async (request: Request): Promise<Response> => {
    const path = new URL(request.url).pathname;
    const api = path.match(/^\/api\/scopes\/([^/]+)\/packages\/([^/]+)(?:\/versions\/([^/]+))?$/);
    if (api) {
      const [, scope, name, version] = api;
      if (request.method === "POST") return await upload(request, `@${scope}/${name}/${version}`);
      return version && !published.has(`@${scope}/${name}/${version}`)
        ? Response.json({ code: "packageVersionNotFound", message: "" }, { status: 404 })
        : Response.json({ scope, name });
    }
    if (path.startsWith("/api/publish_status/")) {
      return Response.json({ id: "1", status: "success", error: null });
    }
    const meta = path.match(/^\/(@[^/]+\/[^/]+)\/meta\.json$/);
    if (meta) {
      const versions = [...published.keys()].filter((key) => key.startsWith(`${meta[1]}/`))
        .map((key) => key.split("/")[2]!);
      if (versions.length === 0) return new Response(null, { status: 404 });
      return Response.json({
        latest: versions.at(-1),
        versions: Object.fromEntries(versions.map((version) => [version, {}])),
      });
    }
    const ofVersion = path.match(/^\/(@[^/]+\/[^/]+)\/([^/]+)_meta\.json$/);
    if (ofVersion) {
      const files = published.get(`${ofVersion[1]}/${ofVersion[2]}`);
      return files ? await versionMeta(files) : new Response(null, { status: 404 });
    }
    const file = path.match(/^\/(@[^/]+\/[^/]+\/[^/]+)(\/.+)$/);
    const bytes = file && published.get(file[1]!)?.get(file[2]!);
    if (!bytes) return new Response(null, { status: 404 });
    const type = path.endsWith(".ts") ? "text/typescript" : "application/octet-stream";
    return new Response(bytes, { headers: { "content-type": type } });
  };

  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, handle);
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    published,
    add: (name, version, files) => void published.set(`${name}/${version}`, files),
    close: () => server.shutdown(),
  };
}
