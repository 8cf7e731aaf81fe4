// How long the first tokens take in a fresh process, with and without V8's baseline compiler and with a warm-up: each mode
// in processes of its own, in turns. `deno run -A tests/bench/first_token.ts [rounds]` prints medians.
import process from "node:process";
import { summarize } from "../../src/bench/measure.ts";
import { SyntheticStore } from "../../src/bench/synthetic.ts";
import { fitFormat, layoutOf, parseFormat } from "../../src/formats/mod.ts";
import { runJobs } from "../../src/generate/decode_loop.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { Infer } from "../../src/ops/infer.ts";
import { Engine, warmUp } from "../../wasm/mod.ts";

/** A fifth of InternVL3-1B: its widths, few blocks and words. */
const CONFIG = {
  model_type: "internvl",
  image_token_id: 9,
  vision_config: {
    hidden_size: 128,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 128,
  },
  text_config: {
    ...{ model_type: "qwen2", hidden_size: 896, num_hidden_layers: 6, num_attention_heads: 14 },
    ...{ num_key_value_heads: 2, intermediate_size: 4864, vocab_size: 8192 },
    ...{ max_position_embeddings: 2048, tie_word_embeddings: false },
  },
};
const FORMATS = ["w2g16q16", "s4g32"];

async function measure(warm: boolean): Promise<number[]> {
  const engine = await Engine.create({ threads: 1 });
  const architecture = readArchitecture(CONFIG, "first token");
  const store = new SyntheticStore(
    engine.memory,
    (name) => parseFormat(/embed_tokens|lm_head/.test(name) ? FORMATS[1]! : FORMATS[0]!),
  );
  const vlm = await architecture.load(store);
  const model = { engine, vlm, ops: new Infer(engine, { exact: true }) };
  const cpu = () => process.cpuUsage().user / 1000;
  const spent = [cpu()];
  const layouts = FORMATS.map(parseFormat).map((f) => layoutOf(fitFormat(f, 256, 512), 256, 512));
  if (warm) warmUp(engine, layouts);
  const marks = [performance.now()];
  spent.push(cpu());
  let count = 0;
  await runJobs(model, [{
    request: {
      prompt: { ids: Int32Array.from({ length: 64 }, (_, i) => i), images: [] },
      images: [],
    },
    maxTokens: 64,
    choose: () => 5,
    accept() {
      marks.push(performance.now());
      return ++count >= 64;
    },
  }]);
  engine.close();
  // Prompt, first 8 tokens, last 8 tokens on the clock; CPU time of the warm-up and of everything after it.
  const at = (token: number) => marks[token]!;
  return [
    at(1) - at(0),
    (at(9) - at(1)) / 8,
    (at(64) - at(56)) / 8,
    spent[1]! - spent[0]!,
    cpu() - spent[1]!,
  ];
}

if (Deno.args[0] === "--measure") {
  console.log(JSON.stringify(await measure(Deno.args[1] === "warm")));
} else {
  const modes = [["liftoff first", "", "cold"], ["liftoff first, warm-up", "", "warm"], [
    "--no-liftoff",
    "--v8-flags=--no-liftoff",
    "cold",
  ]] as const;
  const results = modes.map((): number[][] => []);
  for (let round = 0; round < Number(Deno.args[0] ?? 7); round++) {
    for (const [i, [, flag, mode]] of modes.entries()) {
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", ...(flag ? [flag] : []), import.meta.filename!, "--measure", mode],
      }).output();
      results[i]!.push(JSON.parse(new TextDecoder().decode(stdout)));
    }
  }
  console.log(
    "| | prompt of 64, ms | a token of the first 8 | of the last 8 | warm-up, CPU ms | the rest, CPU ms |",
  );
  console.log("|---|---:|---:|---:|---:|---:|");
  modes.forEach(([name], i) => {
    const cells = [0, 1, 2, 3, 4].map((column) => {
      const { median, deviation } = summarize(results[i]!.map((row) => row[column]!));
      return `${median.toFixed(1)} ± ${deviation.toFixed(1)}`;
    });
    console.log(`| ${name} | ${cells.join(" | ")} |`);
  });
}
