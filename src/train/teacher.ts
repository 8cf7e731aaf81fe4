// The teacher's logits where a loss reads them, computed once per example. Kept whole while all of them fit, else the
// largest k of each row and the logarithm of the rest's mass, spread evenly when they are used. With a folder they are
// kept there, so that a resumed run does not compute them again, and in memory only up to a limit.
import { badRequest } from "../base/errors.ts";
import type { Vlm } from "../models/vlm.ts";
import { Infer } from "../ops/infer.ts";
import type { Arena } from "../tensor/arena.ts";
import { floats, type Tensor } from "../tensor/tensor.ts";
import type { Engine } from "../../wasm/mod.ts";
import { batchOf, type ExampleSource, type Mask } from "./batch.ts";
import { Features } from "./features.ts";
import { predict } from "./forward.ts";
import { TeacherFiles, type TeacherFolder } from "./teacher_files.ts";

/** How logits are computed and kept. */
export interface TeacherOptions {
  /** The examples to compute together with one, itself included. */
  readonly companions: (example: number) => readonly number[];
  /** Which positions are read. */
  readonly mask: Mask;
  /** Logits kept per row: a number, or all of them as long as these take at most `limit` bytes, else 256. */
  readonly top?: number | "auto";
  /** Bytes, also of what is held in memory beside a folder; 1 GiB by default. */
  readonly limit?: number;
  /** Where logits are kept, if on disk. */
  readonly folder?: TeacherFolder | undefined;
  /** Whether what the tower sees is kept for {@linkcode Teacher.rows}; logits alone need it once. */
  readonly keepFeatures?: boolean;
}

/** The largest logits of some rows. */
export interface TopRows {
  /** Token ids, `k` per row; nothing if all are kept in order. */
  readonly ids?: Int32Array;
  /** Their logits, `k` per row. */
  readonly logits: Float32Array;
  /** What every other logit of the row is taken to be. */
  readonly rest?: Float32Array;
}

/** Most bytes of logits that are kept, unless told otherwise. */
const LOGIT_BYTES = 2 ** 30;
const USUAL_TOP = 256;

/** Logits that are kept of each of `rows` rows. */
function topOf(rows: number, vocab: number, top: number | "auto", limit: number): number {
  if (top === "auto") top = rows * vocab * 4 <= limit ? vocab : USUAL_TOP;
  return Math.min(vocab, top);
}

/** About how many bytes of memory the logits of so many rows will take. */
export function logitBytes(rows: number, vocab: number, top: number | "auto"): number {
  const kept = topOf(rows, vocab, top, LOGIT_BYTES);
  // Ids, too, unless all are kept.
  return Math.min(LOGIT_BYTES, rows * (kept === vocab ? 4 * kept : 8 * kept + 4));
}

/** A full-precision model that shows a student what to say. */
export class Teacher {
  readonly #engine: Engine;
  readonly #vlm: Vlm;
  readonly #examples: ExampleSource;
  readonly #options: TeacherOptions;
  readonly #ops: Infer;
  readonly #features: Features;
  readonly #top: number;
  readonly #limit: number;
  readonly #files: TeacherFiles | undefined;
  readonly #kept = new Map<number, TopRows>();
  #bytes = 0;

  /** Nothing is computed yet. */
  constructor(engine: Engine, vlm: Vlm, examples: ExampleSource, options: TeacherOptions) {
    const { companions, top = "auto", limit = LOGIT_BYTES } = options;
    this.#engine = engine;
    this.#vlm = vlm;
    this.#examples = examples;
    this.#options = options;
    this.#ops = new Infer(engine);
    const kept = options.keepFeatures ? {} : { limit: 0 };
    this.#features = new Features(engine, vlm, examples, { companions, exact: false, ...kept });
    const vocab = vlm.language.head.rows;
    if (top !== "auto" && !(Number.isInteger(top) && top >= 1)) {
      throw badRequest(`The teacher's logits kept per token must be a whole number, not ${top}.`);
    }
    this.#top = topOf(rowsOf(examples, options.mask), vocab, top, limit);
    this.#limit = limit;
    const { folder, mask } = options;
    this.#files = folder && new TeacherFiles(folder, `${mask}, ${this.#top} of ${vocab}`);
  }

