// A tower that trains: what the projector reads is computed on the tape in every pass, so that gradients reach the tower.
// A tower that does not is read through Features, which computes each example once.
import type { Vlm } from "../models/vlm.ts";
import type { Ops } from "../ops/ops.ts";
import type { Arena } from "../tensor/arena.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ExampleSource } from "./batch.ts";
import { lookAt } from "./forward.ts";

/** Where the projector's inputs come from. */
export interface Sight {
  /**
   * The projector's inputs for some examples, in the order of their spans; nothing if they have no pictures. `ops`
   * records what is computed in this pass, in its own `arena`.
   */
  of(examples: readonly number[], arena: Arena, ops: Ops): Tensor | undefined;
  /** Gives everything back. */
  free(): void;
}

/** Sees through a tower in training. */
export class TrainedTower implements Sight {
  readonly #vlm: Vlm;
  readonly #examples: ExampleSource;

  /** Nothing is computed yet. */
  constructor(vlm: Vlm, examples: ExampleSource) {
    this.#vlm = vlm;
    this.#examples = examples;
  }

  of(examples: readonly number[], _: Arena, ops: Ops): Tensor | undefined {
    const tiles = examples.flatMap((example) => {
      const pictures = this.#examples.images(example);
      return this.#examples.prompt(example).images.map(({ image }) => pictures[image]!);
    });
    const count = tiles.reduce((sum, { count }) => sum + count, 0);
    if (count === 0) return undefined;
    const size = this.#vlm.input.imageSize;
    const pixels = new Uint8Array(count * 3 * size * size);
    tiles.reduce((at, { data }) => (pixels.set(data, at), at + data.length), 0);
    return lookAt(ops, this.#vlm, ops.bytes(pixels, [count, size, size, 3]));
  }

  free(): void {}
}
