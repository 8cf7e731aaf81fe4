// Weights made on the fly: random bytes in the layout of a format, valid as a file's would have to be, so that kernels
// do the work they would do on a trained model of that shape. Outputs stay near the size of inputs.
import { Random } from "../base/random.ts";
import type { Format } from "../formats/format.ts";
import { fitFormat } from "../formats/format.ts";
import { SCALE_LIMIT } from "../formats/grid.ts";
import { type Layout, layoutOf } from "../formats/layout.ts";
import type { Linear, Weight } from "../formats/weight.ts";
import type { WeightStore } from "../models/store.ts";
import type { Vector } from "../models/vlm.ts";
import { byteLength, bytesOf, floats, heapTensor, type Tensor } from "../tensor/tensor.ts";
import type { Memory } from "../../wasm/mod.ts";

/** Random bytes are drawn once and repeated: their values do not change the speed. An odd prime hides the seam. */
const DRAWN = 999_983;

/** Random weights in the formats asked for. */
export class SyntheticStore implements WeightStore {
  readonly memory: Memory;
  readonly #formatOf: (name: string) => Format | undefined;
  readonly #noise: Uint8Array;
  #bytes = 0;

  /** Makes a store. `formatOf` names a linear's format; nothing means bf16. */
  constructor(memory: Memory, formatOf: (name: string) => Format | undefined, seed: number = 1) {
    this.memory = memory;
    this.#formatOf = formatOf;
    const random = new Random(seed);
    this.#noise = new Uint8Array(DRAWN);
    for (let i = 0; i < DRAWN; i++) this.#noise[i] = random.bits() & 255;
  }

  /** Bytes of all weights given out. */
  get bytes(): number {
    return this.#bytes;
  }

  /** See {@linkcode WeightStore}. */
  async linear(name: string, rows: number, columns: number, bias: boolean): Promise<Linear> {
    const shift = bias ? (await this.vector(`${name}.bias`, [rows])).tensor : undefined;
    const wanted = this.#formatOf(name);
    const weight = wanted
      ? this.#packed(layoutOf(fitFormat(wanted, rows, columns), rows, columns))
      : this.#dense(rows, columns);
    return { name, rows, columns, weight, bias: shift };
  }

  /** See {@linkcode WeightStore}. */
  vector(name: string, shape: readonly number[]): Promise<Vector> {
    const tensor = this.#counted(heapTensor(this.memory, shape));
    const values = floats(this.memory, tensor);
    // Norm weights are 1; biases, layer scales and tokens small.
    const one = /norm.*\.weight$/.test(name);
    for (let i = 0; i < values.length; i++) {
      values[i] = one ? 1 : (this.#noise[i % DRAWN]! - 127.5) / 2048;
    }
    return Promise.resolve({ name, tensor });
  }

  #counted(tensor: Tensor): Tensor {
    this.#bytes += byteLength(tensor);
    return tensor;
  }

  #fill(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += DRAWN) {
      bytes.set(this.#noise.subarray(0, Math.min(DRAWN, bytes.length - at)), at);
    }
  }

  #packed(layout: Layout): Weight {
    const { format } = layout;
    const blob = this.#counted(heapTensor(this.memory, [layout.bytes], "u8"));
    this.#fill(bytesOf(this.memory, blob));
    const { buffer, byteOffset } = bytesOf(this.memory, blob);
    // A typical scale is half the limit, and a typical code lies a quarter of the range off its zero.
    const size = SCALE_LIMIT / 2 * 2 ** format.bits / 4 * Math.sqrt(layout.columns);
    new Float32Array(buffer, byteOffset + layout.units.offset, layout.panels).fill(1 / size);
    const region = layout.second ?? layout.scales;
    const scales = new Int16Array(buffer, byteOffset + region.offset, region.bytes / 2);
    for (let i = 0; i < scales.length; i++) {
      const noise = this.#noise[i % DRAWN]!;
      // With a second level: a base of up to 8,415 and a step of up to 520, whose fifteenfold is 7,800.
      if (!layout.second) scales[i] = 1 + noise * 64;
      else scales[i] = i % 2 === 0 ? 255 + noise * 32 : 10 + noise * 2;
    }
    return { kind: "packed", format, layout, blob };
  }

  #dense(rows: number, columns: number): Weight {
    const tensor = this.#counted(heapTensor(this.memory, [rows, columns], "bf16"));
    const bytes = bytesOf(this.memory, tensor);
    const values = new Uint16Array(bytes.buffer, bytes.byteOffset, rows * columns);
    // Sign and mantissa are random; the exponent is that of a number near 1 / sqrt(columns).
    const exponent = Math.max(1, 127 - Math.round(Math.log2(columns) / 2)) << 7;
    for (let i = 0; i < values.length; i++) {
      const noise = this.#noise[i % DRAWN]!;
      values[i] = (noise & 128) << 8 | exponent | (noise & 127);
    }
    return { kind: "dense", tensor };
  }
}
