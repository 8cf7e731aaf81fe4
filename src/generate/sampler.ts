/**
 * Chooses the next token. The filters run in transformers' order: repetition penalty, temperature,
 * top-k, top-p, min-p, then one draw. (llama.cpp applies the temperature last, after its filters.)
 * Equal logits rank by token id, lowest first.
 */
import { badRequest, LobitError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";

/** How to choose; the defaults choose greedily. */
export interface SamplerOptions {
  /** Divides the logits; 0 (the default) takes the most likely token. */
  readonly temperature?: number;
  /** Keeps this many of the most likely tokens; 0 (the default) keeps all. */
  readonly topK?: number;
  /**
   * Keeps the fewest most likely tokens whose probabilities reach this sum; 1 (the default) keeps
   * all.
   */
  readonly topP?: number;
  /**
   * Keeps tokens at least this times as likely as the most likely one; 0 (the default) keeps all.
   */
  readonly minP?: number;
  /**
   * Divides positive and multiplies negative logits of tokens seen before (CTRL); 1 (the default)
   * changes nothing.
   */
  readonly repetitionPenalty?: number;
}

/** Throws a bad request that lists every option out of range. */
export function checkSamplerOptions(options: SamplerOptions): void {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
  const problems = [
    temperature >= 0 && temperature <= 100
      ? ""
      : `temperature must be from 0 to 100, found ${temperature}`,
    Number.isInteger(topK) && topK >= 0 ? "" : `top-k must be a whole number from 0, found ${topK}`,
    topP > 0 && topP <= 1 ? "" : `top-p must be above 0 and at most 1, found ${topP}`,
    minP >= 0 && minP <= 1 ? "" : `min-p must be from 0 to 1, found ${minP}`,
    repetitionPenalty > 0 && repetitionPenalty <= 100
      ? ""
      : `repetition penalty must be above 0 and at most 100, found ${repetitionPenalty}`,
  ].filter((problem) => problem !== "");
  if (problems.length > 0) throw badRequest(`Sampling: ${problems.join("; ")}.`);
}

/**
 * The id of the next token. `logits` has one value per token and is left as it is; `history` are
 * the ids of prompt and answer so far, for the repetition penalty. Draws from `random` once, or
 * never when greedy. Logits that are NaN or +Infinity are an internal error; -Infinity forbids a
 * token.
 */
export function sampleToken(
  logits: Float32Array,
  history: Iterable<number>,
  options: SamplerOptions,
  random: Random,
): number {
  checkSamplerOptions(options);
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
  const scores = repetitionPenalty === 1 ? logits : penalize(logits, history, repetitionPenalty);
  const best = likeliest(scores);
  if (temperature === 0) return best;

  const top = scores[best]!;
  const weights = new Float64Array(scores.length);
  for (let id = 0; id < scores.length; id++) {
    weights[id] = Math.exp((scores[id]! - top) / temperature);
  }
  const keepsAll = (topK === 0 || topK >= weights.length) && topP === 1 && minP === 0;
  const ids = keepsAll ? undefined : filterIds(weights, topK || weights.length, topP, minP);
  return draw(ids, weights, random);
}

/**
 * Top-k, then top-p of what is left, then min-p; at least the most likely token stays. Weights are
 * relative to its 1.
 */
function filterIds(weights: Float64Array, topK: number, topP: number, minP: number): number[] {
  const ranking = new Ranking(weights);
  const kept: number[] = [];
  let total = 0;
  if (topK < weights.length) {
    while (kept.length < topK) kept.push(ranking.next());
    for (const id of kept) total += weights[id]!;
  } else {
    for (const weight of weights) total += weight;
  }
  const nucleus: number[] = [];
  const limit = Math.min(topK, weights.length);
  let mass = 0;
  while (nucleus.length < limit) {
    const id = kept[nucleus.length] ?? ranking.next();
    const weight = weights[id]!;
    if (weight < minP || weight === 0 || (topP < 1 && mass >= topP * total)) break;
    nucleus.push(id);
    mass += weight;
  }
  return nucleus;
}

function penalize(logits: Float32Array, history: Iterable<number>, penalty: number): Float32Array {
  const scores = logits.slice();
  for (const id of new Set(history)) {
    const score = scores[id];
    if (score !== undefined) scores[id] = score > 0 ? score / penalty : score * penalty;
  }
  return scores;
}

/** The id of the largest score. NaN, +Infinity and nothing above -Infinity are internal errors. */
export function likeliest(scores: Float32Array): number {
  let best = -1, top = -Infinity;
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id]!;
    // NaN is not at most anything, so that one comparison serves nearly all tokens.
    if (score <= top) continue;
    if (!(score < Infinity)) {
      throw new LobitError(
        "internal",
        `The model's logit of token ${id} is ${score}; its arithmetic went wrong.`,
      );
    }
    [best, top] = [id, score];
  }
  if (best < 0) throw new LobitError("internal", "The model allows no token at all.");
  return best;
}

/** One of the ids, or of all, with probability in proportion to its weight. */
function draw(ids: readonly number[] | undefined, weights: Float64Array, random: Random): number {
  const count = ids ? ids.length : weights.length;
  const idAt = (i: number) => ids ? ids[i]! : i;
  let mass = 0;
  for (let i = 0; i < count; i++) mass += weights[idAt(i)]!;
  let left = random.uniform() * mass;
  let last = idAt(0);
  for (let i = 0; i < count; i++) {
    const id = idAt(i);
    if (weights[id] === 0) continue;
    left -= weights[id]!;
    // Rounding may leave a sliver above the last token that can be drawn.
    last = id;
    if (left < 0) break;
  }
  return last;
}

/**
 * Weights below this wait: in a large vocabulary nearly all are, and seldom is one of them reached.
 */
const LIKELY = 2 ** -12;

/**
 * Ids by falling weight, then rising id: a heap of the likely ones, and of the others once those
 * are used up.
 */
class Ranking {
  readonly #weights: Float64Array;
  readonly #heap: Int32Array;
  #size = 0;

  constructor(weights: Float64Array) {
    this.#weights = weights;
    this.#heap = new Int32Array(weights.length);
    this.#load((weight) => weight >= LIKELY);
  }

  /** The next id; to be called at most once per weight. */
  next(): number {
    if (this.#size === 0) this.#load((weight) => !(weight >= LIKELY));
    const heap = this.#heap;
    const first = heap[0]!;
    heap[0] = heap[--this.#size]!;
    this.#sink(0);
    return first;
  }

  #load(belongs: (weight: number) => boolean): void {
    for (let id = 0; id < this.#weights.length; id++) {
      if (belongs(this.#weights[id]!)) this.#heap[this.#size++] = id;
    }
    for (let i = (this.#size >> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  #before(a: number, b: number): boolean {
    const difference = this.#weights[a]! - this.#weights[b]!;
    return difference > 0 || (difference === 0 && a < b);
  }

  #sink(at: number): void {
    const heap = this.#heap;
    const id = heap[at]!;
    for (let child = 2 * at + 1; child < this.#size; child = 2 * at + 1) {
      if (child + 1 < this.#size && this.#before(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#before(heap[child]!, id)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = id;
  }
}
