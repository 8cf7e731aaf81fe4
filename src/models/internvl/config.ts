// An InternVL config.json, in both layouts, as one checked description of the model: `native` is transformers'
// InternVLForConditionalGeneration, `original` the remote-code InternVLChatModel of OpenGVLab's own repositories.
// A missing field means what it means to the reference implementation of its layout; what would change numbers and is
// not supported is refused by name. Longer than 300 lines because both layouts are read side by side into one type.

import { Fields } from "../../io/fields.ts";
import type {
  Channels,
  InternVlConfig,
  LanguageConfig,
  TilesConfig,
  VisionConfig,
} from "./config_types.ts";

export type {
  Channels,
  InternVlConfig,
  LanguageConfig,
  ProjectorConfig,
  TilesConfig,
  VisionConfig,
} from "./config_types.ts";

// Bounds that keep every product of sizes a safe integer; far above any model.
const DIM = 1 << 20;
const SIDE = 1 << 14;
const VOCAB = 1 << 24;
const FINEST_RATIO = 64;

const IMAGENET_MEAN: Channels = [0.485, 0.456, 0.406];
const IMAGENET_STD: Channels = [0.229, 0.224, 0.225];

type Parsed = Omit<InternVlConfig, "tokensPerTile">;

/**
 * Checks a parsed config.json, and preprocessor_config.json where the folder has one.
 * `file` names the config in messages. Throws one `bad-file` error that lists every problem.
 */
export function parseConfig(json: unknown, file: string, preprocessor?: unknown): InternVlConfig {
  const problems: string[] = [];
  const fields = new Fields(json, "", problems);
  const type = fields.get("model_type") ?? architecture(fields);
  const original = type === "internvl_chat" || type === "InternVLChatModel";
  if (!original && type !== "internvl" && type !== "InternVLForConditionalGeneration") {
    fields.demand("model_type", ["internvl", "internvl_chat"], undefined);
    fields.done(file);
  }
  const images = new Fields(preprocessor ?? {}, "preprocessor_config.json", problems);
  const config = original ? parseOriginal(fields, images) : parseNative(fields, images);
  checkTogether(fields, config);
  fields.done(file);
  return { ...config, tokensPerTile: Math.round(tokensPerTile(config)) };
}

function architecture(fields: Fields): unknown {
  const list = fields.get("architectures");
  return Array.isArray(list) ? list[0] : undefined;
}

function parseNative(fields: Fields, images: Fields): Parsed {
  fields.demand("projector_hidden_act", ["gelu"], "gelu");
  fields.demand("vision_feature_layer", [-1], -1);
  fields.demand("vision_feature_select_strategy", ["default"], "default");
  const vision = fields.object("vision_config");
  vision.demand("model_type", ["internvl_vision"], "internvl_vision");
  vision.demand("use_qk_norm", [false], false);
  vision.demand("use_absolute_position_embeddings", [true], true);
  vision.demand("use_mean_pooling", [true], true);
  const parsed = {
    ...parseVision(vision, { hidden: 1024, blocks: 24, heads: 16, intermediate: 4096, image: 448 }),
    qkvBias: vision.flag("attention_bias", false),
  };
  const text = fields.object("text_config");
  const tied = text.flag("tie_word_embeddings", fields.flag("tie_word_embeddings", false));
  return {
    layout: "native",
    ...assemble(fields, parsed, parseLanguage(text, tied)),
    tiles: {
      size: tileSize(images, parsed.imageSize),
      min: images.integer("min_patches", 1, 1024, 1),
      max: images.integer("max_patches", 1, 1024, 12),
      // The native processor always cuts and always adds the thumbnail, whatever the file's crop_to_patches says.
      thumbnail: true,
      dynamic: true,
      ...normalization(images),
    },
    imageTokenId: fields.has("image_token_id") ? fields.integer("image_token_id", 0, VOCAB) : null,
    template: null,
  };
}

