// Ops that show every linear's input to a listener while a model runs, and do nothing else of their own.
import type { Linear } from "../formats/weight.ts";
import type { AttentionShape, Norm, Ops, PatchShape } from "../ops/ops.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Sees a linear and its input f32 [tokens, columns] before the product; the input belongs to the ops. */
export type Listener = (linear: Linear, input: Tensor) => void;

/** Delegates to other ops. */
export class Observer implements Ops {
  readonly #ops: Ops;
  readonly #listen: Listener;

  /** Listens to the linears that run on `ops`. */
  constructor(ops: Ops, listen: Listener) {
    this.#ops = ops;
    this.#listen = listen;
  }

  linear(x: Tensor, linear: Linear): Tensor {
    this.#listen(linear, x);
    return this.#ops.linear(x, linear);
  }

  // A block's own tensors are kept until the whole pass ends, so that listeners may hold on to inputs.
  block(x: Tensor, body: (x: Tensor) => Tensor): Tensor {
    return body(x);
  }

  scope(body: () => Tensor): Tensor {
    return body();
  }

  integers(values: ArrayLike<number>): Tensor {
    return this.#ops.integers(values);
  }

  bytes(values: Uint8Array, shape: readonly number[]): Tensor {
    return this.#ops.bytes(values, shape);
  }

  layerNorm(x: Tensor, norm: Norm): Tensor {
    return this.#ops.layerNorm(x, norm);
  }

  rmsNorm(x: Tensor, norm: Norm): Tensor {
    return this.#ops.rmsNorm(x, norm);
  }

  add(x: Tensor, y: Tensor): Tensor {
    return this.#ops.add(x, y);
  }

  addScaled(x: Tensor, y: Tensor, scale: Tensor): Tensor {
    return this.#ops.addScaled(x, y, scale);
  }

  gelu(x: Tensor): Tensor {
    return this.#ops.gelu(x);
  }

  swiGlu(gate: Tensor, up: Tensor): Tensor {
    return this.#ops.swiGlu(gate, up);
  }

  angles(positions: Tensor, headDim: number, theta: number): Tensor {
    return this.#ops.angles(positions, headDim, theta);
  }

  rotate(x: Tensor, angles: Tensor, headDim: number): Tensor {
    return this.#ops.rotate(x, angles, headDim);
  }

  attend(q: Tensor, k: Tensor, v: Tensor, shape: AttentionShape): Tensor {
    return this.#ops.attend(q, k, v, shape);
  }

  embed(ids: Tensor, table: Linear): Tensor {
    return this.#ops.embed(ids, table);
  }

  replaceRows(x: Tensor, rows: Tensor, at: Tensor): Tensor {
    return this.#ops.replaceRows(x, rows, at);
  }

  takeRows(x: Tensor, at: Tensor): Tensor {
    return this.#ops.takeRows(x, at);
  }

  patches(tiles: Tensor, shape: PatchShape): Tensor {
    return this.#ops.patches(tiles, shape);
  }

  assembleTokens(patches: Tensor, classToken: Tensor, positions: Tensor): Tensor {
    return this.#ops.assembleTokens(patches, classToken, positions);
  }

  pixelShuffle(x: Tensor, grid: number): Tensor {
    return this.#ops.pixelShuffle(x, grid);
  }
}
