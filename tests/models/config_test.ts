import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { type InternVlConfig, parseConfig } from "../../src/models/internvl/config.ts";
import { expectedTensors } from "../../src/models/internvl/layout.ts";
import { damageJson } from "../testing/damage.ts";
import { testPath } from "../testing/folders.ts";
import { originalConfig } from "../testing/original_layout.ts";

type Json = Record<string, unknown>;
const readJson = (file: string): Json => JSON.parse(Deno.readTextFileSync(testPath(file)));
const POCKET = readJson("models/pocket-internvl/config.json");
const PREPROCESSOR = readJson("models/pocket-internvl/preprocessor_config.json");
const GOLDEN = readJson("goldens/internvl3_tensors.json") as Record<string, Record<string, Json>>;

/** A copy of a config with fields replaced; a path names a nested field, undefined removes it. */
function change(config: Json, changes: Record<string, unknown>): Json {
  const copy = structuredClone(config);
  for (const [path, value] of Object.entries(changes)) {
    const keys = path.split(".");
    const parent = keys.slice(0, -1).reduce((node, key) => node[key] as Json, copy);
    if (value === undefined) delete parent[keys.at(-1)!];
    else parent[keys.at(-1)!] = value;
  }
  return copy;
}

Deno.test("the pocket model's native config is read field by field", () => {
  assertEquals(parseConfig(POCKET, "config.json", PREPROCESSOR), {
    layout: "native",
    vision: {
      hidden: 256,
      blocks: 6,
      heads: 4,
      intermediate: 1024,
      imageSize: 112,
      patchSize: 14,
      channels: 3,
      eps: 1e-6,
      norm: "layer_norm",
      qkNorm: false,
      qkvBias: true,
    },
    projector: { downsampleRatio: 0.5, inputs: 1024, inner: 256, eps: 1e-5 },
    language: {
      hidden: 256,
      blocks: 8,
      heads: 4,
      kvHeads: 2,
      headDim: 64,
      intermediate: 768,
      vocab: 1024,
      ropeTheta: 1e6,
      eps: 1e-6,
      maxPositions: 2048,
      tied: false,
    },
    tiles: {
      size: 112,
      min: 1,
      max: 12,
      thumbnail: true,
      dynamic: true,
      mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225],
    },
    tokensPerTile: 16,
    imageTokenId: 1021,
    template: null,
  });
});

Deno.test("both layouts describe the same model", () => {
  const { layout: _, imageTokenId: __, template, ...original } = parseConfig(
    originalConfig(POCKET),
    "config.json",
  );
  const { layout, imageTokenId, template: ___, ...native } = parseConfig(POCKET, "config.json");
  assertEquals(original, native);
  assertEquals([layout, imageTokenId, template], ["native", 1021, "internvl2_5"]);
  for (const { original_config, native_config } of Object.values(GOLDEN)) {
    const one = parseConfig(original_config, "original");
    const other = parseConfig(native_config, "native");
    assertEquals(one.vision, other.vision);
    assertEquals(one.language, other.language);
    assertEquals(one.projector, other.projector);
    assertEquals(one.tiles, other.tiles);
    assertEquals([one.tokensPerTile, other.tokensPerTile], [256, 256]);
    assertEquals([one.imageTokenId, other.imageTokenId], [null, 151667]);
  }
});

Deno.test("the tile size may differ from the position table's image size", () => {
  const forced = parseConfig(change(originalConfig(POCKET), { force_image_size: 224 }), "c");
  assertEquals([forced.tiles.size, forced.vision.imageSize, forced.tokensPerTile], [224, 112, 64]);
  const sized = parseConfig(change(POCKET, { image_seq_length: undefined }), "c", {
    size: { height: 168, width: 168 },
    max_patches: 6,
  });
  assertEquals([sized.tiles.size, sized.tiles.max, sized.tokensPerTile], [168, 6, 36]);
});

