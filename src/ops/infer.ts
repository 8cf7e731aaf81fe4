// Ops made of forwards only: prefill, decode, evaluation, the teacher. Results live in an arena and are taken back block
// by block.
import type { Linear, PackedWeight } from "../formats/weight.ts";
import { Arena } from "../tensor/arena.ts";
import { bytesOf, count, integers, reshape, rows, type Tensor, width } from "../tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";
import { badRequest, LobitError } from "../base/errors.ts";
import { attend } from "./attend.ts";
import { packedLinear, packedRows, type Quantized } from "./packed.ts";
import type { AttentionShape, Norm, Ops, PatchShape } from "./ops.ts";

/** How an {@linkcode Infer} computes. */
export interface InferOptions {
  /**
   * Whether dense products, too, use only plain IEEE operations, so that results are the same bits on every engine and
   * CPU. Packed inference is exact; full precision and training use fused multiply-add where there is one.
   */
  exact?: boolean;
  /** What packed products read: activations quantized to int8 (default), or f32 for comparison. */
  activations?: "int8" | "f32";
}

/** Inference operations over one arena. */
export class Infer implements Ops {
  /** Kernels and memory. */
  readonly engine: Engine;
  /** Where results live. Callers that run several passes mark and release it. */
  readonly arena: Arena;
  readonly #exact: boolean;
  readonly #activations: "int8" | "f32";
  #quantized: { x: Tensor; codes: Quantized } | undefined;

  /** Makes operations with an empty arena. */
  constructor(engine: Engine, options: InferOptions = {}) {
    this.engine = engine;
    this.arena = new Arena(engine.memory);
    this.#exact = options.exact ?? false;
    this.#activations = options.activations ?? "int8";
  }

  /** Runs the body, then takes back every tensor it made. The result must not be a tensor of the arena. */
  pass<T>(body: () => T): T {
    const mark = this.arena.mark();
    try {
      return body();
    } finally {
      this.#quantized = undefined;
      this.arena.release(mark);
    }
  }

  /** Gives the arena's memory back. */
  free(): void {
    this.#quantized = undefined;
    this.arena.free();
  }

  /** See {@linkcode Ops}. */
  scope(body: () => Tensor): Tensor {
    const mark = this.arena.mark();
    const result = body();
    this.#quantized = undefined;
    return this.arena.keep(mark, result);
  }

  /** See {@linkcode Ops}. */
  block(x: Tensor, body: (x: Tensor) => Tensor): Tensor {
    return this.scope(() => body(x));
  }

  /** See {@linkcode Ops}. */
  integers(values: ArrayLike<number>): Tensor {
    const tensor = this.arena.tensor([values.length], "i32");
    integers(this.engine.memory, tensor).set(values);
    return tensor;
  }

  /** See {@linkcode Ops}. */
  bytes(values: Uint8Array, shape: readonly number[]): Tensor {
    const tensor = this.arena.tensor(shape, "u8");
    bytesOf(this.engine.memory, tensor).set(values);
    return tensor;
  }

  /** See {@linkcode Ops}. */
  linear(x: Tensor, linear: Linear): Tensor {
    if (width(x) !== linear.columns) {
      throw new LobitError(
        "internal",
        `${linear.name} reads ${linear.columns} columns, but was given [${x.shape}].`,
      );
    }
    const { weight } = linear;
    if (weight.kind === "packed") return this.#packed(x, linear, weight);
    const matrix = weight.kind === "dense" ? weight.tensor : weight.seen;
    return this.#dense(x, linear, matrix);
  }