function parseOriginal(fields: Fields, images: Fields): Parsed {
  fields.demand("ps_version", ["v2"], "v1");
  fields.demand("select_layer", [-1], -1);
  fields.demand("pad2square", [false], false);
  fields.demand("use_backbone_lora", [0, false], 0);
  fields.demand("use_llm_lora", [0, false], 0);
  const vision = fields.object("vision_config");
  vision.demand("model_type", ["intern_vit_6b", "intern_vit_300m"], "intern_vit_6b");
  vision.demand("qk_normalization", [false], true);
  const parsed = { ...parseVision(vision), qkvBias: vision.flag("qkv_bias", false) };
  const text = fields.object("llm_config");
  const tied = text.flag("tie_word_embeddings", fields.flag("tie_word_embeddings", false));
  return {
    layout: "original",
    ...assemble(fields, parsed, parseLanguage(text, tied)),
    tiles: {
      size: fields.integer("force_image_size", 1, SIDE, parsed.imageSize),
      min: fields.integer("min_dynamic_patch", 1, 1024, 1),
      max: fields.integer("max_dynamic_patch", 1, 1024, 6),
      thumbnail: fields.flag("use_thumbnail", false),
      dynamic: fields.flag("dynamic_image_size", false),
      ...normalization(images),
    },
    imageTokenId: null,
    template: fields.text("template") ?? null,
  };
}

/** Defaults of a layout's vision sizes; without them the sizes are required. */
interface VisionDefaults {
  hidden?: number;
  blocks?: number;
  heads?: number;
  intermediate?: number;
  image?: number;
}

function parseVision(vision: Fields, defaults: VisionDefaults = {}): Omit<VisionConfig, "qkvBias"> {
  vision.demand("hidden_act", ["gelu"], "gelu");
  vision.demand("norm_type", ["layer_norm"], defaults.hidden ? "layer_norm" : "rms_norm");
  vision.demand("num_channels", [3], 3);
  return {
    hidden: vision.integer("hidden_size", 1, DIM, defaults.hidden),
    blocks: vision.integer("num_hidden_layers", 1, 1024, defaults.blocks),
    heads: vision.integer("num_attention_heads", 1, 4096, defaults.heads),
    intermediate: vision.integer("intermediate_size", 1, DIM, defaults.intermediate),
    imageSize: side(vision, "image_size", defaults.image),
    patchSize: side(vision, "patch_size", 14),
    channels: 3,
    eps: vision.positive("layer_norm_eps", 1, 1e-6),
    norm: "layer_norm",
    qkNorm: false,
  };
}

function parseLanguage(text: Fields, tied: boolean): LanguageConfig {
  text.demand(
    "model_type",
    ["qwen2"],
    architecture(text) === "Qwen2ForCausalLM" ? "qwen2" : undefined,
  );
  text.demand("hidden_act", ["silu"], "silu");
  text.demand("use_sliding_window", [false], false);
  const kinds = text.get("layer_types");
  if (Array.isArray(kinds) && kinds.some((kind) => kind !== "full_attention")) {
    text.problem("layer_types", 'only "full_attention" is supported in every block');
  }
  const hidden = text.integer("hidden_size", 1, DIM);
  const heads = text.integer("num_attention_heads", 1, 4096);
  return {
    hidden,
    blocks: text.integer("num_hidden_layers", 1, 1024),
    heads,
    kvHeads: text.integer("num_key_value_heads", 1, 4096, heads),
    headDim: text.integer("head_dim", 2, DIM, hidden / heads),
    intermediate: text.integer("intermediate_size", 1, DIM),
    vocab: text.integer("vocab_size", 1, VOCAB),
    ropeTheta: parseRotary(text),
    eps: text.positive("rms_norm_eps", 1, 1e-6),
    maxPositions: text.integer("max_position_embeddings", 1, VOCAB, 32768),
    tied,
  };
}

/** The rotary base; refuses every scaling that changes numbers below the longest sequence. */
function parseRotary(text: Fields): number {
  // transformers 5 writes rope_parameters, older versions rope_theta and rope_scaling.
  const nested = text.object("rope_parameters", true);
  for (const scaling of [nested, text.object("rope_scaling", true)]) {
    const key = scaling.has("rope_type") ? "rope_type" : "type";
    // "dynamic" only acts beyond max_position_embeddings, where lobit does not go.
    scaling.demand(key, ["default", "dynamic"], "default");
    scaling.demand("partial_rotary_factor", [1], 1);
  }
  return nested.positive("rope_theta", 1e12, text.positive("rope_theta", 1e12, 10000));
}

function assemble(
  fields: Fields,
  vision: VisionConfig,
  language: LanguageConfig,
): Pick<Parsed, "vision" | "language" | "projector"> {
  const ratio = fields.positive("downsample_ratio", 1, 0.5);
  const inputs = vision.hidden * Math.round(1 / ratio) ** 2;
  return {
    vision,
    language,
    projector: { downsampleRatio: ratio, inputs, inner: language.hidden, eps: 1e-5 },
  };
}

