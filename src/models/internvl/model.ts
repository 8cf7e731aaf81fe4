// InternVL 2.5 and 3: InternViT, pixel shuffle and a two-layer projector, Qwen2.
// Zhu et al., "InternVL3", 2025; transformers' InternVLForConditionalGeneration.
import type { Norm } from "../../ops/ops.ts";
import { loadQwen2 } from "../decoders/qwen2.ts";
import { biasesOf, type WeightStore } from "../store.ts";
import { loadInternVit } from "../towers/intern_vit.ts";
import type { ProjectorPart, VisionInput, Vlm } from "../vlm.ts";
import type { InternVlConfig, ProjectorConfig } from "./config.ts";

/** How pictures are cut and what they become. */
export function visionInput({ tiles, tokensPerTile }: InternVlConfig): VisionInput {
  return {
    imageSize: tiles.size,
    tokensPerTile,
    maxTiles: tiles.dynamic ? tiles.max : 1,
    minTiles: tiles.dynamic ? tiles.min : 1,
    thumbnail: tiles.thumbnail,
  };
}

/** Loads the three parts from a store. */
export async function loadInternVl(store: WeightStore, config: InternVlConfig): Promise<Vlm> {
  return {
    input: visionInput(config),
    vision: await loadInternVit(store, config.vision, config.tiles),
    projector: await loadProjector(store, config.projector, config.language.hidden),
    language: await loadQwen2(store, config.language),
  };
}

async function loadProjector(
  store: WeightStore,
  { inputs, inner, eps }: ProjectorConfig,
  outputs: number,
): Promise<ProjectorPart> {
  const at = "multi_modal_projector";
  const weight = await store.vector(`${at}.layer_norm.weight`, [inputs]);
  const bias = await store.vector(`${at}.layer_norm.bias`, [inputs]);
  const first = await store.linear(`${at}.linear_1`, inner, inputs, true);
  const second = await store.linear(`${at}.linear_2`, outputs, inner, true);
  const norm: Norm = { weight: weight.tensor, bias: bias.tensor, eps };
  return {
    name: "projector",
    blocks: [],
    linears: [first, second],
    vectors: [weight, bias, ...biasesOf([first, second])],
    project: (ops, features) =>
      ops.linear(ops.gelu(ops.linear(ops.layerNorm(features, norm), first)), second),
  };
}
