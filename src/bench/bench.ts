// One benchmark: an engine, a model that is loaded or made up, ceilings and speeds side by side in one run.
import type { Format } from "../formats/format.ts";
import { isPacked, loadModel, type Runnable } from "../generate/model.ts";
import type { Architecture } from "../models/registry.ts";
import type { OpenModel } from "../models/open.ts";
import { Infer } from "../ops/infer.ts";
import { type Build, Engine, type EngineOptions } from "../../wasm/mod.ts";
import { type Ceilings, measureCeilings } from "./bandwidth.ts";
import { measureSpeed, type Speed, type SpeedOptions } from "./speed.ts";
import { SyntheticStore } from "./synthetic.ts";

/** A model to measure: one that can be opened, or a shape with the formats its random weights get. */
export type Subject =
  | { readonly open: OpenModel }
  | {
    readonly architecture: Architecture;
    readonly formatOf: (name: string) => Format | undefined;
  };

/** What was found. */
export interface BenchResult {
  /** Threads that worked. */
  readonly threads: number;
  /** Build of the kernels. */
  readonly build: Build;
  /** The machine's limits. */
  readonly ceilings: Ceilings;
  /** One entry per test. */
  readonly speeds: readonly Speed[];
  /** Bytes of weights, of the cache per token of context, and most of the shared memory in use at any time. */
  readonly memory: {
    readonly weights: number;
    readonly cachePerToken: number;
    readonly peak: number;
  };
}

/** Runs all tests on one engine. */
export async function bench(
  subject: Subject,
  engineOptions: EngineOptions,
  options: SpeedOptions,
): Promise<BenchResult> {
  const { model, weights, close } = await prepare(subject, engineOptions);
  try {
    const { engine, vlm } = model;
    const { blocks, width } = vlm.language.cacheShape;
    // The memory that the ceilings take is not the model's, so it is measured first.
    const speeds = await measureSpeed(model, options);
    const { peak } = engine.memory;
    return {
      threads: engine.threads,
      build: engine.build,
      ceilings: measureCeilings(engine, Math.max(3, options.repeat)),
      speeds,
      memory: { weights, cachePerToken: blocks * width * 2 * 4, peak },
    };
  } finally {
    close();
  }
}

async function prepare(
  subject: Subject,
  options: EngineOptions,
): Promise<{ model: Runnable; weights: number; close(): void }> {
  if ("open" in subject) {
    const model = await loadModel(subject.open, options);
    const weights = subject.open.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
    return { model, weights, close: () => model.close() };
  }
  const engine = await Engine.create(options);
  try {
    const store = new SyntheticStore(engine.memory, subject.formatOf);
    const vlm = await subject.architecture.load(store);
    const ops = new Infer(engine, { exact: isPacked(vlm) });
    return { model: { engine, ops, vlm }, weights: store.bytes, close: () => engine.close() };
  } catch (error) {
    engine.close();
    throw error;
  }
}