  /** Logits [rows, vocabulary] of some examples, in the order of `batchOf` over them. */
  async of(examples: readonly number[], arena: Arena): Promise<Tensor> {
    const found = new Map<number, TopRows>();
    for (const example of examples) {
      const kept = this.#kept.get(example);
      if (kept) found.set(example, kept);
      else if (!found.has(example)) await this.#find(example, examples, found);
    }
    const vocab = this.#vlm.language.head.rows;
    const parts = examples.map((example) => found.get(example)!);
    const rows = parts.reduce((sum, { logits }) => sum + logits.length / this.#top, 0);
    const tensor = arena.tensor([rows, vocab]);
    const values = floats(this.#engine.memory, tensor);
    parts.reduce((at, part) => {
      const end = at + part.logits.length / this.#top * vocab;
      expand(part, this.#top, vocab, values.subarray(at, end));
      return end;
    }, 0);
    return tensor;
  }

  /** Reads or computes an example's logits and those of its companions that are wanted, too. */
  async #find(
    example: number,
    examples: readonly number[],
    found: Map<number, TopRows>,
  ): Promise<void> {
    const together = this.#options.companions(example);
    const wanted = together.filter((other) => examples.includes(other) && !found.has(other));
    const read = await this.#files?.read(together[0]!, wanted);
    if (!read) {
      const computed = this.#compute(together);
      await this.#files?.write(computed, this.#top);
      for (const other of together) this.#keep(other, computed.get(other)!);
      for (const other of wanted) found.set(other, computed.get(other)!);
      return;
    }
    for (const [other, rows] of read) {
      this.#keep(other, rows);
      found.set(other, rows);
    }
  }

  /** What is on disk need not stay here; without a folder everything has to. */
  #keep(example: number, rows: TopRows): void {
    if (this.#kept.has(example)) return;
    const { logits, ids, rest } = rows;
    const bytes = logits.byteLength + (ids?.byteLength ?? 0) + (rest?.byteLength ?? 0);
    if (this.#files && this.#bytes + bytes > this.#limit) return;
    this.#bytes += bytes;
    this.#kept.set(example, rows);
  }

  #compute(together: readonly number[]): Map<number, TopRows> {
    const computed = new Map<number, TopRows>();
    const ops = this.#ops;
    ops.pass(() => {
      const prompts = together.map((other) => this.#examples.prompt(other));
      const batch = batchOf(prompts, this.#options.mask);
      const logits = predict(ops, this.#vlm, batch, this.#project(together));
      const values = floats(this.#engine.memory, logits);
      const vocab = logits.shape[1]!;
      let row = 0;
      together.forEach((other, i) => {
        const rows = batchOf([prompts[i]!], this.#options.mask).rows.length;
        const own = values.subarray(row * vocab, (row + rows) * vocab);
        computed.set(other, shorten(own, vocab, this.#top));
        row += rows;
      });
    });
    return computed;
  }

  /** What tower and projector make of the examples' pictures: the rows that a language model reads, if there are some. */
  rows(examples: readonly number[], arena: Arena): Tensor | undefined {
    const { memory } = this.#engine;
    let found: { shape: readonly number[]; values: Float32Array } | undefined;
    this.#ops.pass(() => {
      const rows = this.#project(examples);
      if (rows) found = { shape: rows.shape, values: floats(memory, rows).slice() };
    });
    if (!found) return undefined;
    const tensor = arena.tensor(found.shape);
    floats(memory, tensor).set(found.values);
    return tensor;
  }

  #project(examples: readonly number[]): Tensor | undefined {
    const features = this.#features.of(examples, this.#ops.arena);
    return features && this.#vlm.projector.project(this.#ops, features);
  }

  /** Gives everything back; the model stays. */
  free(): void {
    this.#kept.clear();
    this.#features.free();
    this.#ops.free();
  }
}

/** Rows of logits that losses read, of all examples. */
export function rowsOf(examples: ExampleSource, mask: Mask): number {
  let rows = 0;
  for (let i = 0; i < examples.length; i++) {
    rows += batchOf([examples.prompt(i)], mask).rows.length;
  }
  return rows;
}

/** The `top` largest logits of each row [vocab] and the level of the rest, which keeps each row's partition sum. */
export function shorten(logits: Float32Array, vocab: number, top: number): TopRows {
  if (top === vocab) return { logits: logits.slice() };
  const rows = logits.length / vocab;
  const ids = new Int32Array(rows * top);
  const largest = new Float32Array(rows * top);
  const rest = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const own = logits.subarray(row * vocab, (row + 1) * vocab);
    const order = Uint32Array.from(own, (_, id) => id).sort((a, b) => own[b]! - own[a]! || a - b);
    for (let i = 0; i < top; i++) {
      ids[row * top + i] = order[i]!;
      largest[row * top + i] = own[order[i]!]!;
    }
    const peak = own[order[top]!]!;
    let mass = 0;
    for (let i = top; i < vocab; i++) mass += Math.exp(own[order[i]!]! - peak);
    rest[row] = peak + Math.log(mass / (vocab - top));
  }
  return { ids, logits: largest, rest };
}

/** Rows of logits [vocab] again, written into `into`. */
export function expand(part: TopRows, top: number, vocab: number, into: Float32Array): void {
  const { ids, logits, rest } = part;
  if (!ids) return into.set(logits);
  for (let row = 0; row < logits.length / top; row++) {
    const own = into.subarray(row * vocab, (row + 1) * vocab).fill(rest![row]!);
    for (let i = row * top; i < (row + 1) * top; i++) own[ids[i]!] = logits[i]!;
  }
}