function tokensPerTile({ tiles, vision, projector }: Parsed): number {
  return (tiles.size / vision.patchSize * projector.downsampleRatio) ** 2;
}

/** What no single field shows. Comparisons are false for NaN, so fields at fault are not complained of twice. */
function checkTogether(fields: Fields, config: Parsed): void {
  const { vision, language, tiles, projector: { downsampleRatio: ratio } } = config;
  const towers = [["vision", vision.hidden, vision.heads], [
    "language",
    language.hidden,
    language.heads,
  ]];
  for (const [part, hidden, heads] of towers as [string, number, number][]) {
    if (hidden % heads > 0) {
      fields.problem("", `the ${part} width ${hidden} is not divisible by its ${heads} heads`);
    }
  }
  if (language.heads % language.kvHeads > 0) {
    fields.problem(
      "",
      `the language model's ${language.heads} heads are not divisible by ${language.kvHeads} key-value heads`,
    );
  }
  if (language.headDim % 2 === 1) {
    fields.problem(
      "",
      `the language head width ${language.headDim} is odd; rotary positions need pairs`,
    );
  }
  const step = Math.round(1 / ratio);
  if (Math.abs(step * ratio - 1) > 1e-6 || step > FINEST_RATIO) {
    fields.problem("downsample_ratio", `expected 1, 1/2, 1/3 … 1/${FINEST_RATIO}, found ${ratio}`);
  }
  if (vision.imageSize % vision.patchSize > 0) {
    fields.problem(
      "vision_config",
      `the image size ${vision.imageSize} is not divisible by the patch size ${vision.patchSize}`,
    );
  }
  if (tiles.size % (vision.patchSize * step) > 0) {
    fields.problem(
      "",
      `the tile size ${tiles.size} is not divisible by ${step} patches of ${vision.patchSize} pixels`,
    );
  }
  if (tiles.min > tiles.max) {
    fields.problem(
      "",
      `at least ${tiles.min} and at most ${tiles.max} tiles contradict each other`,
    );
  }
  const length = fields.get("image_seq_length");
  const tokens = Math.round(tokensPerTile(config));
  if (length !== undefined && length !== tokens && !Number.isNaN(tokens)) {
    fields.problem("image_seq_length", `expected ${tokens}, which follows from the sizes`);
  }
  if (config.imageTokenId !== null && config.imageTokenId >= language.vocab) {
    fields.problem("image_token_id", `${config.imageTokenId} is outside the vocabulary`);
  }
}

/** A square's side, given as a number or as [height, width]. */
function side(fields: Fields, key: string, fallback?: number): number {
  const value = fields.get(key);
  if (!Array.isArray(value)) return fields.integer(key, 1, SIDE, fallback);
  const [height, width] = value;
  if (
    value.length === 2 && height === width && Number.isInteger(height) && height > 0 &&
    height <= SIDE
  ) {
    return height;
  }
  fields.problem(key, `expected a square [side, side] of at most ${SIDE} pixels`);
  return NaN;
}

/** The native processor's tile size. */
function tileSize(images: Fields, fallback: number): number {
  if (!images.has("size")) return fallback;
  const size = images.object("size");
  const height = size.integer("height", 1, SIDE);
  const width = size.integer("width", 1, SIDE);
  if (height < width || height > width) size.problem("", "only square tiles are supported");
  return height;
}

/** Mean and deviation; refuses preprocessing that would give other pixels than lobit's. */
function normalization(images: Fields): Pick<TilesConfig, "mean" | "std"> {
  images.demand("resample", [3], 3);
  for (const step of ["do_resize", "do_rescale", "do_normalize"]) images.demand(step, [true], true);
  const factor = images.positive("rescale_factor", 1, 1 / 255);
  if (Math.abs(factor * 255 - 1) > 1e-6) {
    images.problem("rescale_factor", "only 1/255 is supported");
  }
  return {
    mean: channels(images, "image_mean", IMAGENET_MEAN, 0),
    std: channels(images, "image_std", IMAGENET_STD, 1e-6),
  };
}

function channels(images: Fields, key: string, fallback: Channels, least: number): Channels {
  const value = images.get(key) ?? fallback;
  if (
    Array.isArray(value) && value.length === 3 &&
    value.every((one) => typeof one === "number" && one >= least && one <= 1)
  ) {
    return [value[0], value[1], value[2]];
  }
  images.problem(key, `expected three numbers from ${least} to 1`);
  return fallback;
}