Deno.test("every spelling of the rotary base and of tied embeddings is understood", () => {
  const language = (config: Json): InternVlConfig["language"] => parseConfig(config, "c").language;
  const old = change(POCKET, { "text_config.rope_parameters": undefined });
  assertEquals(language(old).ropeTheta, 10000);
  assertEquals(language(change(old, { "text_config.rope_theta": 5e5 })).ropeTheta, 5e5);
  assertEquals(
    language(change(old, { "text_config.rope_scaling": { type: "dynamic", factor: 2 } })).ropeTheta,
    10000,
  );
  assertEquals(language(change(POCKET, { "text_config.tie_word_embeddings": true })).tied, true);
  const only = { "text_config.tie_word_embeddings": undefined, tie_word_embeddings: true };
  assertEquals(language(change(POCKET, only)).tied, true);
});

Deno.test("all problems are listed in one error", () => {
  const broken = change(POCKET, {
    "vision_config.hidden_size": "wide",
    "vision_config.use_qk_norm": true,
    "text_config.vocab_size": undefined,
    "text_config.num_attention_heads": 3,
    "projector_hidden_act": "relu",
    "image_seq_length": 17,
  });
  const error = assertThrows(
    () => parseConfig(broken, "a/config.json", { resample: 2 }),
    LobitError,
    "a/config.json: 8 problems:",
  );
  for (
    const line of [
      'vision_config.hidden_size: expected a whole number from 1 to 1048576, found "wide"',
      "vision_config.use_qk_norm: only false is supported, found true",
      "text_config.vocab_size: expected a whole number from 1 to 16777216, found nothing",
      "the language width 256 is not divisible by its 3 heads",
      "the language model's 3 heads are not divisible by 2 key-value heads",
      'projector_hidden_act: only "gelu" is supported, found "relu"',
      "image_seq_length: expected 16, which follows from the sizes",
      "preprocessor_config.json.resample: only 3 is supported, found 2",
    ]
  ) assertStringIncludes(error.message, `\n  ${line}`);
});

