// The safetensors container: u64 little-endian header length N, N bytes of JSON, then the tensors' bytes without holes.
// Facts: github.com/huggingface/safetensors, README "Format". Everything the header claims is checked before use.

import { badFile, badRequest } from "../base/errors.ts";
import { type ByteSink, type ByteSource, clip, decodeText, parseJson } from "./bytes.ts";

/** Element types and their sizes in bytes. */
export const DTYPE_BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  U64: 8,
  I32: 4,
  U32: 4,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

/** An element type by its name in the header. */
export type Dtype = keyof typeof DTYPE_BYTES;

/** What a tensor is, apart from where it lies. */
export interface TensorShape {
  /** Element type. */
  readonly dtype: Dtype;
  /** Sizes, outermost first; empty for a scalar. */
  readonly shape: readonly number[];
}

/** One tensor's header entry; offsets count from the start of the file. */
export interface TensorEntry extends TensorShape {
  /** First byte. */
  readonly begin: number;
  /** One past the last byte. */
  readonly end: number;
}

/** A checked header. */
export interface SafetensorsHeader {
  /** Tensors by name, in file order. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** The header's free text entries. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** A tensor to be written. */
export interface TensorToWrite extends TensorShape {
  /** Its name in the file. */
  readonly name: string;
  /** Called once, when its turn comes; gives all bytes at once or piece by piece. */
  readonly bytes: () => Uint8Array | Promise<Uint8Array> | AsyncIterable<Uint8Array>;
}

const HEADER_LIMIT = 100_000_000; // the format's own
const RANK_LIMIT = 32;
const ALIGNMENT = 64;

/** Bytes that a dtype and shape take; undefined if that is no safe integer. */
export function byteSize(dtype: Dtype, shape: readonly number[]): number | undefined {
  // A zero anywhere makes the tensor empty, whatever the other sizes multiply to.
  const bytes = shape.includes(0)
    ? 0
    : shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/**
 * Reads and checks a header: length, JSON, known dtypes, shapes that fit their spans, spans that fill the file without
 * overlap or hole. Throws a `bad-file` error that names the first tensor at fault.
 */
export async function readHeader(source: ByteSource): Promise<SafetensorsHeader> {
  const { name: file, size } = source;
  if (size < 10) throw badFile(file, `expected a safetensors file, found ${size} bytes.`);
  const prefix = new Uint8Array(8);
  await source.read(0, prefix);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > HEADER_LIMIT || length + 8 > size) {
    throw badFile(
      file,
      `its header should be ${length} bytes long, which ` +
        (length > HEADER_LIMIT
          ? `is over the format's limit of ${HEADER_LIMIT}; it is no safetensors file.`
          : `does not fit into the file's ${size} bytes; it is damaged or cut short.`),
    );
  }
  const bytes = new Uint8Array(length);
  await source.read(8, bytes);
  if (bytes[0] !== 0x7b) throw badFile(file, "expected a JSON object after the header length.");
  const json = parseJson(decodeText(bytes, file), file);
  if (!isObject(json)) throw badFile(file, "expected a JSON object as header.");

  const metadata = readMetadata(json.__metadata__, file);
  const start = 8 + length;
  const entries: [string, TensorEntry][] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") continue;
    entries.push([name, readEntry(name, value, start, size, file)]);
  }
  entries.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let end = start;
  for (const [name, entry] of entries) {
    if (entry.begin !== end) {
      const what = entry.begin < end ? "overlaps the tensor before it" : "leaves a hole before it";
      throw badFile(file, `tensor ${quote(name)} ${what}; the file is damaged.`);
    }
    end = entry.end;
  }
  if (end !== size) {
    throw badFile(file, `its tensors end at ${end}, the file at ${size}; it is damaged.`);
  }
  return { tensors: new Map(entries), metadata };
}

function readMetadata(value: unknown, file: string): Map<string, string> {
  if (value === undefined || value === null) return new Map();
  if (!isObject(value)) throw badFile(file, "expected __metadata__ to be an object of texts.");
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      throw badFile(file, `expected the metadata entry ${quote(key)} to be a text.`);
    }
    metadata.set(key, text);
  }
  return metadata;
}

