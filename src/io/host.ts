// The one file that touches the host's file system, through node:fs as Deno and Node both offer it. Nothing is looked
// up before a path is used, so that `deno run --allow-read=FOLDER` is enough and a browser can load this module.
// Longer than 300 lines because everything that knows the host's file system is to be in one place.

import type * as NodeFs from "node:fs";
import type * as NodePath from "node:path";
import { badFile, badRequest, LobitError } from "../base/errors.ts";
import {
  attempt,
  type ByteSink,
  type ByteSource,
  checkOverwrite,
  checkRange,
  decodeText,
} from "./bytes.ts";

const TEXT_LIMIT = 1 << 28;
const READ_STEP = 1 << 30; // one system call reads at most 2 GiB - 4 KiB

interface Host {
  process?: { getBuiltinModule?: (name: string) => unknown };
}

function builtin(name: string): unknown {
  const found = (globalThis as Host).process?.getBuiltinModule?.(name);
  if (found === undefined) {
    throw badRequest("There is no file system here; give Blobs or bytes instead of a path.");
  }
  return found;
}

/** node:fs; for the files of this folder only. */
export function fs(): typeof NodeFs {
  return builtin("node:fs") as typeof NodeFs;
}

function paths(): typeof NodePath {
  return builtin("node:path") as typeof NodePath;
}

const REASONS: Record<string, string> = {
  ENOENT: "there is no such file or folder.",
  ENOTDIR: "a part of this path is a file, not a folder.",
  EACCES: "the system does not allow this access; check the file's permissions.",
  EPERM: "the system does not allow this access; check the file's permissions.",
  EROFS: "it is on a read-only file system.",
  EISDIR: "expected a file, found a folder.",
  ENOSPC: "the disk is full; nothing was kept.",
  EDQUOT: "the disk quota is used up; nothing was kept.",
  EEXIST: "it exists already.",
  EMFILE: "too many files are open.",
  ENAMETOOLONG: "the path is too long.",
};

/** Whether Deno was started without the permission. */
export function refused(error: unknown): boolean {
  return error instanceof Error && error.name === "NotCapable";
}

/** Turns what node:fs throws into a LobitError that says what to do. */
function hostError(cause: unknown, path: string, access: "read" | "write"): LobitError {
  if (cause instanceof LobitError) return cause;
  if (refused(cause)) {
    const folder = access === "write" ? paths().dirname(path) : path;
    return new LobitError(
      "bad-request",
      `${path}: Deno was started without leave to ${access} it; add --allow-${access}=${folder}`,
      { cause },
    );
  }
  const code = String((cause as { code?: unknown } | null)?.code ?? "");
  const why = cause instanceof Error ? cause.message : String(cause);
  return badFile(path, REASONS[code] ?? `the system could not ${access} it: ${why}`, { cause });
}

function reading<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw hostError(error, path, "read");
  }
}

/** Runs a write and turns what it throws into a LobitError. */
export function writing<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw hostError(error, path, "write");
  }
}

class FileSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  #handle: number | undefined;

  constructor(path: string) {
    this.name = path;
    const stat = reading(path, () => fs().statSync(path));
    if (stat.isDirectory()) throw badFile(path, REASONS.EISDIR!);
    // Opening a pipe or a device could block for ever, and neither can be read by range.
    if (!stat.isFile()) throw badFile(path, "expected an ordinary file, found a pipe or device.");
    this.size = stat.size;
    this.#handle = reading(path, () => fs().openSync(path, "r"));
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return attempt(() => this.readNow(offset, into));
  }

  readNow(offset: number, into: Uint8Array): void {
    const handle = this.#handle;
    if (handle === undefined) throw badRequest(`${this.name}: it was closed already.`);
    checkRange(this.name, this.size, offset, into.length);
    for (let done = 0; done < into.length;) {
      const count = Math.min(READ_STEP, into.length - done);
      const got = reading(
        this.name,
        () => fs().readSync(handle, into, done, count, offset + done),
      );
      if (got === 0) throw badFile(this.name, "it became shorter while it was read.");
      done += got;
    }
  }

  close(): void {
    if (this.#handle !== undefined) fs().closeSync(this.#handle);
    this.#handle = undefined;
  }
}

/**
 * Opens a file for reading by range; close it when done.
 * Errors: `bad-file` if it is missing, a folder or not readable; `bad-request` if Deno lacks the permission.
 */
export function openFile(path: string): ByteSource {
  return new FileSource(path);
}

/** A whole file of at most `limit` bytes. */
export function readFile(path: string, limit: number = TEXT_LIMIT): Uint8Array<ArrayBuffer> {
  const source = new FileSource(path);
  try {
    if (source.size > limit) {
      throw badFile(path, `it has ${source.size} bytes; at most ${limit} were expected.`);
    }
    const bytes = new Uint8Array(source.size);
    source.readNow(0, bytes);
    return bytes;
  } finally {
    source.close();
  }
}

