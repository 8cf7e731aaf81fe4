// How fast a model prefills, decodes and sees: through the same loop that answers questions, with random tokens and
// pixels, so that tokenizer and template play no part.
import { Random } from "../base/random.ts";
import type { Linear } from "../formats/weight.ts";
import { encodeImages, type Job, runJobs } from "../generate/decode_loop.ts";
import type { Runnable } from "../generate/model.ts";
import { likeliest } from "../generate/sampler.ts";
import { linearsOf, type Part } from "../models/vlm.ts";
import { byteLength } from "../tensor/tensor.ts";
import { Op } from "../../wasm/mod.ts";
import { type Measured, secondsOf, summarize } from "./measure.ts";

/** What to measure. 0 leaves a test out. */
export interface SpeedOptions {
  /** Tokens of the prompt. */
  readonly prefill: number;
  /** Tokens to decode after a prompt of `depth` tokens. */
  readonly decode: number;
  /** Tiles to encode at once. */
  readonly vision: number;
  /** Tokens in the context before decoding starts; default 1. */
  readonly depth?: number;
  /** Measurements of each test. */
  readonly repeat: number;
  /** Whether each test runs once unmeasured before. */
  readonly warmUp: boolean;
  /** Whether to time each kernel operation in one more run. */
  readonly profile?: boolean;
  /** Stops between tests. */
  readonly signal?: AbortSignal;
}

/** Time that a kernel operation took within a test. */
export interface OpTime {
  /** Name of the operation. */
  readonly op: string;
  /** How often it was called. */
  readonly calls: number;
  /** Milliseconds of all calls. */
  readonly milliseconds: number;
}

/** One test's result. Rates are per second. */
export interface Speed {
  /** E.g. `prefill 512`. */
  readonly test: string;
  /** What is counted. */
  readonly unit: "tokens" | "tiles";
  /** Tokens or tiles per second. */
  readonly rate: Measured;
  /** Bytes of weights read per second: each weight once per pass. */
  readonly bytesPerSecond: number;
  /** Multiply-adds of linears per second; attention is not counted. */
  readonly macsPerSecond: number;
  /** Where the time of one run went, longest first; `(host)` is what no kernel took. */
  readonly profile?: readonly OpTime[];
}

interface Test {
  readonly test: string;
  readonly unit: Speed["unit"];
  readonly count: number;
  readonly bytes: number;
  readonly macs: number;
  /** Seconds of one run. */
  run(): Promise<number>;
}

/** Measures the tests asked for, one after the other. */
export async function measureSpeed(model: Runnable, options: SpeedOptions): Promise<Speed[]> {
  const speeds: Speed[] = [];
  for (const test of testsOf(model, options)) {
    if (options.warmUp) await test.run();
    const seconds: number[] = [];
    for (let i = 0; i < options.repeat; i++) {
      options.signal?.throwIfAborted();
      seconds.push(await test.run());
    }
    const { median } = summarize(seconds);
    speeds.push({
      test: test.test,
      unit: test.unit,
      rate: summarize(seconds.map((s) => test.count / s)),
      bytesPerSecond: test.bytes / median,
      macsPerSecond: test.macs / median,
      ...(options.profile && { profile: await profileOf(model, test) }),
    });
  }
  return speeds;
}

function testsOf(model: Runnable, options: SpeedOptions): Test[] {
  const { vlm } = model;
  const { prefill, decode, vision } = options;
  const tests: Test[] = [];
  const blocks = sum(vlm.language.blocks.flatMap(({ linears }) => linears));
  const head = sum([vlm.language.head]);
  if (prefill > 0) {
    tests.push({
      test: `prefill ${prefill}`,
      unit: "tokens",
      count: prefill,
      bytes: blocks.bytes + head.bytes,
      macs: prefill * blocks.macs + head.macs,
      run: async () => (await times(model, prefill, 1)).first,
    });
  }
  if (decode > 0) {
    const depth = options.depth ?? 1;
    tests.push({
      test: `decode ${decode}${depth > 1 ? ` after ${depth}` : ""}`,
      unit: "tokens",
      count: decode,
      bytes: decode * (blocks.bytes + head.bytes),
      macs: decode * (blocks.macs + head.macs),
      // The first token of an answer comes from the prefill.
      run: async () => (await times(model, depth, decode + 1)).rest,
    });
  }
  if (vision > 0) {
    const tower = sumOfParts([vlm.vision]);
    const projector = sumOfParts([vlm.projector]);
    const rows = vlm.vision.context(1).sequences.total;
    tests.push({
      test: `vision ${vision}`,
      unit: "tiles",
      count: vision,
      bytes: tower.bytes + projector.bytes,
      macs: vision * (tower.macs * rows + projector.macs * vlm.input.tokensPerTile),
      run: () => visionSeconds(model, vision),
    });
  }
  return tests;
}

interface Sum {
  readonly bytes: number;
  readonly macs: number;
}

function sum(linears: readonly Linear[]): Sum {
  let bytes = 0, macs = 0;
  for (const { rows, columns, weight } of linears) {
    macs += rows * columns;
    bytes += weight.kind === "packed"
      ? weight.layout.bytes
      : byteLength(weight.kind === "dense" ? weight.tensor : weight.seen);
  }
  return { bytes, macs };
}

function sumOfParts(parts: readonly Part[]): Sum {
  return sum(parts.flatMap(linearsOf));
}

/** Seconds from a prompt of random tokens to the first token, and from there to the last of `tokens`. */
async function times(
  model: Runnable,
  prompt: number,
  tokens: number,
): Promise<{ first: number; rest: number }> {
  const random = new Random(prompt);
  const vocabulary = model.vlm.language.table.rows;
  const ids = Int32Array.from({ length: prompt }, () => random.integer(vocabulary));
  const start = performance.now();
  let first = 0, count = 0;
  const job: Job = {
    request: { prompt: { ids, images: [] }, images: [] },
    maxTokens: tokens,
    choose: likeliest,
    accept() {
      first ||= performance.now();
      return ++count >= tokens;
    },
  };
  await runJobs(model, [job]);
  return { first: (first - start) / 1000, rest: (performance.now() - first) / 1000 };
}

function visionSeconds(model: Runnable, tiles: number): Promise<number> {
  const { imageSize } = model.vlm.input;
  const random = new Random(tiles);
  const data = new Uint8Array(tiles * imageSize ** 2 * 3).map(() => random.bits());
  const image = { columns: tiles, rows: 1, count: tiles, thumbnail: false, size: imageSize, data };
  const request = { prompt: { ids: new Int32Array(0), images: [] }, images: [image] };
  return secondsOf(() => model.ops.pass(() => void encodeImages(model, [request])));
}

async function profileOf(model: Runnable, test: Test): Promise<OpTime[]> {
  const sums = new Map<string, { calls: number; milliseconds: number }>();
  const { engine } = model;
  engine.watch = (op, milliseconds) => {
    const name = Op[op];
    const known = sums.get(name) ?? { calls: 0, milliseconds: 0 };
    sums.set(name, { calls: known.calls + 1, milliseconds: known.milliseconds + milliseconds });
  };
  let whole: number;
  try {
    whole = 1000 * await test.run();
  } finally {
    engine.watch = undefined;
  }
  const list = [...sums].map(([op, time]) => ({ op, ...time }));
  const kernels = list.reduce((total, { milliseconds }) => total + milliseconds, 0);
  // A decode test's prompt runs kernels, too, outside of the time measured.
  list.push({ op: "(host)", calls: 1, milliseconds: Math.max(0, whole - kernels) });
  return list.sort((a, b) => b.milliseconds - a.milliseconds);
}
