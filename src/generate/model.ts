// A model loaded into an engine, ready to answer.
import { badRequest } from "../base/errors.ts";
import { fitFormat, type Format, formatName } from "../formats/format.ts";
import { type Layout, layoutOf } from "../formats/layout.ts";
import { Infer } from "../ops/infer.ts";
import { checkKvKind, type KvKind } from "../ops/kv_cache.ts";
import { type OpenModel, openModel } from "../models/open.ts";
import { linearsOf, partsOf, type Vlm } from "../models/vlm.ts";
import { Engine, type EngineOptions, warmUp } from "../../wasm/mod.ts";

/** How to load a model. */
export interface LoadOptions extends EngineOptions {
  /** What packed products read: activations quantized to int8 (default), or f32 for comparison. */
  activations?: "int8" | "f32";
  /**
   * How answers keep the keys and values of what was read so far: `f32` (default) exactly, `int8` in 27 % of the memory
   * and faster far into a long context, each key and value off by at most 1/254 of the largest in its head.
   */
  kvCache?: KvKind;
  /** Whether to run the kernels for up to 50 ms, so that no answer waits for slow first code; default true. */
  warmUp?: boolean;
}

/** What prefill and decode need of a model. */
export interface Runnable {
  /** Kernels, memory, threads. */
  readonly engine: Engine;
  /** Operations; packed models compute exactly, the same bits on every machine. */
  readonly ops: Infer;
  /** Weights. */
  readonly vlm: Vlm;
  /** How keys and values are kept; f32 if not given. */
  readonly kvCache?: KvKind;
}

/** A loaded model. Close it to end its threads. */
export interface LoadedModel extends Runnable {
  /** Tokenizer, template, architecture and where it came from. */
  readonly open: OpenModel;
  /** Ends the threads and closes the files. */
  close(): void;
}

/** Loads a Hugging Face folder or a packed file. */
export async function loadModel(
  from: string | OpenModel,
  options: LoadOptions = {},
): Promise<LoadedModel> {
  const open = typeof from === "string" ? await openModel(from) : from;
  let engine: Engine | undefined;
  try {
    engine = await Engine.create(options);
    const model = assemble(open, engine, await open.load(engine), options);
    if (options.warmUp ?? true) warmUp(engine, smallLayouts(model.vlm), model.kvCache);
    return model;
  } catch (error) {
    engine?.close();
    open.close();
    throw error;
  }
}

/** Puts a loaded model together from its pieces, e.g. one that was quantized in place. */
export function assemble(
  open: OpenModel,
  engine: Engine,
  vlm: Vlm,
  { activations, kvCache = "f32" }: LoadOptions = {},
): LoadedModel {
  if (activations !== undefined && activations !== "int8" && activations !== "f32") {
    throw badRequest(`activations must be "int8" or "f32", not "${activations}".`);
  }
  checkKvKind(kvCache);
  const ops = new Infer(engine, { exact: isPacked(vlm), ...(activations && { activations }) });
  return {
    open,
    engine,
    ops,
    vlm,
    kvCache,
    close() {
      engine.close();
      open.close();
    },
  };
}

/** A layout of few rows and columns for each kind of packed weight. */
function smallLayouts(vlm: Vlm): Layout[] {
  const formats = new Map<string, Format>();
  for (const { weight } of partsOf(vlm).flatMap(linearsOf)) {
    if (weight.kind === "packed") formats.set(formatName(weight.format), weight.format);
  }
  return [...formats.values()].map((format) => layoutOf(fitFormat(format, 256, 512), 256, 512));
}

/** Whether any weight is packed. */
export function isPacked(vlm: Vlm): boolean {
  return partsOf(vlm).some((part) =>
    linearsOf(part).some(({ weight }) => weight.kind === "packed")
  );
}
