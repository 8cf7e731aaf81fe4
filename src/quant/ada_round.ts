// AdaRound: learns for every weight whether it is rounded down or up, the grid being fixed. Nagel et al., 2020, with the
// schedule of Li et al., "BRECQ", 2021: h = clip(1.2·σ(α) - 0.1, 0, 1), ŵ = s·(clamp(floor(w/s + z) + h) - z), loss plus
// λ·Σ(1 - |2h - 1|^β), where β falls from 20 to 2 after a first fifth without that term. Adam moves α.
import { largestCode } from "../formats/format.ts";
import { type Grid, scalesOf, zeroOf } from "../formats/grid.ts";
import type { Coded } from "../formats/pack.ts";
import type { Rounding } from "./learn_block.ts";

/** AdaRound's numbers. */
export interface AdaRoundOptions {
  /** Adam's learning rate. */
  readonly lr?: number;
  /** Weight of the term that drives h to 0 or 1. */
  readonly regulariser?: number;
  /** Share of the steps without it. */
  readonly warmUp?: number;
  /** β at first and in the end. */
  readonly beta?: readonly [number, number];
}

const [DECAY1, DECAY2, EPS] = [0.9, 0.999, 1e-8];

/** One linear's learnt rounding on a given grid. */
export class AdaRound implements Rounding {
  readonly #grid: Grid;
  readonly #scales: Float32Array;
  readonly #floors: Int16Array;
  readonly #logits: Float32Array;
  readonly #first: Float32Array;
  readonly #second: Float32Array;
  readonly #options: Required<AdaRoundOptions>;
  #steps = 0;

  /**
   * Starts with every h at the fraction that rounding down cuts off, so that products first see the weights themselves.
   *
   * @param weights f32 [rows, columns] of the grid.
   */
  constructor(grid: Grid, weights: Float32Array, options: AdaRoundOptions = {}) {
    this.#options = { lr: 1e-2, regulariser: 0.01, warmUp: 0.2, beta: [20, 2], ...options };
    this.#grid = grid;
    this.#scales = scalesOf(grid);
    this.#floors = new Int16Array(weights.length);
    this.#logits = new Float32Array(weights.length);
    this.#first = new Float32Array(weights.length);
    this.#second = new Float32Array(weights.length);
    const { group } = grid.format;
    const most = largestCode(grid.format) + 1;
    for (let i = 0; i < weights.length; i++) {
      const g = Math.floor(i / group);
      const position = weights[i]! / this.#scales[g]! + zeroOf(grid, g);
      const floor = Math.floor(position);
      // Far outside the codes nothing is left to choose.
      this.#floors[i] = Math.max(-2, Math.min(most, floor));
      this.#logits[i] = -Math.log(1.2 / (position - floor + 0.1) - 1);
    }
  }

  write(seen: Float32Array): void {
    const { group, bits } = this.#grid.format;
    const largest = 2 ** bits - 1;
    for (let g = 0, i = 0; g < this.#scales.length; g++) {
      const scale = this.#scales[g]!;
      const zero = zeroOf(this.#grid, g);
      for (const end = i + group; i < end; i++) {
        const code = this.#floors[i]! + rectified(this.#logits[i]!);
        seen[i] = scale * (Math.min(largest, Math.max(0, code)) - zero);
      }
    }
  }

  step(gradient: Float32Array, progress: number): void {
    const { lr, regulariser, warmUp, beta: [high, low] } = this.#options;
    const largest = largestCode(this.#grid.format);
    const { group } = this.#grid.format;
    const annealed = Math.max(0, (progress - warmUp) / (1 - warmUp));
    const beta = high + (low - high) * annealed;
    const pull = progress > warmUp ? 2 * regulariser * beta : 0;
    this.#steps++;
    const correction1 = 1 - DECAY1 ** this.#steps;
    const correction2 = 1 - DECAY2 ** this.#steps;
    for (let i = 0; i < gradient.length; i++) {
      const sigmoid = 1 / (1 + Math.exp(-this.#logits[i]!));
      const h = 1.2 * sigmoid - 0.1;
      let slope = 0;
      if (h > 0 && h < 1) {
        const code = this.#floors[i]! + h;
        const scale = this.#scales[Math.floor(i / group)]!;
        if (code >= 0 && code <= largest) slope = gradient[i]! * scale;
        const side = 2 * h - 1;
        if (pull > 0) slope -= pull * Math.sign(side) * Math.abs(side) ** (beta - 1);
        slope *= 1.2 * sigmoid * (1 - sigmoid);
      }
      const first = this.#first[i] = DECAY1 * this.#first[i]! + (1 - DECAY1) * slope;
      const second = this.#second[i] = DECAY2 * this.#second[i]! + (1 - DECAY2) * slope * slope;
      this.#logits[i]! -= lr * first / correction1 / (Math.sqrt(second / correction2) + EPS);
    }
  }

  coded(): Coded {
    const largest = largestCode(this.#grid.format);
    const codes = Uint8Array.from(this.#floors, (floor, i) => {
      const code = floor + (rectified(this.#logits[i]!) >= 0.5 ? 1 : 0);
      return Math.min(largest, Math.max(0, code));
    });
    return { grid: this.#grid, codes };
  }
}

/** clip(1.2·σ(x) - 0.1, 0, 1). */
function rectified(logit: number): number {
  const h = 1.2 / (1 + Math.exp(-logit)) - 0.1;
  return h < 0 ? 0 : h > 1 ? 1 : h;
}
