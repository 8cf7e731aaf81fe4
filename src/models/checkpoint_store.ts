// Weights from a Hugging Face folder, read by range straight into the shared memory. bf16 and f32 linears stay as they
// are, f16 becomes f32; small vectors become f32.
import { badFile } from "../base/errors.ts";
import { fromBf16, fromF16 } from "../base/half.ts";
import type { Linear } from "../formats/weight.ts";
import type { Checkpoint } from "../io/checkpoint.ts";
import { bytesOf, countOf, floats, freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import type { Memory } from "../../wasm/mod.ts";
import type { ResolvedTensor } from "./internvl/layout.ts";
import type { WeightStore } from "./store.ts";
import type { Vector } from "./vlm.ts";

/** Rows converted at a time, in elements: bounds the ordinary memory a conversion takes. */
const STEP = 1 << 20;

/** A store over an open checkpoint whose tensors have been resolved. */
export class CheckpointStore implements WeightStore {
  readonly memory: Memory;
  readonly #checkpoint: Checkpoint;
  readonly #resolved: ReadonlyMap<string, ResolvedTensor>;

  /** Makes a store; weights are loaded when asked for. */
  constructor(
    memory: Memory,
    checkpoint: Checkpoint,
    resolved: ReadonlyMap<string, ResolvedTensor>,
  ) {
    this.memory = memory;
    this.#checkpoint = checkpoint;
    this.#resolved = resolved;
  }

  async linear(name: string, rows: number, columns: number, bias: boolean): Promise<Linear> {
    const tensor = await this.#load(`${name}.weight`, [rows, columns], false);
    const shift = bias ? (await this.vector(`${name}.bias`, [rows])).tensor : undefined;
    return { name, rows, columns, weight: { kind: "dense", tensor }, bias: shift };
  }

  async vector(name: string, shape: readonly number[]): Promise<Vector> {
    return { name, tensor: await this.#load(name, shape, true) };
  }

  async #load(name: string, shape: readonly number[], asFloat: boolean): Promise<Tensor> {
    const place = this.#resolved.get(name);
    if (!place || countOf(place.shape) !== countOf(shape)) {
      throw badFile(this.#checkpoint.folder.name, `has no tensor ${name} of shape [${shape}].`);
    }
    const { dtype } = this.#checkpoint.tensors.get(place.source)!;
    if (dtype !== "BF16" && dtype !== "F32" && dtype !== "F16") {
      throw badFile(
        this.#checkpoint.folder.name,
        `tensor ${place.source} is ${dtype}; weights must be BF16, F16 or F32.`,
      );
    }
    const direct = dtype === "F32" || (dtype === "BF16" && !asFloat);
    const tensor = heapTensor(this.memory, shape, dtype === "BF16" && !asFloat ? "bf16" : "f32");
    try {
      if (direct) {
        const bytes = bytesOf(this.memory, tensor);
        await this.#checkpoint.read(place.source, bytes, place.firstRow, place.rows);
      } else {
        await this.#convert(place, floats(this.memory, tensor), dtype);
      }
    } catch (error) {
      freeTensor(this.memory, tensor);
      throw error;
    }
    return tensor;
  }

  async #convert(
    place: ResolvedTensor,
    into: Float32Array,
    dtype: "BF16" | "F16" | "F32",
  ): Promise<void> {
    const from = dtype === "BF16" ? fromBf16 : fromF16;
    const perRow = into.length / place.rows;
    const step = Math.max(1, Math.floor(STEP / perRow));
    for (let row = 0; row < place.rows; row += step) {
      const rows = Math.min(step, place.rows - row);
      const bits = new Uint16Array(rows * perRow);
      await this.#checkpoint.read(
        place.source,
        new Uint8Array(bits.buffer),
        place.firstRow + row,
        rows,
      );
      for (let i = 0; i < bits.length; i++) into[row * perRow + i] = from(bits[i]!);
    }
  }
}
