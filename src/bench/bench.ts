// One benchmark: an engine, a model that is loaded or made up, ceilings and speeds side by side in one run.
import type { Format } from "../formats/format.ts";
import { isPacked, loadModel, type LoadOptions, type Runnable } from "../generate/model.ts";
import type { Architecture } from "../models/registry.ts";
import type { OpenModel } from "../models/open.ts";
import { Infer } from "../ops/infer.ts";
import { cacheBytesPerToken, checkKvKind, type KvKind } from "../ops/kv_cache.ts";
import { type Build, Engine } from "../../wasm/mod.ts";
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
  /** Bytes of weights, of the cache per token of context and how it keeps them, and most of the shared memory in use at any time. */
  readonly memory: {
    readonly weights: number;
    readonly cachePerToken: number;
    readonly kvCache: KvKind;
    readonly peak: number;
  };
}

/** Runs all tests on one engine. */
export async function bench(
  subject: Subject,
  loadOptions: Pick<LoadOptions, "threads" | "maxMemory" | "build" | "kvCache">,
  options: SpeedOptions,
): Promise<BenchResult> {
  const { model, weights, close } = await prepare(subject, loadOptions);
  try {
    const { engine, vlm } = model;
    const { kvCache = "f32" } = model;
    // The memory that the ceilings take is not the model's, so it is measured first.
    const speeds = await measureSpeed(model, options);
    const { peak } = engine.memory;
    return {
      threads: engine.threads,
      build: engine.build,
      ceilings: measureCeilings(engine, Math.max(3, options.repeat)),
      speeds,
      memory: {
        weights,
        cachePerToken: cacheBytesPerToken(vlm.language.cacheShape, kvCache),
        kvCache,
        peak,
      },
    };
  } finally {
    close();
  }
}

async function prepare(
  subject: Subject,
  options: LoadOptions,
): Promise<{ model: Runnable; weights: number; close(): void }> {
  if ("open" in subject) {
    const model = await loadModel(subject.open, options);
    const weights = subject.open.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
    return { model, weights, close: () => model.close() };
  }
  const { kvCache = "f32" } = options;
  checkKvKind(kvCache);
  const engine = await Engine.create(options);
  try {
    const store = new SyntheticStore(engine.memory, subject.formatOf);
    const vlm = await subject.architecture.load(store);
    const ops = new Infer(engine, { exact: isPacked(vlm) });
    return {
      model: { engine, ops, vlm, kvCache },
      weights: store.bytes,
      close: () => engine.close(),
    };
  } catch (error) {
    engine.close();
    throw error;
  }
}
