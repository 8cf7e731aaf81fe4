// Runs that are killed and resumed: what they work on, and a process of its own that is killed at some moment.
import { openChatData } from "../../src/data/files.ts";
import { openFolder, type OpenModel, openModel } from "../../src/models/open.ts";
import type { QuantizeOptions } from "../../src/recipe/quantize.ts";
import { testPath } from "../testing/folders.ts";
import { tinyChat } from "../testing/tiny_data.ts";
import { tinyFolder } from "../testing/tiny_model.ts";

const TINY = tinyFolder();
const TINY_DATA = tinyChat(6);

/** A model and everything about a run but its recipe. */
export async function resumeOptions(
  model: "tiny" | "pocket",
): Promise<{ open: OpenModel; options: Partial<QuantizeOptions> }> {
  if (model === "tiny") {
    const options = { threads: 1, data: TINY_DATA, calibrationItems: 4, seed: 5, saveEvery: 2 };
    return { open: await openFolder(TINY), options };
  }
  const data = openChatData(testPath("data/calib/calib.jsonl")).items.slice(0, 8);
  const options = { threads: 2, data, calibrationItems: 4, saveEvery: 1 };
  return { open: await openModel(testPath("models/pocket-internvl")), options };
}

/** Starts the run as a process and kills it once it has said so often that it is in a stage; whether it was killed. */
export async function killedRun(
  args: readonly string[],
  stage: number,
  times: number,
): Promise<boolean> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", testPath("recipe/quantize_child.ts"), ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let seen = 0;
  let rest = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    seen += lines.filter((line) => line === String(stage)).length;
    if (seen < times) continue;
    try {
      child.kill("SIGKILL");
    } catch {
      // It has just ended by itself.
    }
    break;
  }
  const { signal, code } = await child.status;
  if (signal !== "SIGKILL" && code !== 0) throw new Error(`the run failed with code ${code}`);
  return signal === "SIGKILL";
}
