// `model.lobit`: one safetensors file that holds all a model needs. lobit.md beside this file is its specification.
import { badFile, badRequest } from "../base/errors.ts";
import { type Format, formatName, parseFormat } from "../formats/format.ts";
import { type Layout, LAYOUT_VERSION, layoutOf } from "../formats/layout.ts";
import { checkPacked } from "../formats/pack.ts";
import type { Linear } from "../formats/weight.ts";
import { type ByteSink, type ByteSource, parseJson } from "../io/bytes.ts";
import {
  readHeader,
  type TensorEntry,
  type TensorToWrite,
  writeSafetensors,
} from "../io/safetensors.ts";
import {
  byteLength,
  bytesOf,
  countOf,
  freeTensor,
  heapTensor,
  type Tensor,
} from "../tensor/tensor.ts";
import { type Engine, kernels, type Memory } from "../../wasm/mod.ts";
import type { Texts } from "./assets.ts";
import type { WeightStore } from "./store.ts";
import { linearsOf, partsOf, type Vector, vectorsOf, type Vlm } from "./vlm.ts";

/** Version of the file format; see lobit.md for the rule. */
export const FILE_VERSION = 1;

/** What a packed file says about itself. */
export interface PackedInfo {
  /** FILE_VERSION it was written with. */
  readonly version: number;
  /** Recipe it was made with, for people and tools; not needed to run it. */
  readonly recipe: unknown;
  /** Packed weights by linear name. */
  readonly weights: ReadonlyMap<string, Layout>;
  /** XXH32 of each tensor's bytes, by tensor name. */
  readonly checksums: ReadonlyMap<string, number>;
  /** The small files of the original folder. */
  readonly texts: Texts;
  /** All tensors of the file. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
}

const TEXT_PREFIX = "file:";

/** Writes a model whose linears are packed or dense. Nothing is changed in memory. */
export async function writePacked(
  sink: ByteSink,
  engine: Engine,
  vlm: Vlm,
  texts: Texts,
  recipe: unknown,
): Promise<void> {
  const tensors: { name: string; tensor: Tensor }[] = [];
  const weights: Record<string, { format: string; rows: number; columns: number }> = {};
  for (const part of partsOf(vlm)) {
    for (const { name, rows, columns, weight } of linearsOf(part)) {
      if (weight.kind === "fake-quant") {
        throw badRequest(`${name} is still being trained: pack it before writing the file.`);
      }
      if (weight.kind === "packed") {
        weights[name] = { format: formatName(weight.format), rows, columns };
      }
      tensors.push({
        name: `${name}.weight`,
        tensor: weight.kind === "packed" ? weight.blob : weight.tensor,
      });
    }
    tensors.push(...vectorsOf(part));
  }
  const sums = kernels.checksums(
    engine,
    tensors.map(({ tensor }) => ({ ptr: tensor.ptr, bytes: byteLength(tensor) })),
  );
  const about = {
    version: FILE_VERSION,
    layout: LAYOUT_VERSION,
    recipe,
    weights,
    checksums: Object.fromEntries(tensors.map(({ name }, i) => [name, hex(sums[i]!)])),
  };
  const metadata = new Map([["format", "lobit"], ["lobit", JSON.stringify(about)]]);
  for (const [file, text] of texts) metadata.set(TEXT_PREFIX + file, text);
  await writeSafetensors(sink, tensors.map((entry) => toWrite(engine, entry)), metadata);
}

function toWrite(
  engine: Engine,
  { name, tensor }: { name: string; tensor: Tensor },
): TensorToWrite {
  const dtype = ({ f32: "F32", bf16: "BF16", i32: "I32", u8: "U8" } as const)[tensor.dtype];
  return { name, dtype, shape: tensor.shape, bytes: () => bytesOf(engine.memory, tensor) };
}

/** Reads and checks a packed file's header: version, layout, formats, checksums, texts. */
export async function readPackedInfo(source: ByteSource): Promise<PackedInfo> {
  const { tensors, metadata } = await readHeader(source);
  const text = metadata.get("lobit");
  if (text === undefined) {
    throw badFile(
      source.name,
      "is a safetensors file but not a lobit model; quantize its folder first.",
    );
  }
  const about = parseJson(text, source.name);
  if (!isObject(about)) {
    throw badFile(source.name, "its lobit entry is not an object; the file is damaged.");
  }
  checkVersion(source.name, about);
  const weights = new Map<string, Layout>();
  for (const [name, value] of entriesOf(about.weights, source.name, "weights")) {
    weights.set(name, readLayout(value, name, tensors, source.name));
  }
  const checksums = new Map<string, number>();
  for (const [name, value] of entriesOf(about.checksums, source.name, "checksums")) {
    if (typeof value !== "string" || !/^[0-9a-f]{8}$/.test(value)) {
      throw badFile(source.name, `the checksum of ${name} is not eight hexadecimal digits.`);
    }
    checksums.set(name, parseInt(value, 16));
  }
  for (const name of tensors.keys()) {
    if (!checksums.has(name)) {
      throw badFile(source.name, `tensor ${name} has no checksum; the file is damaged.`);
    }
  }
  const texts = new Map<string, string>();
  for (const [key, value] of metadata) {
    if (key.startsWith(TEXT_PREFIX)) texts.set(key.slice(TEXT_PREFIX.length), value);
  }
  return { version: FILE_VERSION, recipe: about.recipe, weights, checksums, texts, tensors };
}

function checkVersion(file: string, about: Record<string, unknown>): void {
  for (const [key, known] of [["version", FILE_VERSION], ["layout", LAYOUT_VERSION]] as const) {
    const found = about[key];
    if (typeof found !== "number" || !Number.isInteger(found) || found < 1) {
      throw badFile(file, `its ${key} should be a whole number, found ${JSON.stringify(found)}.`);
    }
    if (found > known) {
      throw badFile(
        file,
        `was written by a newer lobit (${key} ${found}; this one reads ${known}). Update lobit.`,
      );
    }
    if (found < known) {
      throw badFile(
        file,
        `has ${key} ${found}, which this lobit no longer reads. Quantize the model again.`,
      );
    }
  }
}

function readLayout(
  value: unknown,
  name: string,
  tensors: ReadonlyMap<string, TensorEntry>,
  file: string,
): Layout {
  const fail = (why: string, cause?: unknown) => badFile(file, `weight ${name}: ${why}`, { cause });
  if (!isObject(value)) throw fail("expected its format and shape.");
  const { format, rows, columns } = value;
  const isSize = (size: unknown): size is number => Number.isInteger(size) && (size as number) > 0;
  if (typeof format !== "string" || !isSize(rows) || !isSize(columns)) {
    throw fail("its format or shape is damaged.");
  }
  let layout: Layout;
  try {
    const parsed: Format = parseFormat(format);
    layout = layoutOf(parsed, rows, columns);
  } catch (error) {
    throw fail((error as Error).message, error);
  }
  const entry = tensors.get(`${name}.weight`);
  if (!entry || entry.dtype !== "U8" || entry.end - entry.begin !== layout.bytes) {
    throw fail(
      `expected ${layout.bytes} packed bytes, found ${
        entry ? `${entry.end - entry.begin} of ${entry.dtype}` : "none"
      }.`,
    );
  }
  return layout;
}

/** Weights from a packed file, read straight into the shared memory and checked against their checksums. */
export class PackedStore implements WeightStore {
  readonly memory: Memory;
  readonly #engine: Engine;
  readonly #source: ByteSource;
  readonly #info: PackedInfo;

