// Reverse mode over the same model code that inference runs: a tape is an Ops whose every verb computes its result by
// `Infer` and notes, right beside that call, how a gradient of the result becomes gradients of what it was made of.
import { LobitError } from "../base/errors.ts";
import type { Linear, Weight } from "../formats/weight.ts";
import { attend, kernelShape, sequenceTable } from "../ops/attend.ts";
import type { AttentionShape, Norm, Ops, PatchShape } from "../ops/ops.ts";
import { packedRows } from "../ops/packed.ts";
import { count, rows, type Tensor, width } from "../tensor/tensor.ts";
import { kernels, NULL } from "../../wasm/mod.ts";
import { Recorder } from "./recorder.ts";

/**
 * Records one forward pass; {@linkcode Recorder.backward} runs it back. The order is: `reset`, the forward, gradients
 * put on what the loss reads (`gradient`), `backward`.
 */
export class Tape extends Recorder implements Ops {
  integers(values: ArrayLike<number>): Tensor {
    return this.infer.integers(values);
  }

  bytes(values: Uint8Array, shape: readonly number[]): Tensor {
    return this.infer.bytes(values, shape);
  }

  linear(x: Tensor, linear: Linear): Tensor {
    const { weight, bias, rows: n, columns: k } = linear;
    const trained = trainedBy(weight);
    const out = this.infer.linear(x, linear);
    return this.record(out, [x, trained, bias], (dy) => {
      const m = rows(x);
      this.send(x, (dx, add) => {
        const mark = this.arena.mark();
        const w = this.#seen(weight);
        const bKind = w.dtype === "bf16" ? "bf16" : "f32";
        const strides = { aRow: n, aCol: 1, bRow: k, bCol: 1, bKind } as const;
        const sizes = { m, n: k, k: n, ...strides, accumulate: add };
        kernels.gemm(this.engine, { out: dx, a: dy.ptr, b: w.ptr, ...sizes });
        this.arena.release(mark);
      });
      if (trained && this.follows(trained)) {
        const strides = { aRow: 1, aCol: n, bRow: k, bCol: 1, bKind: "f32" } as const;
        const sizes = { m: n, n: k, k: m, ...strides, accumulate: true };
        kernels.gemm(this.engine, { out: this.sink(trained), a: dy.ptr, b: x.ptr, ...sizes });
      }
      if (bias && this.follows(bias)) {
        kernels.sumColumns(this.engine, this.sink(bias), dy.ptr, m, n);
      }
    });
  }

