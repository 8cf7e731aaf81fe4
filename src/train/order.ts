// Which examples a step reads: a shuffle of all examples per epoch, dealt out in batches. A pure function of seed and
// step, so that a resumed run needs no saved random state.
import { badRequest } from "../base/errors.ts";
import { Random } from "../base/random.ts";

/** The order of a run. */
export class BatchOrder {
  readonly #count: number;
  readonly #batch: number;
  readonly #seed: number;
  readonly #place: Int32Array;
  #epoch: { readonly index: number; readonly order: readonly number[] };

  /** An order over `count` examples, `batch` at a time. */
  constructor(count: number, batch: number, seed: number) {
    if (!Number.isInteger(batch) || batch < 1) {
      throw badRequest(`The batch size must be a whole number from 1, not ${batch}.`);
    }
    if (count < 1) throw badRequest("Training needs at least one example; found none.");
    this.#count = count;
    this.#batch = batch;
    this.#seed = seed;
    this.#epoch = { index: 0, order: this.#shuffled(0) };
    this.#place = new Int32Array(count);
    this.#epoch.order.forEach((example, i) => this.#place[example] = i);
  }

  #shuffled(epoch: number): number[] {
    const random = new Random(this.#seed ^ Math.imul(epoch, 0x9e3779b1));
    return random.shuffle(Array.from({ length: this.#count }, (_, i) => i));
  }

  /** The examples of a step. A batch may reach into the next epoch. */
  at(step: number): number[] {
    return Array.from({ length: this.#batch }, (_, i) => {
      const position = step * this.#batch + i;
      const epoch = Math.floor(position / this.#count);
      if (epoch !== this.#epoch.index) this.#epoch = { index: epoch, order: this.#shuffled(epoch) };
      return this.#epoch.order[position % this.#count]!;
    });
  }

  /**
   * The examples that are first read together with this one. What is computed once per example is computed for these
   * together: their make-up, and with it every bit, is then the same in a resumed run.
   */
  companions(example: number): number[] {
    const start = this.#place[example]! - this.#place[example]! % this.#batch;
    const order = this.#epoch.index === 0 ? this.#epoch.order : this.#shuffled(0);
    return order.slice(start, start + this.#batch);
  }
}
