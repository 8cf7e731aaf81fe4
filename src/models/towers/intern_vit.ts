// InternViT, the vision tower of InternVL: pre-norm transformer with layer scale over patches and a class token.
// Chen et al., "InternVL", CVPR 2024; the 300M kind (layer norms, no norm on queries and keys).
import { equalSequences } from "../../tensor/sequences.ts";
import type { Norm, Ops, PatchShape } from "../../ops/ops.ts";
import type { Linear } from "../../formats/weight.ts";
import { floats, type Tensor, tensorFrom } from "../../tensor/tensor.ts";
import type { Memory } from "../../../wasm/mod.ts";
import { interpolateGrid } from "./positions.ts";
import { biasesOf, type WeightStore } from "../store.ts";
import type { Block, Vector, VisionPart } from "../vlm.ts";

/** What the tower is made of. */
export interface InternVitConfig {
  /** Width. */
  readonly hidden: number;
  /** Number of blocks. */
  readonly blocks: number;
  /** Attention heads. */
  readonly heads: number;
  /** Width inside the MLP. */
  readonly intermediate: number;
  /** Pixels per side of the tiles that the position table was made for. */
  readonly imageSize: number;
  /** Pixels per patch side. */
  readonly patchSize: number;
  /** Of the layer norms. */
  readonly eps: number;
  /** Whether queries, keys and values have biases. */
  readonly qkvBias: boolean;
}

interface Layer {
  name: string;
  before: Norm;
  q: Linear;
  k: Linear;
  v: Linear;
  out: Linear;
  scale1: Vector;
  after: Norm;
  fc1: Linear;
  fc2: Linear;
  scale2: Vector;
  norms: Vector[];
}

/** Loads the tower under `vision_tower`, for tiles of `pixels.size`. */
export async function loadInternVit(
  store: WeightStore,
  config: InternVitConfig,
  pixels: Pick<PatchShape, "mean" | "std"> & { readonly size: number },
): Promise<VisionPart> {
  const { hidden, patchSize } = config;
  const tableGrid = config.imageSize / patchSize;
  const grid = pixels.size / patchSize;
  const at = "vision_tower.embeddings";
  const patch = await store.linear(
    `${at}.patch_embeddings.projection`,
    hidden,
    3 * patchSize ** 2,
    true,
  );
  const classToken = await store.vector(`${at}.cls_token`, [1, 1, hidden]);
  const positions = await store.vector(`${at}.position_embeddings`, [
    1,
    1 + tableGrid ** 2,
    hidden,
  ]);
  const places = grid === tableGrid
    ? positions.tensor
    : interpolated(store.memory, positions.tensor, tableGrid, grid, hidden);
  const blocks: Block[] = [];
  for (let i = 0; i < config.blocks; i++) {
    blocks.push(toBlock(await loadLayer(store, config, `vision_tower.encoder.layer.${i}`), config));
  }
  const shape: PatchShape = {
    imageSize: pixels.size,
    patchSize,
    mean: pixels.mean,
    std: pixels.std,
  };
  return {
    name: "vision",
    blocks,
    linears: [patch],
    vectors: [classToken, positions, ...biasesOf([patch])],
    embed(ops, tiles) {
      const patches = ops.linear(ops.patches(tiles, shape), patch);
      return ops.assembleTokens(patches, classToken.tensor, places);
    },
    context: (tiles) => ({ sequences: equalSequences(tiles, 1 + grid ** 2) }),
    finish: (ops, x) => ops.pixelShuffle(x, grid),
  };
}

/** The class token's position as it is, the grid's interpolated. */
function interpolated(
  memory: Memory,
  table: Tensor,
  from: number,
  to: number,
  dim: number,
): Tensor {
  const values = floats(memory, table);
  const out = new Float32Array((1 + to ** 2) * dim);
  out.set(values.subarray(0, dim));
  out.set(interpolateGrid(values.slice(dim), from, to, dim), dim);
  return tensorFrom(memory, [1, 1 + to ** 2, dim], out);
}

async function loadLayer(
  store: WeightStore,
  config: InternVitConfig,
  name: string,
): Promise<Layer> {
  const { hidden, intermediate, qkvBias, eps } = config;
  const norms: Vector[] = [];
  const norm = async (which: string): Promise<Norm> => {
    const weight = await store.vector(`${name}.${which}.weight`, [hidden]);
    const bias = await store.vector(`${name}.${which}.bias`, [hidden]);
    norms.push(weight, bias);
    return { weight: weight.tensor, bias: bias.tensor, eps };
  };
  return {
    name,
    before: await norm("layernorm_before"),
    q: await store.linear(`${name}.attention.q_proj`, hidden, hidden, qkvBias),
    k: await store.linear(`${name}.attention.k_proj`, hidden, hidden, qkvBias),
    v: await store.linear(`${name}.attention.v_proj`, hidden, hidden, qkvBias),
    out: await store.linear(`${name}.attention.projection_layer`, hidden, hidden, true),
    scale1: await store.vector(`${name}.lambda_1`, [hidden]),
    after: await norm("layernorm_after"),
    fc1: await store.linear(`${name}.mlp.fc1`, intermediate, hidden, true),
    fc2: await store.linear(`${name}.mlp.fc2`, hidden, intermediate, true),
    scale2: await store.vector(`${name}.lambda_2`, [hidden]),
    norms,
  };
}

function toBlock(layer: Layer, { heads, hidden }: InternVitConfig): Block {
  const linears = [layer.q, layer.k, layer.v, layer.out, layer.fc1, layer.fc2];
  return {
    name: layer.name,
    linears,
    vectors: [...layer.norms, layer.scale1, layer.scale2, ...biasesOf(linears)],
    pairs: [
      { vectors: vectorsOf(layer.before), to: [layer.q, layer.k, layer.v] },
      { from: layer.v, to: [layer.out] },
      { vectors: vectorsOf(layer.after), to: [layer.fc1] },
    ],
    run(ops: Ops, x, { sequences }) {
      const h = ops.layerNorm(x, layer.before);
      const [q, k, v] = [ops.linear(h, layer.q), ops.linear(h, layer.k), ops.linear(h, layer.v)];
      const headDim = hidden / heads;
      const seen = ops.attend(q, k, v, {
        heads,
        kvHeads: heads,
        headDim,
        causal: false,
        sequences,
      });
      x = ops.addScaled(x, ops.linear(seen, layer.out), layer.scale1.tensor);

      const m = ops.gelu(ops.linear(ops.layerNorm(x, layer.after), layer.fc1));
      return ops.addScaled(x, ops.linear(m, layer.fc2), layer.scale2.tensor);
    },
  };
}

function vectorsOf({ weight, bias }: Norm): Tensor[] {
  return bias ? [weight, bias] : [weight];
}
