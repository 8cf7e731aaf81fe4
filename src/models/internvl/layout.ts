// Tensor names. Canonical names are those of native checkpoint files; this file says which tensors a config demands and
// finds each in a checkpoint of any of the three namings:
//   native file   vision_tower.encoder.layer.0.attention.q_proj.weight, language_model.lm_head.weight
//   in memory     model.vision_tower.…, model.language_model.…, model.multi_modal_projector.…, lm_head.weight
//   original      vision_model.encoder.layers.0.attn.qkv.weight (q, k and v stacked), mlp1.{0,1,3}, language_model.…

import { badFile } from "../../base/errors.ts";
import { clip } from "../../io/bytes.ts";
import type { TensorShape } from "../../io/safetensors.ts";
import type { InternVlConfig } from "./config_types.ts";

/** Where a canonical tensor lies: `rows` rows of the tensor `source` from `firstRow` on. */
export interface ResolvedTensor {
  /** The name in the checkpoint. */
  readonly source: string;
  /** First row within the source; above 0 only in stacked tensors. */
  readonly firstRow: number;
  /** Number of rows, the outermost size of `shape`. */
  readonly rows: number;
  /** The canonical tensor's shape. */
  readonly shape: readonly number[];
}

/**
 * Every tensor that the model has, by canonical name, with its shape; vision, then projector, then language, in the
 * order of use. A tied head is absent: the embedding serves.
 */
export function expectedTensors(config: InternVlConfig): Map<string, readonly number[]> {
  const { vision, projector, language } = config;
  const tensors = new Map<string, readonly number[]>();
  const linear = (name: string, rows: number, columns: number, bias = true) => {
    tensors.set(`${name}.weight`, [rows, columns]);
    if (bias) tensors.set(`${name}.bias`, [rows]);
  };
  const layerNorm = (name: string, width: number) => {
    tensors.set(`${name}.weight`, [width]);
    tensors.set(`${name}.bias`, [width]);
  };

  const { hidden, patchSize, channels } = vision;
  const patches = (vision.imageSize / patchSize) ** 2;
  tensors.set("vision_tower.embeddings.cls_token", [1, 1, hidden]);
  tensors.set("vision_tower.embeddings.position_embeddings", [1, patches + 1, hidden]);
  const patch = "vision_tower.embeddings.patch_embeddings.projection";
  tensors.set(`${patch}.weight`, [hidden, channels, patchSize, patchSize]);
  tensors.set(`${patch}.bias`, [hidden]);
  for (let block = 0; block < vision.blocks; block++) {
    const at = `vision_tower.encoder.layer.${block}`;
    layerNorm(`${at}.layernorm_before`, hidden);
    for (const role of STACKED) linear(`${at}.attention.${role}`, hidden, hidden, vision.qkvBias);
    linear(`${at}.attention.projection_layer`, hidden, hidden);
    tensors.set(`${at}.lambda_1`, [hidden]);
    layerNorm(`${at}.layernorm_after`, hidden);
    linear(`${at}.mlp.fc1`, vision.intermediate, hidden);
    linear(`${at}.mlp.fc2`, hidden, vision.intermediate);
    tensors.set(`${at}.lambda_2`, [hidden]);
  }

  layerNorm("multi_modal_projector.layer_norm", projector.inputs);
  linear("multi_modal_projector.linear_1", projector.inner, projector.inputs);
  linear("multi_modal_projector.linear_2", language.hidden, projector.inner);

  const width = language.hidden;
  const queries = language.heads * language.headDim;
  const keys = language.kvHeads * language.headDim;
  tensors.set("language_model.model.embed_tokens.weight", [language.vocab, width]);
  for (let block = 0; block < language.blocks; block++) {
    const at = `language_model.model.layers.${block}`;
    tensors.set(`${at}.input_layernorm.weight`, [width]);
    linear(`${at}.self_attn.q_proj`, queries, width);
    linear(`${at}.self_attn.k_proj`, keys, width);
    linear(`${at}.self_attn.v_proj`, keys, width);
    linear(`${at}.self_attn.o_proj`, width, queries, false);
    tensors.set(`${at}.post_attention_layernorm.weight`, [width]);
    linear(`${at}.mlp.gate_proj`, language.intermediate, width, false);
    linear(`${at}.mlp.up_proj`, language.intermediate, width, false);
    linear(`${at}.mlp.down_proj`, width, language.intermediate, false);
  }
  tensors.set("language_model.model.norm.weight", [width]);
  if (!language.tied) tensors.set(HEAD, [language.vocab, width]);
  return tensors;
}

/**
 * Finds every expected tensor in a checkpoint. Throws one `bad-file` error that lists all missing, all mis-shaped (also
 * those that hold no floats) and all unused tensors; `file` names the checkpoint.
 */
