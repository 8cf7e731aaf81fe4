// What JSR users get: the package is published to a registry in memory and imported from there, with no permission.
import { assert, assertEquals } from "@std/assert";
import { startRegistry } from "./registry.ts";

const root = new URL("../../", import.meta.url);

interface Result {
  code: number;
  text: string;
}

async function deno(args: string[], cwd: string, env: Record<string, string>): Promise<Result> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    signal: AbortSignal.timeout(120_000),
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, text: (decode(stdout) + decode(stderr)).trim() };
}

async function copyTree(from: URL, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyTree(new URL(`${name}/`, from), `${to}/${name}`);
    else await Deno.copyFile(new URL(name, from), `${to}/${name}`);
  }
}

Deno.test("The package published on JSR runs from there", async (test) => {
  const folder = await Deno.makeTempDir({ prefix: "lobit-jsr-" });
  const registry = startRegistry();
  try {
    // A copy, so that publishing cannot touch the clone, and a cache of its own, so that no earlier run is reused;
    // npm packages are taken from the cache that the tests use anyway.
    const clone = `${folder}/clone`;
    for (const name of ["src", "wasm", "tests/std"]) {
      await copyTree(new URL(`${name}/`, root), `${clone}/${name}`);
    }
    for (const name of ["deno.json", "mod.ts", "README.md", "LICENSE"]) {
      await Deno.copyFile(new URL(name, root), `${clone}/${name}`);
    }
    const { version, exports } = JSON.parse(await Deno.readTextFile(`${clone}/deno.json`));
    const info = await deno(["info", "--json"], folder, {});
    const { npmCache } = JSON.parse(info.text) as { npmCache: string };
    await Deno.mkdir(`${folder}/cache`);
    await Deno.symlink(npmCache, `${folder}/cache/npm`);
    const env = { JSR_URL: registry.url, DENO_DIR: `${folder}/cache` };

    await test.step("publishing succeeds and uploads the sources", async () => {
      const { code, text } = await deno(
        ["publish", "--allow-dirty", "--no-provenance", "--token", "none"],
        clone,
        env,
      );
      assertEquals(code, 0, text);
      const paths = [...registry.published.get(`@lobit/lobit/${version}`)?.keys() ?? []];
      for (const path of Object.values(exports as Record<string, string>)) {
        assert(paths.includes(path.slice(1)), `${path} is missing among ${paths.join(", ")}`);
      }
      assert(!paths.includes("/wasm/build.ts"), "the kernel build was published");
    });

    // The published command line asks for @std/cli, which the clone takes from tests/std.
    const std = new Map<string, Uint8Array<ArrayBuffer>>();
    for await (const { name } of Deno.readDir(new URL("tests/std/cli/", root))) {
      std.set(`/${name}`, await Deno.readFile(new URL(`tests/std/cli/${name}`, root)));
    }
    registry.add("@std/cli", "1.0.99", std);

    await test.step("kernels on two threads need no permission", async () => {
      await Deno.writeTextFile(
        `${folder}/use.ts`,
        `import * as lobit from "jsr:@lobit/lobit@${version}";
         import * as formats from "jsr:@lobit/lobit@${version}/formats";
         import { Engine, kernels } from "jsr:@lobit/lobit@${version}/kernels";
         const engine = await Engine.create({ threads: 2 });
         const x = engine.memory.allocate(16 * 100);
         engine.memory.f32(x, 400).fill(1);
         kernels.rmsNorm(engine, x, x, x, 100, 4, 0);
         console.log(engine.threads, engine.memory.f32(x, 400).every((v) => v === 1),
           Object.keys(lobit).length > 0, Object.keys(formats).length > 0);
         engine.close();`,
      );
      const { code, text } = await deno(
        ["run", "--no-prompt", "--no-config", "--quiet", "use.ts"],
        folder,
        env,
      );
      assertEquals({ code, text }, { code: 0, text: "2 true true true" });
    });

    await test.step("the command line starts", async () => {
      const { code, text } = await deno(
        ["run", "--no-prompt", "--quiet", `jsr:@lobit/lobit@${version}/cli`, "--version"],
        folder,
        env,
      );
      assertEquals(code, 0, text);
      assert(text.includes(version), text);
    });
  } finally {
    await registry.close();
    await Deno.remove(folder, { recursive: true });
  }
});
