// A packed file back to a Hugging Face folder of bf16 safetensors, for evaluation elsewhere. Weights become what their
// codes stand for, rounded to bf16; names and shapes are those of the layout that the file's config.json describes, with
// stacked tensors stacked again. Tensor by tensor, never the whole model in memory.
import { badFile, badRequest, throwIfAborted } from "../base/errors.ts";
import { toBf16 } from "../base/half.ts";
import { joinPath, kindOf, openFile, writeAside, writeFile } from "../io/host.ts";
import { folderAside } from "../io/host_folder.ts";
import { type TensorToWrite, writeSafetensors } from "../io/safetensors.ts";
import { bytesOf, countOf, floats, freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import { Engine, type EngineOptions, kernels } from "../../wasm/mod.ts";
import { readAssets, type Texts } from "./assets.ts";
import { PackedStore, readPackedInfo } from "./packed_file.ts";
import type { Architecture } from "./registry.ts";

/** How to export. */
export interface ExportOptions extends EngineOptions {
  /** Stops the work; nothing is left of the folder then. */
  readonly signal?: AbortSignal | undefined;
  /** Called with the weights written so far and in all. */
  readonly onProgress?: (done: number, total: number, name: string) => void;
}

/** What was exported. */
export interface ExportReport {
  /** The folder. */
  readonly folder: string;
  /** The checkpoint layout whose names the tensors have. */
  readonly layout: string;
  /** Names of the files in it. */
  readonly files: readonly string[];
  /** Tensors in model.safetensors. */
  readonly tensors: number;
  /** Weights in them. */
  readonly weights: number;
}

/** Weights that are converted at a time. */
const STEP = 1 << 20;
const WEIGHTS = "model.safetensors";
const TEXT_NAME = /^\w[\w.-]{0,100}\.(json|txt|jinja)$/;

/**
 * Writes a packed file as a Hugging Face folder. `folder` must be new or empty; it appears when it is complete.
 * Throws `bad-file` if the packed file is damaged, `bad-request` if `path` is no file or the folder is taken.
 */
export async function exportPacked(
  path: string,
  folder: string,
  options: ExportOptions = {},
): Promise<ExportReport> {
  if (kindOf(path) === "folder") {
    throw badRequest(`${path} is a folder already; export turns a .lobit file into one.`);
  }
  const source = openFile(path);
  let engine: Engine | undefined;
  try {
    const info = await readPackedInfo(source);
    for (const name of info.texts.keys()) {
      // Names come from the file: they must not lead elsewhere.
      if (!TEXT_NAME.test(name)) throw badFile(path, `"${name}" is no name for a small file.`);
    }
    const { architecture } = readAssets(info.texts, path);
    const target = folderAside(folder);
    try {
      engine = await Engine.create(options);
      const store = new PackedStore(engine, source, info);
      const tensors = tensorsToWrite(engine, store, architecture, options);
      const file = writeAside(joinPath(target.path, WEIGHTS));
      try {
        await writeSafetensors(file, tensors, { format: "pt" });
        file.commit();
      } finally {
        file.abort();
      }
      await writeTexts(target.path, info.texts);
      target.commit();
      const weights = tensors.reduce((sum, { shape }) => sum + countOf(shape), 0);
      const files = [...info.texts.keys(), WEIGHTS];
      return { folder, layout: architecture.layout, files, tensors: tensors.length, weights };
    } finally {
      target.abort();
    }
  } finally {
    engine?.close();
    source.close();
  }
}

/** The small files; config.json comes last, so that an unfinished folder is never taken for a model. */
async function writeTexts(folder: string, texts: Texts): Promise<void> {
  const names = [...texts.keys()].sort((a, b) => +(a === "config.json") - +(b === "config.json"));
  for (const name of names) await writeFile(joinPath(folder, name), texts.get(name)!);
}

function tensorsToWrite(
  engine: Engine,
  store: PackedStore,
  architecture: Architecture,
  { signal, onProgress }: ExportOptions,
): TensorToWrite[] {
  const total = [...architecture.tensors.values()].reduce((sum, shape) => sum + countOf(shape), 0);
  let done = 0;
  onProgress?.(0, total, "");
  // By name in the checkpoint: the canonical tensors stacked in it, in order.
  const stacks = new Map<string, { name: string; shape: readonly number[] }[]>();
  for (const [name, shape] of architecture.tensors) {
    const { source, part } = architecture.placeOf(name);
    const stack = stacks.get(source) ?? [];
    stack[part] = { name, shape };
    stacks.set(source, stack);
  }
  return [...stacks].map(([source, stack]): TensorToWrite => {
    const [rows, ...rest] = stack[0]!.shape;
    return {
      name: source,
      dtype: "BF16",
      shape: [rows! * stack.length, ...rest],
      bytes: async function* () {
        for (const { name, shape } of stack) {
          for await (const piece of bf16Pieces(engine, store, name, shape)) {
            throwIfAborted(signal);
            yield piece;
            done += piece.length / 2;
            onProgress?.(done, total, name);
            // Lets signals and progress through.
            await new Promise((resolve) => setTimeout(resolve));
          }
        }
      },
    };
  });
}

/** One tensor as bf16 bytes, in pieces of whole rows. */
async function* bf16Pieces(
  engine: Engine,
  store: PackedStore,
  name: string,
  shape: readonly number[],
): AsyncGenerator<Uint8Array> {
  const { memory } = engine;
  const linear = name.endsWith(".weight") && shape.length >= 2;
  if (!linear) {
    const { tensor } = await store.vector(name, shape);
    try {
      yield bf16Bytes(floats(memory, tensor));
    } finally {
      freeTensor(memory, tensor);
    }
    return;
  }
  const rows = shape[0]!;
  const columns = countOf(shape.slice(1));
  const { weight } = await store.linear(name.slice(0, -".weight".length), rows, columns, false);
  if (weight.kind === "fake-quant") return;
  const whole = weight.kind === "packed" ? weight.blob : weight.tensor;
  const step = Math.min(rows, Math.max(1, Math.floor(STEP / columns)));
  let buffer: Tensor | undefined;
  try {
    if (weight.kind === "packed") buffer = heapTensor(memory, [step, columns]);
    for (let first = 0; first < rows; first += step) {
      const count = Math.min(step, rows - first);
      if (weight.kind === "packed") {
        const operand = { layout: weight.layout, blob: weight.blob.ptr };
        kernels.dequantizeRows(engine, buffer!.ptr, operand, count, first);
        yield bf16Bytes(floats(memory, buffer!).subarray(0, count * columns));
      } else if (whole.dtype === "bf16") {
        yield bytesOf(memory, whole).slice(2 * first * columns, 2 * (first + count) * columns);
      } else {
        yield bf16Bytes(floats(memory, whole).subarray(first * columns, (first + count) * columns));
      }
    }
  } finally {
    if (buffer) freeTensor(memory, buffer);
    freeTensor(memory, whole);
  }
}

function bf16Bytes(values: Float32Array): Uint8Array {
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) bits[i] = toBf16(values[i]!);
  return new Uint8Array(bits.buffer);
}