  #packed(x: Tensor, linear: Linear, weight: PackedWeight): Tensor {
    if (this.#activations === "f32") {
      const matrix = packedRows(this.engine, this.arena, weight);
      return this.#dense(x, linear, matrix);
    }
    const known = this.#quantized?.x === x ? this.#quantized.codes : undefined;
    const { out, codes } = packedLinear(this.engine, this.arena, x, linear, weight, known);
    this.#quantized = { x, codes };
    return out;
  }

  #dense(x: Tensor, linear: Linear, matrix: Tensor): Tensor {
    const m = rows(x), n = linear.rows, k = linear.columns;
    const out = this.arena.tensor([m, n]);
    kernels.gemm(this.engine, {
      out: out.ptr,
      a: x.ptr,
      b: matrix.ptr,
      bKind: matrix.dtype === "bf16" ? "bf16" : "f32",
      m,
      n,
      k,
      aRow: k,
      aCol: 1,
      bRow: 1,
      bCol: k,
      ...(linear.bias && { bias: linear.bias.ptr }),
      exact: this.#exact,
    });
    return out;
  }

  /** See {@linkcode Ops}. */
  layerNorm(x: Tensor, { weight, bias, eps }: Norm): Tensor {
    const out = this.arena.tensor(x.shape);
    kernels.layerNorm(this.engine, out.ptr, x.ptr, weight.ptr, bias!.ptr, rows(x), width(x), eps);
    return out;
  }

  /** See {@linkcode Ops}. */
  rmsNorm(x: Tensor, { weight, eps }: Norm): Tensor {
    const out = this.arena.tensor(x.shape);
    kernels.rmsNorm(this.engine, out.ptr, x.ptr, weight.ptr, rows(x), width(x), eps);
    return out;
  }

  /** See {@linkcode Ops}. */
  add(x: Tensor, y: Tensor): Tensor {
    const out = this.arena.tensor(x.shape);
    kernels.add(this.engine, out.ptr, x.ptr, y.ptr, count(x));
    return out;
  }

  /** See {@linkcode Ops}. */
  addScaled(x: Tensor, y: Tensor, scale: Tensor): Tensor {
    const out = this.arena.tensor(x.shape);
    kernels.addScaled(this.engine, out.ptr, x.ptr, y.ptr, scale.ptr, rows(x), width(x));
    return out;
  }

  /** See {@linkcode Ops}. */
  gelu(x: Tensor): Tensor {
    const out = this.arena.tensor(x.shape);
    kernels.gelu(this.engine, out.ptr, x.ptr, count(x));
    return out;
  }

  /** See {@linkcode Ops}. */
  swiGlu(gate: Tensor, up: Tensor): Tensor {
    const out = this.arena.tensor(gate.shape);
    kernels.swiGlu(this.engine, out.ptr, gate.ptr, up.ptr, count(gate));
    return out;
  }

  /** See {@linkcode Ops}. */
  angles(positions: Tensor, headDim: number, theta: number): Tensor {
    const tokens = count(positions);
    const table = this.arena.tensor([tokens, headDim]);
    kernels.ropeTable(this.engine, table.ptr, positions.ptr, tokens, headDim, theta);
    return table;
  }

  /** See {@linkcode Ops}. */
  rotate(x: Tensor, angles: Tensor, headDim: number): Tensor {
    const out = this.arena.tensor(x.shape);
    const heads = width(x) / headDim;
    kernels.rope(this.engine, out.ptr, x.ptr, angles.ptr, rows(x), heads, headDim, false);
    return out;
  }

  /** See {@linkcode Ops}. */
  attend(q: Tensor, k: Tensor, v: Tensor, shape: AttentionShape): Tensor {
    const out = this.arena.tensor(q.shape);
    attend(this.engine, this.arena, out, q, k, v, shape);
    return out;
  }

  /** See {@linkcode Ops}. */
  embed(ids: Tensor, table: Linear): Tensor {
    checkIds(integers(this.engine.memory, ids), table);
    const { weight } = table;
    if (weight.kind === "packed") return packedRows(this.engine, this.arena, weight, ids);
    const matrix = weight.kind === "dense" ? weight.tensor : weight.seen;
    const out = this.arena.tensor([count(ids), table.columns]);
    const kind = matrix.dtype === "bf16" ? "bf16" : "f32";
    kernels.gatherRows(this.engine, out.ptr, matrix.ptr, kind, ids.ptr, count(ids), table.columns);
    return out;
  }

  /** See {@linkcode Ops}. */
  replaceRows(x: Tensor, values: Tensor, at: Tensor): Tensor {
    kernels.replaceRows(this.engine, x.ptr, values.ptr, at.ptr, count(at), width(x));
    return reshape(x, x.shape);
  }

  /** See {@linkcode Ops}. */
  takeRows(x: Tensor, at: Tensor): Tensor {
    const out = this.arena.tensor([count(at), width(x)]);
    kernels.gatherRows(this.engine, out.ptr, x.ptr, "f32", at.ptr, count(at), width(x));
    return out;
  }

  /** See {@linkcode Ops}. */
  patches(tiles: Tensor, { imageSize, patchSize, mean, std }: PatchShape): Tensor {
    const number = tiles.shape[0]!;
    const out = this.arena.tensor([number * (imageSize / patchSize) ** 2, 3 * patchSize ** 2]);
    kernels.extractPatches(
      this.engine,
      out.ptr,
      tiles.ptr,
      number,
      imageSize,
      patchSize,
      mean,
      std,
    );
    return out;
  }

  /** See {@linkcode Ops}. */
  assembleTokens(patches: Tensor, classToken: Tensor, positions: Tensor): Tensor {
    const dim = width(patches);
    const perTile = rows(positions);
    const tiles = rows(patches) / (perTile - 1);
    const out = this.arena.tensor([tiles * perTile, dim]);
    kernels.assembleTokens(
      this.engine,
      out.ptr,
      patches.ptr,
      classToken.ptr,
      positions.ptr,
      tiles,
      perTile,
      dim,
    );
    return out;
  }

  /** See {@linkcode Ops}. */
  pixelShuffle(x: Tensor, grid: number): Tensor {
    const tiles = rows(x) / (1 + grid ** 2);
    const out = this.arena.tensor([tiles * (grid / 2) ** 2, 4 * width(x)]);
    kernels.pixelShuffle(this.engine, out.ptr, x.ptr, tiles, grid, width(x));
    return out;
  }
}

function checkIds(ids: Int32Array, table: Linear): void {
  for (const id of ids) {
    if (id < 0 || id >= table.rows) {
      throw badRequest(`Token id ${id} is outside ${table.name}, which has ${table.rows} rows.`);
    }
  }
}
