// Puts the peers into tests/.cache/peers: npm packages, a second copy of llama.cpp with only its 128-bit library, and the
// GGUF files. Nothing of this is ever published.
import { writeLanguage, writeTower } from "./gguf_models.ts";

const PACKAGES = [
  "node-llama-cpp@3.22.1",
  "@wllama/wllama@3.8.1",
];

/** Where the peers are. */
export interface Peers {
  /** Folder with the npm packages. */
  full: string;
  /** The same with llama.cpp's 128-bit class only. */
  narrow: string;
  /** GGUF files. */
  q4: string;
  q2: string;
  tower: string;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

async function run(cwd: string, command: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await new Deno.Command(command, { args: [...args], cwd }).output();
  if (code !== 0) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr)}`);
}

/** Installs what is missing. `cache` is the folder to install into. */
export async function installPeers(cache: string): Promise<Peers> {
  const full = `${cache}/peers`, narrow = `${cache}/peers-sse42`;
  const peers = {
    ...{ full, narrow, q4: `${full}/language-q4_0.gguf`, q2: `${full}/language-q2_k.gguf` },
    tower: `${full}/tower-q4_0.gguf`,
  };
  await Deno.mkdir(full, { recursive: true });
  if (!await exists(`${full}/node_modules/node-llama-cpp`)) {
    await Deno.writeTextFile(`${full}/package.json`, '{"private":true}');
    const flags = ["--ignore-scripts", "--no-audit", "--no-fund"];
    await run(full, "npm", ["install", ...flags, ...PACKAGES]);
  }
  if (!await exists(narrow)) {
    await run(cache, "cp", ["-al", full, narrow]);
    const bins = `${narrow}/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64`;
    for await (const { name } of Deno.readDir(bins)) {
      if (name.startsWith("libggml-cpu-") && name !== "libggml-cpu-sse42.so") {
        await Deno.remove(`${bins}/${name}`);
      }
    }
  }
  if (!await exists(peers.q4)) await writeLanguage(peers.q4, false);
  if (!await exists(peers.q2)) await writeLanguage(peers.q2, true);
  if (!await exists(peers.tower)) await writeTower(peers.tower);
  return peers;
}
