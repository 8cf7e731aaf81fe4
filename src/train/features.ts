// What a frozen tower sees in the examples' pictures, computed once per example and kept on the host's heap up to a
// limit; beyond it, computed again when needed, with the same bits.
import type { Vlm } from "../models/vlm.ts";
import { Infer } from "../ops/infer.ts";
import type { Arena } from "../tensor/arena.ts";
import { floats, type Tensor, width } from "../tensor/tensor.ts";
import type { Engine } from "../../wasm/mod.ts";
import type { ExampleSource } from "./batch.ts";
import { lookAt } from "./forward.ts";

/** Rows of the tower that go through it at once: bounds the memory of the pass. */
const TOWER_ROWS = 4200;
/** Most bytes of features that are kept, unless told otherwise. */
export const FEATURE_BYTES: number = 1 << 30;

/** How features are computed. */
export interface FeatureOptions {
  /** The examples to compute together with one, itself included. */
  readonly companions: (example: number) => readonly number[];
  /** Plain arithmetic, as packed inference uses it: what is trained on is then what runs. */
  readonly exact: boolean;
  /** Most bytes kept; 1 GiB by default. */
  readonly limit?: number;
}

/** Features of a tower that does not train. */
export class Features {
  readonly #engine: Engine;
  readonly #vlm: Vlm;
  readonly #examples: ExampleSource;
  readonly #options: FeatureOptions;
  readonly #ops: Infer;
  readonly #kept = new Map<number, Float32Array>();
  #bytes = 0;

  /** Nothing is computed yet. */
  constructor(engine: Engine, vlm: Vlm, examples: ExampleSource, options: FeatureOptions) {
    this.#engine = engine;
    this.#vlm = vlm;
    this.#examples = examples;
    this.#options = options;
    this.#ops = new Infer(engine, { exact: options.exact });
  }

  /** The projector's inputs for some examples, in the order of their spans; nothing if they have no pictures. */
  of(examples: readonly number[], arena: Arena): Tensor | undefined {
    const found = new Map<number, Float32Array>();
    for (const example of examples) {
      if (found.has(example) || this.#examples.prompt(example).images.length === 0) continue;
      const kept = this.#kept.get(example);
      if (kept) found.set(example, kept);
      else this.#compute(example, examples, found);
    }
    const parts = examples.flatMap((example) => found.get(example) ?? []);
    const size = parts.reduce((sum, { length }) => sum + length, 0);
    if (size === 0) return undefined;
    const columns = this.#width;
    const tensor = arena.tensor([size / columns, columns]);
    const values = floats(this.#engine.memory, tensor);
    parts.reduce((at, part) => (values.set(part, at), at + part.length), 0);
    return tensor;
  }

  get #width(): number {
    return this.#vlm.projector.linears[0]!.columns;
  }

  /** Computes an example and its companions; those that are wanted now go into `found` even if they cannot be kept. */
  #compute(example: number, wanted: readonly number[], found: Map<number, Float32Array>): void {
    const { companions, limit = FEATURE_BYTES } = this.#options;
    const together = companions(example).filter((other) =>
      this.#examples.prompt(other).images.length > 0
    );
    const tiles: Uint8Array[] = [];
    const places: { example: number; first: number; count: number }[] = [];
    let tileCount = 0;
    for (const other of together) {
      for (const { data, count } of this.#examples.images(other)) {
        places.push({ example: other, first: tileCount, count });
        tiles.push(data);
        tileCount += count;
      }
    }
    const perTile = this.#run(tiles, tileCount);
    const size = perTile.length / tileCount;
    for (const other of together) {
      const images = places.filter((place) => place.example === other);
      const spans = this.#examples.prompt(other).images;
      const values = new Float32Array(
        spans.reduce((sum, { image }) => sum + images[image]!.count * size, 0),
      );
      spans.reduce((at, { image }) => {
        const { first, count } = images[image]!;
        values.set(perTile.subarray(first * size, (first + count) * size), at);
        return at + count * size;
      }, 0);
      if (wanted.includes(other)) found.set(other, values);
      if (!this.#kept.has(other) && this.#bytes + values.byteLength <= limit) {
        this.#bytes += values.byteLength;
        this.#kept.set(other, values);
      }
    }
  }

  #run(tiles: readonly Uint8Array[], count: number): Float32Array {
    const size = this.#vlm.input.imageSize;
    const bytes = size * size * 3;
    const pixels = new Uint8Array(count * bytes);
    tiles.reduce((at, data) => (pixels.set(data, at), at + data.length), 0);
    const rowsPerTile = this.#vlm.vision.context(1).sequences.total;
    const group = Math.max(1, Math.floor(TOWER_ROWS / rowsPerTile));
    const parts: Float32Array[] = [];
    for (let first = 0; first < count; first += group) {
      const number = Math.min(group, count - first);
      parts.push(this.#ops.pass(() => {
        const part = pixels.subarray(first * bytes, (first + number) * bytes);
        const features = lookAt(
          this.#ops,
          this.#vlm,
          this.#ops.bytes(part, [number, size, size, 3]),
        );
        if (width(features) !== this.#width) throw new RangeError("features and projector differ");
        return floats(this.#engine.memory, features).slice();
      }));
    }
    const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
    parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
    return all;
  }

  /** Gives everything back. */
  free(): void {
    this.#kept.clear();
    this.#ops.free();
  }
}
