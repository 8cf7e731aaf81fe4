// The models that peers run: Qwen2 with InternVL3-1B's language shape, and, for the vision tower, an encoder of the same
// size (24 layers of 1024, MLP of 4096, 16 heads, run on 1025 tokens), which llama.cpp knows as "bert".
import { type GgufTensor, type Value, writeGguf } from "./gguf.ts";

const VOCAB = 151_674;

/** Byte-level tokens first, then made-up words. */
function words(count: number): string[] {
  const bytes: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
    bytes.push(String.fromCharCode(plain ? byte : next++));
  }
  return Array.from({ length: count }, (_, i) => bytes[i] ?? `w${i}`);
}

const norm = (name: string, size: number): GgufTensor => ({ name, shape: [size], type: "f32" });

/** Q4_0, or with `small` Q2_K where rows are multiples of 256 (the down projections), else Q4_0. */
export async function writeLanguage(path: string, small: boolean): Promise<void> {
  const hidden = 896, inner = 4864, heads = 14, kvHeads = 2, headDim = 64, blocks = 24;
  const keys: Record<string, Value> = {
    "general.architecture": "qwen2",
    "general.name": "InternVL3-1B language shape, random",
    "qwen2.block_count": blocks,
    "qwen2.context_length": 32768,
    "qwen2.embedding_length": hidden,
    "qwen2.feed_forward_length": inner,
    "qwen2.attention.head_count": heads,
    "qwen2.attention.head_count_kv": kvHeads,
    "qwen2.attention.layer_norm_rms_epsilon": { f32: 1e-6 },
    "qwen2.rope.freq_base": { f32: 1e6 },
    "general.file_type": 2,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": { strings: words(VOCAB) },
    "tokenizer.ggml.token_type": { i32: new Array<number>(VOCAB).fill(1) },
    "tokenizer.ggml.merges": { strings: ["a b"] },
    "tokenizer.ggml.bos_token_id": 300,
    "tokenizer.ggml.eos_token_id": 301,
    "tokenizer.ggml.add_bos_token": false,
  };
  const tensors: GgufTensor[] = [];
  const linear = (name: string, columns: number, rows: number) =>
    tensors.push({
      name: `${name}.weight`,
      shape: [columns, rows],
      type: small && columns % 256 === 0 ? "q2_k" : "q4_0",
    });
  linear("token_embd", hidden, VOCAB);
  for (let block = 0; block < blocks; block++) {
    const at = `blk.${block}`;
    tensors.push(norm(`${at}.attn_norm.weight`, hidden), norm(`${at}.ffn_norm.weight`, hidden));
    const sizes = [["attn_q", heads * headDim], ["attn_k", kvHeads * headDim], [
      "attn_v",
      kvHeads * headDim,
    ]] as const;
    for (const [name, rows] of sizes) {
      linear(`${at}.${name}`, hidden, rows);
      tensors.push(norm(`${at}.${name}.bias`, rows));
    }
    linear(`${at}.attn_output`, heads * headDim, hidden);
    linear(`${at}.ffn_gate`, hidden, inner);
    linear(`${at}.ffn_up`, hidden, inner);
    linear(`${at}.ffn_down`, inner, hidden);
  }
  tensors.push(norm("output_norm.weight", hidden));
  linear("output", hidden, VOCAB);
  await writeGguf(path, keys, tensors);
}

/** The stand-in for the vision tower, Q4_0. */
export async function writeTower(path: string): Promise<void> {
  const hidden = 1024, inner = 4096, blocks = 24, positions = 1088, vocab = 1000;
  const tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
  const keys: Record<string, Value> = {
    "general.architecture": "bert",
    "general.name": "InternViT-300M shape, random",
    "bert.block_count": blocks,
    "bert.context_length": positions,
    "bert.embedding_length": hidden,
    "bert.feed_forward_length": inner,
    "bert.attention.head_count": 16,
    "bert.attention.layer_norm_epsilon": { f32: 1e-6 },
    "bert.attention.causal": false,
    "bert.pooling_type": 1,
    "general.file_type": 2,
    "tokenizer.ggml.model": "bert",
    "tokenizer.ggml.tokens": {
      strings: Array.from({ length: vocab }, (_, i) => tokens[i] ?? `\u2581w${i}`),
    },
    "tokenizer.ggml.token_type": { i32: new Array<number>(vocab).fill(1) },
    "tokenizer.ggml.token_type_count": 2,
    "tokenizer.ggml.unknown_token_id": 1,
    "tokenizer.ggml.cls_token_id": 2,
    "tokenizer.ggml.seperator_token_id": 3,
    "tokenizer.ggml.padding_token_id": 0,
    "tokenizer.ggml.mask_token_id": 4,
  };
  const tensors: GgufTensor[] = [];
  const both = (name: string, size: number) =>
    tensors.push(norm(`${name}.weight`, size), norm(`${name}.bias`, size));
  const linear = (name: string, columns: number, rows: number) => {
    tensors.push({ name: `${name}.weight`, shape: [columns, rows], type: "q4_0" });
    tensors.push(norm(`${name}.bias`, rows));
  };
  tensors.push({ name: "token_embd.weight", shape: [hidden, vocab], type: "q4_0" });
  tensors.push({ name: "token_types.weight", shape: [hidden, 2], type: "f32" });
  tensors.push({ name: "position_embd.weight", shape: [hidden, positions], type: "f32" });
  both("token_embd_norm", hidden);
  for (let block = 0; block < blocks; block++) {
    const at = `blk.${block}`;
    for (const name of ["attn_q", "attn_k", "attn_v", "attn_output"]) {
      linear(`${at}.${name}`, hidden, hidden);
    }
    both(`${at}.attn_output_norm`, hidden);
    linear(`${at}.ffn_up`, hidden, inner);
    linear(`${at}.ffn_down`, inner, hidden);
    both(`${at}.layer_output_norm`, hidden);
  }
  await writeGguf(path, keys, tensors);
}