Deno.test("variants that would run but give other numbers are refused by name", () => {
  const native: [Record<string, unknown>, string][] = [
    [{ model_type: "llava" }, 'only "internvl" or "internvl_chat" is supported, found "llava"'],
    [{ vision_feature_layer: -2 }, "vision_feature_layer: only -1"],
    [{ vision_feature_select_strategy: "full" }, 'only "default"'],
    [{ downsample_ratio: 0.4 }, "downsample_ratio: expected 1, 1/2"],
    [{ downsample_ratio: 0.001 }, "downsample_ratio: expected 1, 1/2"],
    [{ image_token_id: 1024 }, "image_token_id: 1024 is outside the vocabulary"],
    [{ vision_config: null }, "vision_config: expected an object, found nothing"],
    [{ "vision_config.norm_type": "rms_norm" }, 'norm_type: only "layer_norm"'],
    [{ "vision_config.hidden_act": "quick_gelu" }, 'hidden_act: only "gelu"'],
    [{ "vision_config.use_absolute_position_embeddings": false }, "embeddings: only true"],
    [{ "vision_config.use_mean_pooling": false }, "use_mean_pooling: only true"],
    [{ "vision_config.image_size": [112, 126] }, "image_size: expected a square"],
    [{ "vision_config.image_size": 113 }, "image size 113 is not divisible by the patch size 14"],
    [{ "vision_config.patch_size": 16 }, "the tile size 112 is not divisible by 2 patches of 16"],
    [{ "text_config.model_type": "qwen3" }, 'text_config.model_type: only "qwen2"'],
    [{ "text_config.hidden_act": "gelu" }, 'text_config.hidden_act: only "silu"'],
    [{ "text_config.use_sliding_window": true }, "use_sliding_window: only false"],
    [{ "text_config.layer_types": ["sliding_attention"] }, 'only "full_attention"'],
    [
      { "text_config.rope_parameters.rope_type": "yarn" },
      'rope_parameters.rope_type: only "default"',
    ],
    [{ "text_config.rope_scaling": { type: "linear" } }, 'rope_scaling.type: only "default"'],
    [{ "text_config.head_dim": 63 }, "the language head width 63 is odd"],
    [{ "text_config.hidden_size": 2 ** 40 }, "hidden_size: expected a whole number from 1"],
    [{ "text_config.rms_norm_eps": 0 }, "rms_norm_eps: expected a number above 0"],
  ];
  const original: [Record<string, unknown>, string][] = [
    [{ ps_version: "v1" }, 'ps_version: only "v2" is supported, found "v1"'],
    [{ ps_version: undefined }, 'ps_version: only "v2" is supported, found "v1"'],
    [{ select_layer: -4 }, "select_layer: only -1"],
    [{ pad2square: true }, "pad2square: only false"],
    [{ use_llm_lora: 16 }, "use_llm_lora: only 0"],
    [{ min_dynamic_patch: 13 }, "at least 13 and at most 12 tiles contradict each other"],
    [{ force_image_size: 100 }, "the tile size 100 is not divisible"],
    [{ template: 5 }, "template: expected a text"],
    [{ "vision_config.qk_normalization": true }, "qk_normalization: only false"],
    [{ "vision_config.norm_type": undefined }, 'found "rms_norm"'],
    [{ "vision_config.model_type": "siglip" }, 'vision_config.model_type: only "intern_vit_6b"'],
    [{ "vision_config.hidden_size": undefined }, "hidden_size: expected a whole number"],
    [{ "llm_config.model_type": "internlm2" }, 'llm_config.model_type: only "qwen2"'],
    [
      { "llm_config.rope_scaling": { rope_type: "llama3" } },
      'rope_scaling.rope_type: only "default"',
    ],
  ];
  for (const [config, list] of [[POCKET, native], [originalConfig(POCKET), original]] as const) {
    for (const [changes, why] of list) {
      const changed = change(config, changes);
      const error = assertThrows(() => parseConfig(changed, "config.json"), LobitError, why);
      assertEquals(error.code, "bad-file");
    }
  }
  for (
    const preprocessor of [
      { do_normalize: false },
      { rescale_factor: 1 },
      { image_mean: [0, 0] },
      { image_std: [0, 0, 0] },
      { size: { height: 112, width: 224 } },
      [],
    ]
  ) {
    assertThrows(
      () => parseConfig(POCKET, "c", preprocessor),
      LobitError,
      "preprocessor_config.json",
    );
  }
});

Deno.test("damaged configs give a typed error or a sane model (4,000 mutations)", () => {
  const random = new Random(22);
  const configs = [POCKET, originalConfig(POCKET)];
  let accepted = 0;
  for (let round = 0; round < 4000; round++) {
    const damaged = damageJson(configs[round % 2], random);
    const preprocessor = round % 8 < 2 ? damageJson(PREPROCESSOR, random) : undefined;
    try {
      const config = parseConfig(damaged, "config.json", preprocessor);
      checkSane(config);
      for (const shape of expectedTensors(config).values()) {
        assert(shape.every((size) => Number.isSafeInteger(size) && size > 0));
        assert(Number.isSafeInteger(shape.reduce((a, b) => a * b, 4)));
      }
      accepted++;
    } catch (error) {
      assert(error instanceof LobitError && error.code === "bad-file", String(error));
    }
  }
  // Most fields of a config mean nothing to the model, so much damage is harmless.
  assert(accepted > 400 && accepted < 3600, `${accepted} accepted`);
});

function checkSane({ vision, language, projector, tiles, tokensPerTile }: InternVlConfig): void {
  for (
    const value of [...Object.values(vision), ...Object.values(language), ...Object.values(tiles)]
  ) {
    assert(typeof value !== "number" || Number.isFinite(value));
  }
  assertEquals(vision.hidden % vision.heads, 0);
  assertEquals(language.heads % language.kvHeads, 0);
  assertEquals(language.headDim % 2, 0);
  assertEquals(tiles.size % vision.patchSize, 0);
  assert(Number.isInteger(tokensPerTile) && tokensPerTile > 0);
  assert(Number.isInteger(projector.inputs) && tiles.min <= tiles.max);
}
