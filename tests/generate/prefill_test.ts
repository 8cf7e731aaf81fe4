// Long prompts go through the decoder in pieces; packed models must not notice.
import { assertEquals } from "@std/assert";
import { SyntheticStore } from "../../src/bench/synthetic.ts";
import { parseFormat } from "../../src/formats/mod.ts";
import { runJobs } from "../../src/generate/decode_loop.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { decode } from "../../src/models/vlm.ts";
import { Infer } from "../../src/ops/infer.ts";
import { KvCache } from "../../src/ops/kv_cache.ts";
import { sequencesOf } from "../../src/tensor/sequences.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { Engine } from "../../wasm/mod.ts";

const CONFIG = {
  model_type: "internvl",
  image_token_id: 9,
  vision_config: {
    ...{ hidden_size: 64, num_hidden_layers: 1, num_attention_heads: 1, intermediate_size: 64 },
  },
  text_config: {
    ...{ model_type: "qwen2", hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4 },
    ...{ num_key_value_heads: 2, intermediate_size: 128, vocab_size: 300 },
    ...{ max_position_embeddings: 2048, tie_word_embeddings: false },
  },
};

Deno.test("Prompts longer than a piece give the logits of one pass, bit for bit", async () => {
  const engine = await Engine.create({ threads: 2 });
  try {
    const store = new SyntheticStore(engine.memory, () => parseFormat("w4g32q8"));
    const vlm = await readArchitecture(CONFIG, "test").load(store);
    const ops = new Infer(engine, { exact: true });
    // Pieces of 512 rows end within a sequence, with one, and begin with a single last token.
    const all = [[700], [512], [30, 1100, 7], [400, 112, 513, 1]];
    const cases = all.flatMap((lengths) =>
      (["f32", "int8"] as const).map((kvCache) => ({ lengths, kvCache }))
    );
    for (const { lengths, kvCache } of cases) {
      const prompts = lengths.map((length, i) =>
        Int32Array.from({ length }, (_, t) => (t * 7 + i * 31) % 300)
      );
      const sequences = sequencesOf(lengths);
      const wanted = ops.pass(() => {
        const caches = lengths.map((length) =>
          new KvCache(engine.memory, vlm.language.cacheShape, length, kvCache)
        );
        const ids = ops.integers(prompts.flatMap((ids) => [...ids]));
        const hidden = decode(ops, vlm, vlm.language.embed(ops, ids), sequences, caches);
        const last = sequences.starts.map((start, i) => start + lengths[i]! - 1);
        const logits = ops.linear(ops.takeRows(hidden, ops.integers(last)), vlm.language.head);
        for (const cache of caches) cache.free();
        return floats(engine.memory, logits).slice();
      });
      const got = new Float32Array(wanted.length);
      const jobs = prompts.map((ids, i) => ({
        request: { prompt: { ids, images: [] }, images: [] },
        maxTokens: 1,
        choose: (logits: Float32Array) => (got.set(logits, i * 300), 0),
        accept: () => true,
      }));
      await runJobs({ engine, ops, vlm, kvCache }, jobs);
      assertEquals(got, wanted, `lengths ${lengths}, ${kvCache}`);
    }
  } finally {
    engine.close();
  }
});