function readEntry(
  name: string,
  value: unknown,
  start: number,
  size: number,
  file: string,
): TensorEntry {
  const fail = (problem: string) => badFile(file, `tensor ${quote(name)}: ${problem}`);
  if (!isObject(value)) throw fail("expected an object with dtype, shape and data_offsets.");
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) {
    const found = clip(JSON.stringify(dtype) ?? "nothing", 40);
    throw fail(`dtype ${found} is not one of ${Object.keys(DTYPE_BYTES).join(", ")}.`);
  }
  if (!isSizes(shape) || shape.length > RANK_LIMIT) {
    throw fail(`expected a shape of at most ${RANK_LIMIT} whole numbers.`);
  }
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw fail("expected data_offsets to be two whole numbers.");
  }
  const begin = start + offsets[0]!;
  const end = start + offsets[1]!;
  if (begin > end || end > size) {
    throw fail(
      `its bytes ${begin} to ${end} do not lie within the file's ${size}; it is cut short or damaged.`,
    );
  }
  if (byteSize(dtype, shape) !== end - begin) {
    throw fail(`${dtype} of shape [${shape}] does not take the ${end - begin} bytes it is given.`);
  }
  return { dtype, shape, begin, end };
}

/**
 * Writes a safetensors file tensor by tensor; at no time is more than one piece held. The header is padded so that the
 * data starts at a multiple of 64. Tensors whose size is a multiple of 64 bytes come first, then multiples of 32, 16, 8,
 * 4, 2, 1 (each in the given order), so every tensor starts at a multiple of the largest power of two, up to 64, that
 * divides its size: packed weights can be used where they lie.
 * Throws `bad-request` on names given twice, impossible shapes and tensors whose bytes do not fill their shape.
 */
export async function writeSafetensors(
  sink: ByteSink,
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>> | ReadonlyMap<string, string> = {},
): Promise<void> {
  const planned = [...tensors].map((tensor) => ({ tensor, size: sizeToWrite(tensor, sink.name) }))
    .sort((a, b) => alignmentOf(b.size) - alignmentOf(a.size));
  const texts = metadata instanceof Map ? [...metadata] : Object.entries(metadata);
  const header = new Map<string, unknown>();
  if (texts.length > 0) header.set("__metadata__", Object.fromEntries(texts));
  let end = 0;
  for (const { tensor: { name, dtype, shape }, size } of planned) {
    if (header.has(name) || name === "__metadata__") {
      throw badRequest(`${sink.name}: the tensor name ${quote(name)} cannot be used twice.`);
    }
    header.set(name, { dtype, shape, data_offsets: [end, end += size] });
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = Math.ceil((8 + json.length) / ALIGNMENT) * ALIGNMENT - 8;
  if (length > HEADER_LIMIT) {
    throw badRequest(`${sink.name}: the header would take ${length} bytes, over the limit.`);
  }
  const start = new Uint8Array(8 + length).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(length), true);
  start.set(json, 8);
  await sink.write(start);
  for (const { tensor, size } of planned) await writeTensor(sink, tensor, size);
}

async function writeTensor(sink: ByteSink, tensor: TensorToWrite, size: number): Promise<void> {
  let written = 0;
  const put = (piece: Uint8Array): Promise<void> => {
    written += piece.length;
    if (written > size) throw wrongLength();
    return sink.write(piece);
  };
  const wrongLength = () =>
    badRequest(
      `${sink.name}: tensor ${quote(tensor.name)} takes ${size} bytes, but ${written} were given.`,
    );
  const bytes = await tensor.bytes();
  if (bytes instanceof Uint8Array) await put(bytes);
  else for await (const piece of bytes) await put(piece);
  if (written !== size) throw wrongLength();
}

function sizeToWrite({ name, dtype, shape }: TensorToWrite, file: string): number {
  const size = isDtype(dtype) && isSizes(shape) ? byteSize(dtype, shape) : undefined;
  if (size === undefined) {
    throw badRequest(`${file}: tensor ${quote(name)} cannot be ${dtype} of shape [${shape}].`);
  }
  return size;
}

/** The largest power of two, up to 64, that divides the size. */
function alignmentOf(size: number): number {
  for (let alignment = ALIGNMENT; alignment > 1; alignment /= 2) {
    if (size % alignment === 0) return alignment;
  }
  return 1;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isDtype(value: unknown): value is Dtype {
  return typeof value === "string" && Object.hasOwn(DTYPE_BYTES, value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function quote(name: string): string {
  return JSON.stringify(clip(name));
}