  /** What products see of a weight; a packed one is unpacked into the arena. */
  #seen(weight: Weight): Tensor {
    if (weight.kind === "dense") return weight.tensor;
    if (weight.kind === "fake-quant") return weight.seen;
    return packedRows(this.engine, this.arena, weight);
  }

  layerNorm(x: Tensor, norm: Norm): Tensor {
    const { weight, bias, eps } = norm;
    return this.record(this.infer.layerNorm(x, norm), [x, weight, bias], (dy) => {
      const dx = this.arena.tensor(x.shape);
      const [dweight, dbias] = [this.sink(weight), this.sink(bias)];
      const [tokens, dim] = [rows(x), width(x)];
      kernels.layerNormBackward(
        this.engine,
        dx.ptr,
        dweight,
        dbias,
        x.ptr,
        weight.ptr,
        dy.ptr,
        tokens,
        dim,
        eps,
      );
      this.give(x, dx);
    });
  }

  rmsNorm(x: Tensor, norm: Norm): Tensor {
    const { weight, eps } = norm;
    return this.record(this.infer.rmsNorm(x, norm), [x, weight], (dy) => {
      const dx = this.arena.tensor(x.shape);
      const [tokens, dim] = [rows(x), width(x)];
      const dweight = this.sink(weight);
      kernels.rmsNormBackward(
        this.engine,
        dx.ptr,
        dweight,
        x.ptr,
        weight.ptr,
        dy.ptr,
        tokens,
        dim,
        eps,
      );
      this.give(x, dx);
    });
  }

  add(x: Tensor, y: Tensor): Tensor {
    return this.record(this.infer.add(x, y), [x, y], (dy) => {
      // Both get dy, and each may go on adding to its own.
      if (this.follows(y)) this.give(y, this.#same(dy));
      this.give(x, dy);
    });
  }

  addScaled(x: Tensor, y: Tensor, scale: Tensor): Tensor {
    return this.record(this.infer.addScaled(x, y, scale), [x, y, scale], (dy) => {
      const [tokens, dim] = [rows(x), width(x)];
      if (this.follows(scale)) {
        kernels.sumColumnProducts(this.engine, this.sink(scale), dy.ptr, y.ptr, tokens, dim);
      }
      if (this.follows(y)) {
        const part = this.arena.tensor(y.shape);
        kernels.scaleRows(this.engine, part.ptr, dy.ptr, scale.ptr, tokens, dim);
        this.give(y, part);
      }
      this.give(x, dy);
    });
  }

  #same(tensor: Tensor): Tensor {
    const copy = this.arena.tensor(tensor.shape);
    kernels.appendRows(this.engine, copy.ptr, tensor.ptr, rows(tensor), 4 * width(tensor));
    return copy;
  }

  gelu(x: Tensor): Tensor {
    return this.record(this.infer.gelu(x), [x], (dy) => {
      const dx = this.arena.tensor(x.shape);
      kernels.geluBackward(this.engine, dx.ptr, x.ptr, dy.ptr, count(x));
      this.give(x, dx);
    });
  }

  swiGlu(gate: Tensor, up: Tensor): Tensor {
    return this.record(this.infer.swiGlu(gate, up), [gate, up], (dy) => {
      const [dgate, dup] = [this.arena.tensor(gate.shape), this.arena.tensor(up.shape)];
      const inputs = [gate.ptr, up.ptr, dy.ptr] as const;
      kernels.swiGluBackward(this.engine, dgate.ptr, dup.ptr, ...inputs, count(gate));
      this.give(gate, dgate);
      this.give(up, dup);
    });
  }

  angles(positions: Tensor, headDim: number, theta: number): Tensor {
    return this.infer.angles(positions, headDim, theta);
  }

  rotate(x: Tensor, angles: Tensor, headDim: number): Tensor {
    return this.record(this.infer.rotate(x, angles, headDim), [x], (dy) => {
      const dx = this.arena.tensor(x.shape);
      const heads = width(x) / headDim;
      kernels.rope(this.engine, dx.ptr, dy.ptr, angles.ptr, rows(x), heads, headDim, true);
      this.give(x, dx);
    });
  }

  attend(q: Tensor, k: Tensor, v: Tensor, shape: AttentionShape): Tensor {
    if (!this.recording) return this.infer.attend(q, k, v, shape);
    if (shape.cache) {
      throw new LobitError("internal", "Training keeps no cache of keys and values.");
    }
    const out = this.arena.tensor(q.shape);
    const lse = this.arena.tensor([rows(q), shape.heads]);
    attend(this.engine, this.arena, out, q, k, v, shape, lse);
    return this.record(out, [q, k, v], (dy) => {
      const [dq, dk, dv] = [q, k, v].map(({ shape }) => this.arena.tensor(shape));
      const table = sequenceTable(this.engine, this.arena, k, v, shape);
      kernels.attendBackward(this.engine, {
        dq: dq!.ptr,
        dk: dk!.ptr,
        dv: dv!.ptr,
        dout: dy.ptr,
        q: q.ptr,
        k: k.ptr,
        v: v.ptr,
        keys: rows(k),
        out: out.ptr,
        lse: lse.ptr,
        ...kernelShape(table, shape),
      });
      this.give(q, dq!);
      this.give(k, dk!);
      this.give(v, dv!);
    });
  }

  embed(ids: Tensor, table: Linear): Tensor {
    const trained = trainedBy(table.weight);
    return this.record(this.infer.embed(ids, table), [trained], (dy) => {
      const to = this.sink(trained);
      kernels.scatterAddRows(this.engine, to, dy.ptr, ids.ptr, count(ids), table.columns);
    });
  }

  replaceRows(x: Tensor, values: Tensor, at: Tensor): Tensor {
    return this.record(this.infer.replaceRows(x, values, at), [x, values], (dy) => {
      if (this.follows(values)) this.give(values, this.infer.takeRows(dy, at));
      if (this.follows(x)) {
        kernels.replaceRows(this.engine, dy.ptr, NULL, at.ptr, count(at), width(x));
        this.give(x, dy);
      }
    });
  }

  takeRows(x: Tensor, at: Tensor): Tensor {
    return this.record(this.infer.takeRows(x, at), [x], (dy) => {
      const to = this.gradient(x);
      kernels.scatterAddRows(this.engine, to.ptr, dy.ptr, at.ptr, count(at), width(x));
    });
  }

  patches(tiles: Tensor, shape: PatchShape): Tensor {
    return this.infer.patches(tiles, shape);
  }

  assembleTokens(patches: Tensor, classToken: Tensor, positions: Tensor): Tensor {
    const out = this.infer.assembleTokens(patches, classToken, positions);
    return this.record(out, [patches, classToken, positions], (dy) => {
      const perTile = rows(positions);
      const dpatches = this.follows(patches) ? this.arena.tensor(patches.shape) : undefined;
      kernels.assembleTokensBackward(
        this.engine,
        dpatches?.ptr ?? NULL,
        this.sink(classToken),
        this.sink(positions),
        dy.ptr,
        rows(out) / perTile,
        perTile,
        width(out),
      );
      if (dpatches) this.give(patches, dpatches);
    });
  }

  pixelShuffle(x: Tensor, grid: number): Tensor {
    return this.record(this.infer.pixelShuffle(x, grid), [x], (dy) => {
      const dx = this.arena.tensor(x.shape);
      const tiles = rows(x) / (1 + grid ** 2);
      kernels.pixelShuffleBackward(this.engine, dx.ptr, dy.ptr, tiles, grid, width(x));
      this.give(x, dx);
    });
  }
}

/** The tensor that the optimiser would move. */
function trainedBy(weight: Weight): Tensor | undefined {
  if (weight.kind === "dense") return weight.tensor;
  return weight.kind === "fake-quant" ? weight.latent : undefined;
}
