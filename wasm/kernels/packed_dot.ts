// Which of the equivalent dots this machine runs fastest, found by a short timing and remembered per engine. A wrong
// choice costs speed only.
import { Op } from "../abi.ts";
import type { Engine } from "../engine.ts";
import { offset } from "../memory.ts";

/**
 * How codes and activations are multiplied: `wide` widens bytes to 16 bits (any SIMD), `pairs` is the relaxed dot to
 * 16 bits, `quads` the relaxed dot to 32 bits (few tokens: only where 32 neighbouring columns share a group).
 */
export type Dot = "wide" | "pairs" | "quads";

/** Their numbers in kernels/packed_args.ts. */
export const DOT_CODES: Readonly<Record<Dot, number>> = { wide: 0, pairs: 1, quads: 2 };

interface Choice {
  readonly shared: Dot;
  readonly split: Dot;
}

interface Choices {
  vector: Choice;
  matrix: Choice;
  uses: number;
}

const choices: WeakMap<Engine, Choices> = new WeakMap();
/** Uses after which to measure again: the first timing may have run code that was not optimised yet. */
const AGAIN = [100, 1000];

/**
 * The variants that an engine's build can run on groups that are multiples of 32 columns (`shared`) or others, token by
 * token or with codes unpacked first (`matrix`).
 */
export function dotsOf(engine: Engine, shared: boolean, matrix: boolean = false): Dot[] {
  if (engine.build !== "relaxed") return ["wide"];
  return shared || matrix ? ["pairs", "quads", "wide"] : ["pairs", "wide"];
}

/** The fastest variant for a product; the first call on an engine and two later ones measure for a few ms. */
export function chooseDot(engine: Engine, shared: boolean, matrix: boolean): Dot {
  if (engine.build !== "relaxed") return "wide";
  let choice = choices.get(engine);
  if (choice === undefined || AGAIN.includes(choice.uses)) {
    const uses = choice?.uses ?? 0;
    choice = { vector: measure(engine, false), matrix: measure(engine, true), uses };
    choices.set(engine, choice);
  }
  choice.uses++;
  return (matrix ? choice.matrix : choice.vector)[shared ? "shared" : "split"];
}

/** Rounds of the timing, of which the best counts: a busy machine spoils some. */
const ROUNDS = 8;
/** 32-bit sums win by far where the CPU has an instruction for them and lose elsewhere: a small lead is noise. */
const CLEARLY = 0.85;

/** Times every variant on a 64 x 1024 4-bit weight of zeros on the caller's thread alone. */
function measure(engine: Engine, matrix: boolean): Choice {
  // As many tokens as make unpacking cheap, as in a prompt.
  const [panels, chunks, tokens] = [8, 16, matrix ? 32 : 1];
  const [codes, activations] = [panels * chunks * 256, tokens * chunks * 64];
  const sizes = [tokens * panels * 32, panels * 4, panels * chunks * 32, codes, activations];
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, 0));
  const bytes = starts.at(-1)! + activations + 2 * activations;
  const base = engine.memory.allocate(bytes);
  try {
    engine.memory.u8(base, bytes).fill(0);
    const [out, units, scales, code, a] = starts.map((start) => offset(base, start));
    const after = offset(a!, activations);
    const strides = [chunks * 2, chunks * 32, 0, codes / panels];
    const best: Record<Dot, number> = { wide: Infinity, pairs: Infinity, quads: Infinity };
    const repeats = matrix ? 1 : 6;
    for (let round = 0; round < ROUNDS; round++) {
      for (const dot of dotsOf(engine, true)) {
        const ints = [out!, panels * 8, chunks, tokens, 4, DOT_CODES[dot], 32, 0, ...strides];
        ints.push(units!, scales!, scales!, code!, code!, a!, after, offset(after, activations), 0);
        const start = performance.now();
        for (let repeat = 0; repeat < repeats; repeat++) {
          engine.call(matrix ? Op.PackedMatrix : Op.PackedVector, panels, panels, ints);
        }
        best[dot] = Math.min(best[dot], performance.now() - start);
      }
    }
    const sixteen: Dot = best.pairs <= best.wide ? "pairs" : "wide";
    const shared = best.quads < CLEARLY * best[sixteen] ? "quads" : sixteen;
    // With codes unpacked, other groups take the same dots and twice as many scales.
    return { split: matrix ? shared : sixteen, shared };
  } finally {
    engine.memory.free(base);
  }
}