export function resolveTensors(
  config: InternVlConfig,
  tensors: ReadonlyMap<string, TensorShape>,
  file: string,
): Map<string, ResolvedTensor> {
  const resolved = new Map<string, ResolvedTensor>();
  const used = new Set<string>();
  const missing: string[] = [];
  const misshaped = new Set<string>();
  for (const [name, shape] of expectedTensors(config)) {
    const places = config.layout === "native" ? nativePlaces(name) : [originalPlace(name)];
    const place = places.find(({ source }) => tensors.has(source));
    if (place === undefined) {
      missing.push(places[0]!.source);
      continue;
    }
    const { source, part, parts } = place;
    const found = tensors.get(source)!;
    const rows = shape[0]!;
    const wanted = [rows * parts, ...shape.slice(1)];
    if (!FLOATS.has(found.dtype)) {
      misshaped.add(`${source}: expected BF16, F16 or F32, found ${found.dtype}`);
    } else if (
      found.shape.length !== wanted.length || found.shape.some((n, i) => n !== wanted[i])
    ) {
      misshaped.add(`${source}: expected [${wanted}], found [${found.shape}]`);
    }
    used.add(source);
    resolved.set(name, { source, firstRow: part * rows, rows, shape });
  }
  const unused = [...tensors.keys()].filter((name) =>
    !used.has(name) && !BUFFERS.test(name) && !(config.language.tied && HEADS.has(name))
  );
  const lists: [string, string[]][] = [
    ["missing", [...new Set(missing)]],
    ["of the wrong shape or type", [...misshaped]],
    ["not used", unused],
  ];
  const text = lists.filter(([, names]) => names.length > 0).map(([what, names]) =>
    `\n${names.length} ${what}:${names.map((name) => `\n  ${clip(name, 300)}`).join("")}`
  ).join("");
  if (text !== "") {
    throw badFile(
      file,
      `its tensors are not those of the model that config.json describes.${text}`,
    );
  }
  return resolved;
}

const HEAD = "language_model.lm_head.weight";
const HEADS = new Set([HEAD, "lm_head.weight"]);
const FLOATS = new Set<string>(["BF16", "F16", "F32"]);
// Constants and training aids that some writers store and inference does not need.
const BUFFERS = /(^|\.)(position_ids|rotary_emb\.inv_freq|embeddings\.mask_token)$/;
const STACKED = ["q_proj", "k_proj", "v_proj"];

/** A tensor of a checkpoint, or one of `parts` equal parts stacked along its rows. */
export interface TensorPlace {
  /** The name in the checkpoint. */
  readonly source: string;
  /** Which of the stacked parts, from 0. */
  readonly part: number;
  /** Number of parts; 1 if nothing is stacked. */
  readonly parts: number;
}

/** Where a writer puts a canonical tensor so that a checkpoint has the config's own layout. */
export function placeOf(config: InternVlConfig, name: string): TensorPlace {
  return config.layout === "native" ? nativePlaces(name)[0]! : originalPlace(name);
}

function nativePlaces(name: string): TensorPlace[] {
  const inMemory = name === HEAD
    ? "lm_head.weight"
    : `model.${name.replace(/^language_model\.model\./, "language_model.")}`;
  return [name, inMemory].map((source) => ({ source, part: 0, parts: 1 }));
}

// Canonical beginnings and the original's, tried in this order; what follows a beginning is the same in both.
const ORIGINAL_NAMES: readonly (readonly [RegExp, string])[] = [
  [/^vision_tower\.embeddings\.cls_token$/, "vision_model.embeddings.class_embedding"],
  [/^vision_tower\.embeddings\.position_embeddings$/, "vision_model.embeddings.position_embedding"],
  [
    /^vision_tower\.embeddings\.patch_embeddings\.projection\./,
    "vision_model.embeddings.patch_embedding.",
  ],
  [/^multi_modal_projector\.layer_norm\./, "mlp1.0."],
  [/^multi_modal_projector\.linear_1\./, "mlp1.1."],
  [/^multi_modal_projector\.linear_2\./, "mlp1.3."],
];

const ORIGINAL_IN_BLOCK: Readonly<Record<string, string>> = {
  "attention.projection_layer": "attn.proj",
  "layernorm_before": "norm1",
  "layernorm_after": "norm2",
  "lambda_1": "ls1",
  "lambda_2": "ls2",
};

function originalPlace(name: string): TensorPlace {
  const whole = (source: string) => ({ source, part: 0, parts: 1 });
  const block = /^vision_tower\.encoder\.layer\.(\d+)\.(.*?)(\.weight|\.bias)?$/.exec(name);
  if (block !== null) {
    const [, index, role, kind = ""] = block;
    const at = `vision_model.encoder.layers.${index}`;
    const part = STACKED.indexOf(role!.replace("attention.", ""));
    if (part >= 0) return { source: `${at}.attn.qkv${kind}`, part, parts: STACKED.length };
    return whole(`${at}.${ORIGINAL_IN_BLOCK[role!] ?? role}${kind}`);
  }
  for (const [pattern, source] of ORIGINAL_NAMES) {
    if (pattern.test(name)) return whole(name.replace(pattern, source));
  }
  return whole(name);
}
