// Model folders that exist only in memory: small ones with real bytes, and true-shape checkpoints of gigabytes whose
// tensors are zeros that are never stored.

import { badFile } from "../../src/base/errors.ts";
import { bufferSource, type ByteSource, checkRange } from "../../src/io/bytes.ts";
import type { Folder } from "../../src/io/checkpoint.ts";
import { byteSize, type Dtype } from "../../src/io/safetensors.ts";

/** A folder of files given as bytes, text, JSON values or sources. */
export function memoryFolder(files: Record<string, unknown>, name: string = "memory"): Folder {
  return {
    name,
    has: (file) => Object.hasOwn(files, file),
    open: (file) => {
      if (!Object.hasOwn(files, file)) throw badFile(`${name}/${file}`, "there is no such file.");
      return toSource(files[file], `${name}/${file}`);
    },
  };
}

function toSource(content: unknown, name: string): ByteSource {
  if (content instanceof Uint8Array) return bufferSource(content, name);
  if (typeof (content as ByteSource)?.read === "function") return content as ByteSource;
  const text = typeof content === "string" ? content : JSON.stringify(content);
  return bufferSource(new TextEncoder().encode(text), name);
}

/** Bytes of a safetensors header for these tensors laid out one after another, and the size of their data. */
export function headerFor(
  tensors: Iterable<[string, readonly number[]]>,
  dtype: Dtype = "BF16",
): { bytes: Uint8Array<ArrayBuffer>; dataSize: number } {
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end += byteSize(dtype, shape)!] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return { bytes, dataSize: end };
}

/** A safetensors file of any size whose tensors are all zero. */
export function zeroCheckpoint(
  tensors: Iterable<[string, readonly number[]]>,
  name: string = "zeros.safetensors",
): ByteSource {
  const { bytes, dataSize } = headerFor(tensors);
  const size = bytes.length + dataSize;
  return {
    name,
    size,
    read: (offset, into) => {
      checkRange(name, size, offset, into.length);
      into.fill(0);
      if (offset < bytes.length) into.set(bytes.subarray(offset, offset + into.length));
      return Promise.resolve();
    },
    close: () => {},
  };
}

/** The path of a file under tests/, wherever the tests are started from. */
export function testPath(file: string): string {
  return decodeURIComponent(new URL(`../${file}`, import.meta.url).pathname);
}
