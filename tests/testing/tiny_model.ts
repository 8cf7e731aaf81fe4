// A complete InternVL folder in memory, with random weights and a tokenizer of bytes, small enough to be loaded
// thousands of times.
import { toBf16 } from "../../src/base/half.ts";
import { Random } from "../../src/base/random.ts";
import type { Folder } from "../../src/io/checkpoint.ts";
import { parseConfig } from "../../src/models/internvl/config.ts";
import { expectedTensors } from "../../src/models/internvl/layout.ts";
import { headerFor, memoryFolder } from "./folders.ts";
import { pocketText, smallTokenizerJson } from "./tokenizers.ts";

const SPECIAL = ["<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"];
/** Behind the 256 bytes and three merges of the small tokenizer. */
const FIRST_SPECIAL = 259;

function added(content: string, i: number): Record<string, unknown> {
  return {
    ...{ id: FIRST_SPECIAL + i, content, special: true },
    ...{ normalized: false, lstrip: false, rstrip: false, single_word: false },
  };
}

/** config.json of the tiny model: one tile is 28 x 28 pixels and becomes one token. */
export function tinyConfig(): Record<string, unknown> {
  const config = JSON.parse(pocketText("config.json"));
  config.image_seq_length = 1;
  config.image_token_id = FIRST_SPECIAL + 4;
  Object.assign(config.text_config, {
    hidden_size: 32,
    intermediate_size: 64,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    num_hidden_layers: 2,
    layer_types: ["full_attention", "full_attention"],
    max_position_embeddings: 256,
  });
  Object.assign(config.vision_config, {
    hidden_size: 32,
    intermediate_size: 64,
    num_attention_heads: 2,
    num_hidden_layers: 2,
    image_size: [28, 28],
  });
  return config;
}

/** The folder; equal seeds give equal weights. */
export function tinyFolder(seed = 1): Folder {
  const config = tinyConfig();
  const preprocessor = JSON.parse(pocketText("preprocessor_config.json"));
  preprocessor.size = { height: 28, width: 28 };
  const tensors = expectedTensors(parseConfig(config, "tiny", preprocessor));
  const { bytes, dataSize } = headerFor(tensors);
  const file = new Uint8Array(bytes.length + dataSize);
  file.set(bytes);
  const random = new Random(seed);
  const words = new DataView(file.buffer, bytes.length);
  let at = 0;
  for (const [name, shape] of tensors) {
    const count = shape.reduce((product, size) => product * size, 1);
    const isNorm = /norm[^/]*\.weight$|lambda/.test(name);
    for (let i = 0; i < count; i++, at += 2) {
      words.setUint16(
        at,
        toBf16(isNorm ? 1 + 0.1 * random.normal() : 0.15 * random.normal()),
        true,
      );
    }
  }
  return memoryFolder({
    "config.json": config,
    "preprocessor_config.json": preprocessor,
    "generation_config.json": { eos_token_id: [FIRST_SPECIAL + 1] },
    "tokenizer.json": { ...smallTokenizerJson(), added_tokens: SPECIAL.map(added) },
    "tokenizer_config.json": { eos_token: "<|im_end|>" },
    "chat_template.jinja": pocketText("chat_template.jinja"),
    "model.safetensors": file,
  }, "tiny");
}
