// Qwen2 decoder: RMS norms, rotary positions, grouped heads, SwiGLU. Qwen team, "Qwen2 Technical Report", 2024.
import type { Linear } from "../../formats/weight.ts";
import type { Norm, Ops } from "../../ops/ops.ts";
import { biasesOf, type WeightStore } from "../store.ts";
import type { Block, LanguagePart, Vector } from "../vlm.ts";

/** What the decoder is made of. */
export interface Qwen2Config {
  /** Width. */
  readonly hidden: number;
  /** Number of blocks. */
  readonly blocks: number;
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads; they divide `heads`. */
  readonly kvHeads: number;
  /** Width of a head; even. */
  readonly headDim: number;
  /** Width inside the MLP. */
  readonly intermediate: number;
  /** Rows of embedding and head. */
  readonly vocab: number;
  /** Base of the rotary frequencies. */
  readonly ropeTheta: number;
  /** Of the RMS norms. */
  readonly eps: number;
  /** Longest context. */
  readonly maxPositions: number;
  /** Whether the head is the embedding. */
  readonly tied: boolean;
}

interface Layer {
  name: string;
  index: number;
  inputNorm: Norm;
  q: Linear;
  k: Linear;
  v: Linear;
  o: Linear;
  mlpNorm: Norm;
  gate: Linear;
  up: Linear;
  down: Linear;
  norms: Vector[];
}

/** Loads the decoder under `language_model`. */
export async function loadQwen2(store: WeightStore, config: Qwen2Config): Promise<LanguagePart> {
  const { hidden, vocab, headDim, kvHeads, eps } = config;
  const table = await store.linear("language_model.model.embed_tokens", vocab, hidden, false);
  const blocks: Block[] = [];
  for (let i = 0; i < config.blocks; i++) {
    blocks.push(toBlock(await loadLayer(store, config, i), config));
  }
  const finalNorm = await store.vector("language_model.model.norm.weight", [hidden]);
  const head = config.tied
    ? table
    : await store.linear("language_model.lm_head", vocab, hidden, false);
  return {
    name: "language",
    blocks,
    linears: [],
    vectors: [finalNorm],
    table,
    head,
    cacheShape: { blocks: config.blocks, kvHeads, headDim },
    maxPositions: config.maxPositions,
    embed: (ops, ids) => ops.embed(ids, table),
    context(ops, sequences, caches) {
      const positions = sequences.lengths.flatMap((length, i) => {
        const first = caches?.[i]?.length ?? 0;
        return Array.from({ length }, (_, t) => first + t);
      });
      const angles = ops.angles(ops.integers(positions), headDim, config.ropeTheta);
      return { sequences, angles, caches };
    },
    finish: (ops, x) => ops.rmsNorm(x, { weight: finalNorm.tensor, eps }),
  };
}

async function loadLayer(store: WeightStore, config: Qwen2Config, index: number): Promise<Layer> {
  const { hidden, intermediate, heads, kvHeads, headDim, eps } = config;
  const name = `language_model.model.layers.${index}`;
  const inputNorm = await store.vector(`${name}.input_layernorm.weight`, [hidden]);
  const mlpNorm = await store.vector(`${name}.post_attention_layernorm.weight`, [hidden]);
  return {
    name,
    index,
    inputNorm: { weight: inputNorm.tensor, eps },
    q: await store.linear(`${name}.self_attn.q_proj`, heads * headDim, hidden, true),
    k: await store.linear(`${name}.self_attn.k_proj`, kvHeads * headDim, hidden, true),
    v: await store.linear(`${name}.self_attn.v_proj`, kvHeads * headDim, hidden, true),
    o: await store.linear(`${name}.self_attn.o_proj`, hidden, heads * headDim, false),
    mlpNorm: { weight: mlpNorm.tensor, eps },
    gate: await store.linear(`${name}.mlp.gate_proj`, intermediate, hidden, false),
    up: await store.linear(`${name}.mlp.up_proj`, intermediate, hidden, false),
    down: await store.linear(`${name}.mlp.down_proj`, hidden, intermediate, false),
    norms: [inputNorm, mlpNorm],
  };
}

function toBlock(layer: Layer, { heads, kvHeads, headDim }: Qwen2Config): Block {
  const linears = [layer.q, layer.k, layer.v, layer.o, layer.gate, layer.up, layer.down];
  return {
    name: layer.name,
    linears,
    vectors: [...layer.norms, ...biasesOf(linears)],
    pairs: [
      { vectors: [layer.inputNorm.weight], to: [layer.q, layer.k, layer.v] },
      {
        from: layer.v,
        to: [layer.o],
        channelOf(column) {
          const head = Math.floor(column / headDim);
          return Math.floor(head * kvHeads / heads) * headDim + column % headDim;
        },
      },
      { vectors: [layer.mlpNorm.weight], to: [layer.gate, layer.up] },
      { from: layer.up, to: [layer.down] },
    ],
    run(ops: Ops, x, { sequences, angles, caches }) {
      const h = ops.rmsNorm(x, layer.inputNorm);
      const q = ops.rotate(ops.linear(h, layer.q), angles!, headDim);
      const k = ops.rotate(ops.linear(h, layer.k), angles!, headDim);
      const v = ops.linear(h, layer.v);
      const cache = caches && { of: caches, block: layer.index };
      const seen = ops.attend(q, k, v, { heads, kvHeads, headDim, causal: true, sequences, cache });
      x = ops.add(x, ops.linear(seen, layer.o));

      const m = ops.rmsNorm(x, layer.mlpNorm);
      const inner = ops.swiGlu(ops.linear(m, layer.gate), ops.linear(m, layer.up));
      return ops.add(x, ops.linear(inner, layer.down));
    },
  };
}