/** A whole UTF-8 text file of at most `limit` bytes; a byte order mark is dropped. */
export function readTextFile(path: string, limit: number = TEXT_LIMIT): string {
  return decodeText(readFile(path, limit), path);
}

/** What a path leads to; `none` if there is nothing. */
export function kindOf(path: string): "file" | "folder" | "other" | "none" {
  try {
    const stat = fs().statSync(path);
    return stat.isFile() ? "file" : stat.isDirectory() ? "folder" : "other";
  } catch (error) {
    const code = (error as { code?: unknown } | null)?.code;
    if (code === "ENOENT" || code === "ENOTDIR") return "none";
    throw hostError(error, path, "read");
  }
}

/** The names in a folder, sorted by code unit. */
export function listFolder(path: string): string[] {
  return reading(path, () => fs().readdirSync(path)).sort();
}

/** Makes a folder and those above it; nothing happens if it is there. */
export function makeFolder(path: string): void {
  writing(path, () => {
    // Deno asks for read permission to look; making it at once and accepting EEXIST needs none.
    try {
      fs().mkdirSync(path);
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (code === "EEXIST") return;
      if (code !== "ENOENT") throw error;
      fs().mkdirSync(path, { recursive: true });
    }
  });
}

/** Joins path parts; an absolute later part starts anew, as on a command line. */
export function joinPath(...parts: string[]): string {
  const { isAbsolute, join } = paths();
  return parts.reduce((path, part) => isAbsolute(part) ? part : join(path, part));
}

/** The folder that holds a path. */
export function folderOf(path: string): string {
  return paths().dirname(path);
}

/** A file that appears under its name only when it is complete. */
export interface AsideFile extends ByteSink {
  /** Flushes to the disk and puts the file under its name, replacing an older one. */
  commit(): void;
  /** Throws away what was written; does nothing after `commit`. */
  abort(): void;
}

class HostAsideFile implements AsideFile {
  readonly name: string;
  readonly #written: string;
  #handle: number | undefined;
  #size = 0;

  constructor(path: string) {
    this.name = path;
    const aside = `${path}.partial`;
    try {
      this.#handle = fs().openSync(aside, "w");
      this.#written = aside;
    } catch (error) {
      // With leave to write this one path only, a new file is made in place; an old one is never put at risk.
      if (!refused(error)) throw hostError(error, path, "write");
      try {
        this.#handle = fs().openSync(path, "wx");
      } catch (second) {
        const exists = (second as { code?: unknown } | null)?.code === "EEXIST";
        throw hostError(exists ? error : second, path, "write");
      }
      this.#written = path;
    }
  }

  get size(): number {
    return this.#size;
  }

  write(bytes: Uint8Array): Promise<void> {
    return attempt(() => {
      this.#put(bytes, this.#size);
      this.#size += bytes.length;
    });
  }

  overwrite(offset: number, bytes: Uint8Array): Promise<void> {
    return attempt(() => {
      checkOverwrite(this.name, this.#size, offset, bytes.length);
      this.#put(bytes, offset);
    });
  }

  #put(bytes: Uint8Array, offset: number): void {
    const handle = this.#handle;
    if (handle === undefined) throw badRequest(`${this.name}: it was finished already.`);
    try {
      for (let done = 0; done < bytes.length;) {
        const count = Math.min(READ_STEP, bytes.length - done);
        done += fs().writeSync(handle, bytes, done, count, offset + done);
      }
    } catch (error) {
      this.abort();
      throw hostError(error, this.name, "write");
    }
  }

  commit(): void {
    const handle = this.#handle;
    if (handle === undefined) throw badRequest(`${this.name}: it was finished already.`);
    try {
      fs().fsyncSync(handle);
      fs().closeSync(handle);
      this.#handle = undefined;
      if (this.#written !== this.name) fs().renameSync(this.#written, this.name);
    } catch (error) {
      this.#drop();
      throw hostError(error, this.name, "write");
    }
  }

  abort(): void {
    if (this.#handle !== undefined) this.#drop();
  }

  #drop(): void {
    try {
      if (this.#handle !== undefined) fs().closeSync(this.#handle);
      this.#handle = undefined;
      fs().unlinkSync(this.#written);
    } catch {
      // What led here is the error worth telling; a left-over `.partial` is overwritten next time.
      this.#handle = undefined;
    }
  }
}

/**
 * Starts a file that is written beside its place as `PATH.partial` and renamed by `commit`, so that a failure never
 * leaves half a file. If Deno may write PATH alone, a PATH that does not exist yet is written directly and removed
 * again on failure.
 */
export function writeAside(path: string): AsideFile {
  return new HostAsideFile(path);
}

/** Writes a whole file aside and puts it in place. */
export async function writeFile(path: string, content: Uint8Array | string): Promise<void> {
  const file = writeAside(path);
  try {
    await file.write(typeof content === "string" ? new TextEncoder().encode(content) : content);
    file.commit();
  } finally {
    file.abort();
  }
}
