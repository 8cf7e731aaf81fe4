// Where bytes come from and where they go: files, browser blobs and plain memory behind two small interfaces.
// Everything above reads by range into views of its own, which may lie in shared WebAssembly memory.

import { badFile, badRequest } from "../base/errors.ts";

/** Something whose bytes can be read by range: a file, a Blob, a buffer. */
export interface ByteSource {
  /** For messages: a path or a file name. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /**
   * Fills `into` with the bytes that start at `offset`. `into` may be a view over shared memory.
   * Throws a `bad-file` error if the source ends before `into` is full.
   */
  read(offset: number, into: Uint8Array): Promise<void>;
  /** Gives the file handle back. Reading afterwards is an error; closing twice is not. */
  close(): void;
}

/** Something bytes are appended to: a file being written, a buffer in memory. */
export interface ByteSink {
  /** For messages: a path or a file name. */
  readonly name: string;
  /** Bytes written so far. */
  readonly size: number;
  /** Appends the bytes; the caller may reuse the array once the promise is kept. */
  write(bytes: Uint8Array): Promise<void>;
  /** Replaces bytes that were written before, as a checksum in a header must be. */
  overwrite(offset: number, bytes: Uint8Array): Promise<void>;
}

/** Throws unless [offset, offset + length) lies within the source. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw badRequest(`${name}: cannot read at offset ${offset}.`);
  }
  if (offset + length > size) {
    throw badFile(
      name,
      `expected ${length} bytes at offset ${offset}, but the file ends at ${size}. ` +
        "It is cut short; fetch it again.",
    );
  }
}

class MemorySource implements ByteSource {
  readonly name: string;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.name = name;
  }

  get size(): number {
    return this.#bytes.length;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return attempt(() => {
      checkRange(this.name, this.size, offset, into.length);
      into.set(this.#bytes.subarray(offset, offset + into.length));
    });
  }

  close(): void {}
}

/** Reads from bytes that are in memory already; they are not copied. */
export function bufferSource(bytes: Uint8Array, name: string): ByteSource {
  return new MemorySource(bytes, name);
}

const BLOB_STEP = 1 << 24;

class BlobSource implements ByteSource {
  readonly name: string;
  readonly #blob: Blob;

  constructor(blob: Blob, name: string) {
    this.#blob = blob;
    this.name = name;
  }

  get size(): number {
    return this.#blob.size;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.name, this.size, offset, into.length);
    // Blobs cannot fill a given view, so the copy goes in steps that bound the extra memory.
    for (let done = 0; done < into.length; done += BLOB_STEP) {
      const end = Math.min(into.length, done + BLOB_STEP);
      let part: ArrayBuffer;
      try {
        part = await this.#blob.slice(offset + done, offset + end).arrayBuffer();
      } catch (cause) {
        throw badFile(this.name, "the browser could not read it; it may have changed.", { cause });
      }
      if (part.byteLength !== end - done) {
        throw badFile(this.name, "it became shorter while it was read.");
      }
      into.set(new Uint8Array(part), done);
    }
  }

  close(): void {}
}

/** Reads from a file that a browser's user picked, or from a downloaded Blob; a `File` brings its own name. */
export function blobSource(blob: Blob, name?: string): ByteSource {
  return new BlobSource(blob, name ?? (blob as { name?: string }).name ?? "blob");
}

/** A sink that keeps what is written in memory. */
export interface BufferSink extends ByteSink {
  /** Everything written so far, not copied. */
  bytes(): Uint8Array<ArrayBuffer>;
}

class MemorySink implements BufferSink {
  readonly name: string;
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  #size = 0;

  constructor(name: string) {
    this.name = name;
  }

  get size(): number {
    return this.#size;
  }

  write(bytes: Uint8Array): Promise<void> {
    return attempt(() => {
      const size = this.#size + bytes.length;
      if (size > this.#bytes.length) {
        const grown = new Uint8Array(Math.max(size, 2 * this.#bytes.length));
        grown.set(this.#bytes.subarray(0, this.#size));
        this.#bytes = grown;
      }
      this.#bytes.set(bytes, this.#size);
      this.#size = size;
    });
  }

  overwrite(offset: number, bytes: Uint8Array): Promise<void> {
    return attempt(() => {
      checkOverwrite(this.name, this.#size, offset, bytes.length);
      this.#bytes.set(bytes, offset);
    });
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#size);
  }
}

/** Collects what is written in memory, for downloads from a page. */
export function bufferSink(name: string): BufferSink {
  return new MemorySink(name);
}

/** Throws unless [offset, offset + length) was written before. */
export function checkOverwrite(name: string, size: number, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > size) {
    throw badRequest(
      `${name}: bytes ${offset} to ${offset + length} cannot be replaced; ${size} were written.`,
    );
  }
}

/** Runs synchronous work as a promise, so that what it throws rejects instead. */
export function attempt<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => resolve(work()));
}

/** Reads a whole source, if it is not longer than `limit` bytes. */
export async function readAll(source: ByteSource, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  if (source.size > limit) {
    throw badFile(source.name, `it has ${source.size} bytes; at most ${limit} were expected.`);
  }
  const bytes = new Uint8Array(source.size);
  await source.read(0, bytes);
  return bytes;
}

/** Decodes UTF-8 strictly; a byte order mark is dropped. */
export function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes as Uint8Array<ArrayBuffer>);
  } catch (cause) {
    throw badFile(name, "it is not valid UTF-8 text.", { cause });
  }
}

/** Parses JSON text that came from the file `name`. */
export function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw badFile(name, `it is not valid JSON (${clip(why, 160)}).`, { cause });
  }
}

/** Shortens text from a file for a message. */
export function clip(text: string, length = 120): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}