  /** Makes a store; weights are loaded when asked for. */
  constructor(engine: Engine, source: ByteSource, info: PackedInfo) {
    this.memory = engine.memory;
    this.#engine = engine;
    this.#source = source;
    this.#info = info;
  }

  async linear(name: string, rows: number, columns: number, bias: boolean): Promise<Linear> {
    const layout = this.#info.weights.get(name);
    if (layout && (layout.rows !== rows || layout.columns !== columns)) {
      throw badFile(
        this.#source.name,
        `${name} should be [${rows}, ${columns}] but is [${layout.rows}, ${layout.columns}].`,
      );
    }
    const tensor = await this.#load(
      `${name}.weight`,
      layout ? [layout.bytes] : [rows, columns],
      !layout,
    );
    if (layout) {
      checkPacked(layout, bytesOf(this.#engine.memory, tensor), `${this.#source.name}, ${name}`);
    }
    const shift = bias ? (await this.vector(`${name}.bias`, [rows])).tensor : undefined;
    return {
      name,
      rows,
      columns,
      weight: layout
        ? { kind: "packed", format: layout.format, layout, blob: tensor }
        : { kind: "dense", tensor },
      bias: shift,
    };
  }

  async vector(name: string, shape: readonly number[]): Promise<Vector> {
    return { name, tensor: await this.#load(name, shape, false) };
  }

  async #load(name: string, shape: readonly number[], mayBeBf16: boolean): Promise<Tensor> {
    const entry = this.#info.tensors.get(name);
    const dtype = ({ U8: "u8", F32: "f32", BF16: "bf16" } as const)[entry?.dtype as string];
    if (
      !entry || !dtype || countOf(entry.shape) !== countOf(shape) ||
      (dtype === "bf16" && !mayBeBf16)
    ) {
      const found = entry ? `${entry.dtype} [${entry.shape}]` : "none";
      throw badFile(
        this.#source.name,
        `expected tensor ${name} of shape [${shape}], found ${found}.`,
      );
    }
    const tensor = heapTensor(this.#engine.memory, shape, dtype);
    try {
      const bytes = bytesOf(this.#engine.memory, tensor);
      await this.#source.read(entry.begin, bytes);
      const [sum] = kernels.checksums(this.#engine, [{ ptr: tensor.ptr, bytes: bytes.length }]);
      if (sum !== this.#info.checksums.get(name)) {
        throw badFile(
          this.#source.name,
          `tensor ${name} does not match its checksum. Copy the file again.`,
        );
      }
    } catch (error) {
      freeTensor(this.#engine.memory, tensor);
      throw error;
    }
    return tensor;
  }
}

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function entriesOf(value: unknown, file: string, what: string): [string, unknown][] {
  if (!isObject(value)) throw badFile(file, `its list of ${what} is missing; the file is damaged.`);
  return Object.entries(value);
}
