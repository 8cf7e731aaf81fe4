// Rewrites a native InternVL folder into the layout of OpenGVLab's own repositories: remote-code config, stacked qkv,
// and the slow tokenizer's files. The names are written out here on their own, apart from the table they test.

import { byteSize, type TensorToWrite, writeSafetensors } from "../../src/io/safetensors.ts";
import { type Checkpoint, openCheckpoint } from "../../src/io/checkpoint.ts";
import { makeFolder, writeAside, writeFile } from "../../src/io/host.ts";

type Json = Record<string, unknown>;

/** What may vary in the folder that {@linkcode writeOriginalLayout} makes. */
export interface OriginalLayoutOptions {
  /** Whether tokenizer_config.json carries the chat template (default), or only config.json names a built-in one. */
  readonly chatTemplate?: boolean;
}

/** Reads the native folder `from` and writes the same model to the folder `to` in the original layout. */
export async function writeOriginalLayout(
  from: string,
  to: string,
  { chatTemplate = true }: OriginalLayoutOptions = {},
): Promise<void> {
  const native = await openCheckpoint(from);
  try {
    makeFolder(to);
    const write = (file: string, value: unknown) =>
      writeFile(
        `${to}/${file}`,
        typeof value === "string" ? value : JSON.stringify(value, null, 2),
      );
    await write("config.json", originalConfig(await native.readJson("config.json") as Json));
    await write("generation_config.json", await native.readJson("generation_config.json"));
    const template = chatTemplate ? await native.readText("chat_template.jinja") : undefined;
    for (const [file, value] of Object.entries(await tokenizerFiles(native, template))) {
      await write(file, value);
    }
    await write("preprocessor_config.json", {
      crop_size: 112,
      do_center_crop: true,
      do_normalize: true,
      do_resize: true,
      feature_extractor_type: "CLIPFeatureExtractor",
      image_mean: [0.485, 0.456, 0.406],
      image_std: [0.229, 0.224, 0.225],
      resample: 3,
      size: 112,
    });
    const file = writeAside(`${to}/model.safetensors`);
    try {
      await writeSafetensors(file, originalTensors(native), { format: "pt" });
      file.commit();
    } finally {
      file.abort();
    }
  } finally {
    native.close();
  }
}

/** The remote-code config that describes the same model as a native one. */
export function originalConfig(native: Json): Json {
  const { vision_config: vision, text_config: text } = native as { [key: string]: Json };
  const { rope_parameters, model_type: _, dtype: __, ...language } = text!;
  const [image] = vision!.image_size as number[];
  return {
    architectures: ["InternVLChatModel"],
    auto_map: { AutoConfig: "configuration_internvl_chat.InternVLChatConfig" },
    downsample_ratio: native.downsample_ratio,
    dynamic_image_size: true,
    force_image_size: image,
    llm_config: {
      ...language,
      architectures: ["Qwen2ForCausalLM"],
      model_type: "qwen2",
      rope_scaling: { factor: 2.0, rope_type: "dynamic", type: "dynamic" },
      rope_theta: (rope_parameters as Json).rope_theta,
    },
    max_dynamic_patch: 12,
    min_dynamic_patch: 1,
    model_type: "internvl_chat",
    pad2square: false,
    ps_version: "v2",
    select_layer: -1,
    template: "internvl2_5",
    torch_dtype: "bfloat16",
    use_backbone_lora: 0,
    use_llm_lora: 0,
    use_thumbnail: true,
    vision_config: {
      architectures: ["InternVisionModel"],
      hidden_act: "gelu",
      hidden_size: vision!.hidden_size,
      image_size: image,
      initializer_factor: 0.1,
      intermediate_size: vision!.intermediate_size,
      layer_norm_eps: vision!.layer_norm_eps,
      model_type: "intern_vit_6b",
      norm_type: "layer_norm",
      num_attention_heads: vision!.num_attention_heads,
      num_channels: 3,
      num_hidden_layers: vision!.num_hidden_layers,
      patch_size: (vision!.patch_size as number[])[0],
      qk_normalization: false,
      qkv_bias: vision!.attention_bias,
    },
  };
}

const RENAMES: readonly (readonly [string, string])[] = [
  ["vision_tower.embeddings.cls_token", "vision_model.embeddings.class_embedding"],
  ["vision_tower.embeddings.position_embeddings", "vision_model.embeddings.position_embedding"],
  [
    "vision_tower.embeddings.patch_embeddings.projection",
    "vision_model.embeddings.patch_embedding",
  ],
  ["vision_tower.encoder.layer.", "vision_model.encoder.layers."],
  [".attention.projection_layer", ".attn.proj"],
  [".layernorm_before", ".norm1"],
  [".layernorm_after", ".norm2"],
  [".lambda_", ".ls"],
  ["multi_modal_projector.layer_norm", "mlp1.0"],
  ["multi_modal_projector.linear_1", "mlp1.1"],
  ["multi_modal_projector.linear_2", "mlp1.3"],
];

function originalTensors(native: Checkpoint): TensorToWrite[] {
  const tensors: TensorToWrite[] = [];
  for (const [name, { dtype, shape }] of native.tensors) {
    const stacked = /^(vision_tower\..*\.attention\.)([qkv])_proj\.(weight|bias)$/.exec(name);
    if (stacked !== null && stacked[2] !== "q") continue;
    const sources = stacked === null
      ? [name]
      : ["q", "k", "v"].map((role) => `${stacked[1]}${role}_proj.${stacked[3]}`);
    const renamed = stacked === null ? name : name.replace("attention.q_proj", "attn.qkv");
    tensors.push({
      name: RENAMES.reduce((text, [before, after]) => text.replace(before, after), renamed),
      dtype,
      shape: [shape[0]! * sources.length, ...shape.slice(1)],
      bytes: async function* () {
        for (const source of sources) {
          const bytes = new Uint8Array(byteSize(dtype, shape)!);
          await native.read(source, bytes);
          yield bytes;
        }
      },
    });
  }
  return tensors;
}

const NATIVE_ONLY = new Set([
  "start_image_token",
  "end_image_token",
  "context_image_token",
  "extra_special_tokens",
]);

async function tokenizerFiles(native: Checkpoint, template: string | undefined): Promise<Json> {
  const fast = await native.readJson("tokenizer.json") as {
    model: { vocab: Json; merges: (string | [string, string])[] };
    added_tokens: { id: number; content: string }[];
  };
  const config = await native.readJson("tokenizer_config.json") as Json;
  const plain = Object.fromEntries(
    Object.entries(config).filter(([key]) => !NATIVE_ONLY.has(key)),
  );
  const merges = fast.model.merges.map((pair) => typeof pair === "string" ? pair : pair.join(" "));
  const special = (content: unknown) => ({
    content,
    lstrip: false,
    normalized: false,
    rstrip: false,
    single_word: false,
  });
  return {
    "vocab.json": fast.model.vocab,
    "merges.txt": `#version: 0.2\n${merges.join("\n")}\n`,
    "added_tokens.json": Object.fromEntries(
      fast.added_tokens.map(({ id, content }) => [content, id]),
    ),
    "special_tokens_map.json": {
      additional_special_tokens: config.additional_special_tokens,
      eos_token: special(config.eos_token),
      pad_token: special(config.pad_token),
    },
    "tokenizer_config.json": template === undefined ? plain : { ...plain, chat_template: template },
  };
}
