// True shapes of models, so that speed can be measured without a download. From the config.json of OpenGVLab's
// InternVL3-1B and InternVL3-2B.
import { badRequest } from "../base/errors.ts";
import { type Architecture, readArchitecture } from "../models/registry.ts";

const vision = {
  model_type: "internvl_vision",
  hidden_size: 1024,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  intermediate_size: 4096,
  image_size: [448, 448],
  patch_size: [14, 14],
  num_channels: 3,
  layer_norm_eps: 1e-6,
  norm_type: "layer_norm",
  hidden_act: "gelu",
  attention_bias: true,
  use_qk_norm: false,
};

const language = {
  model_type: "qwen2",
  num_key_value_heads: 2,
  vocab_size: 151674,
  max_position_embeddings: 32768,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000,
  hidden_act: "silu",
  tie_word_embeddings: false,
};

const internvl = {
  model_type: "internvl",
  image_token_id: 151667,
  image_seq_length: 256,
  downsample_ratio: 0.5,
  vision_config: vision,
};

const CONFIGS: Readonly<Record<string, unknown>> = {
  "internvl3-1b": {
    ...internvl,
    text_config: {
      ...language,
      hidden_size: 896,
      num_hidden_layers: 24,
      num_attention_heads: 14,
      intermediate_size: 4864,
    },
  },
  "internvl3-2b": {
    ...internvl,
    text_config: {
      ...language,
      hidden_size: 1536,
      num_hidden_layers: 28,
      num_attention_heads: 12,
      intermediate_size: 8960,
    },
  },
};

/** Names of the shapes there are. */
export const SHAPES: readonly string[] = Object.keys(CONFIGS);

/** The architecture of a named shape. Throws `bad-request` for an unknown name. */
export function architectureOf(shape: string): Architecture {
  const config = CONFIGS[shape];
  if (config === undefined) {
    throw badRequest(`There is no shape "${shape}"; known are: ${SHAPES.join(", ")}.`);
  }
  return readArchitecture(config, `shape ${shape}`);
}
