// A Hugging Face model folder: JSON and text files beside `model.safetensors`, or beside shards that
// `model.safetensors.index.json` lists. Tensors are read by rows; nothing is ever read whole but the headers.

import { badFile, badRequest } from "../base/errors.ts";
import { type ByteSource, clip, decodeText, parseJson, readAll } from "./bytes.ts";
import { joinPath, kindOf, openFile } from "./host.ts";
import { byteSize, readHeader, type TensorEntry } from "./safetensors.ts";

/** A set of files by plain name: a folder on disk, or what a page's user dropped. */
export interface Folder {
  /** For messages. */
  readonly name: string;
  /** Whether a file of that name is there. */
  has(file: string): boolean;
  /** Opens a file for reading by range. */
  open(file: string): ByteSource;
}

/** A tensor of a checkpoint; offsets count from the start of its file. */
export interface CheckpointTensor extends TensorEntry {
  /** The file's name within the folder. */
  readonly file: string;
}

/** An open model folder. */
export interface Checkpoint {
  /** The folder it came from. */
  readonly folder: Folder;
  /** The safetensors files, in order of first use. */
  readonly files: readonly string[];
  /** Every tensor of every file. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /**
   * Reads `rows` rows (the outermost dimension; default: all that are left) from `firstRow` on as they are stored.
   * `into` must be exactly that long and may be a view over shared memory.
   */
  read(name: string, into: Uint8Array, firstRow?: number, rows?: number): Promise<void>;
  /** Whether the folder holds a file of that name. */
  has(file: string): boolean;
  /** A text file of the folder, strict UTF-8. */
  readText(file: string): Promise<string>;
  /** A JSON file of the folder. */
  readJson(file: string): Promise<unknown>;
  /** Closes the files. */
  close(): void;
}

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const TEXT_LIMIT = 1 << 28; // the largest tokenizer.json known takes 35 MB
const SHARD_LIMIT = 4096;

/** A folder of the host's file system. */
export function hostFolder(path: string): Folder {
  return {
    name: path,
    has: (file) => kindOf(joinPath(path, file)) === "file",
    open: (file) => openFile(joinPath(path, file)),
  };
}

/**
 * Opens a model folder, given by its path or as a {@linkcode Folder}, and reads the headers of its safetensors files.
 * Throws `bad-file` if there is no checkpoint or if index and files disagree.
 */
export async function openCheckpoint(from: string | Folder): Promise<Checkpoint> {
  const folder = typeof from === "string" ? hostFolder(from) : from;
  if (typeof from === "string") checkFolder(from);
  const sources = new Map<string, ByteSource>();
  const close = () => sources.forEach((source) => source.close());
  try {
    const weightMap = await findFiles(folder);
    const tensors = new Map<string, CheckpointTensor>();
    for (const file of new Set(weightMap?.values() ?? [SINGLE])) {
      const source = folder.open(file);
      sources.set(file, source);
      const header = await readHeader(source);
      for (const [name, entry] of header.tensors) {
        // A tensor that the index does not list is kept: whoever resolves names reports it as unused.
        const home = weightMap?.get(name) ?? tensors.get(name)?.file ?? file;
        if (home === file) tensors.set(name, { ...entry, file });
      }
    }
    checkIndex(folder, weightMap, tensors);
    return new OpenCheckpoint(folder, sources, tensors);
  } catch (error) {
    close();
    throw error;
  }
}

function checkFolder(path: string): void {
  const kind = kindOf(path);
  if (kind === "folder") return;
  throw badFile(path, kind === "none" ? "there is no such folder." : "expected a model folder.");
}

/** File by tensor name from the index, or undefined for a single file. */
async function findFiles(folder: Folder): Promise<Map<string, string> | undefined> {
  if (folder.has(SINGLE)) return undefined;
  if (!folder.has(INDEX)) {
    throw badFile(
      folder.name,
      `expected ${SINGLE} or ${INDEX}, found neither. Other weight files (.bin, .pth, .gguf) must be converted ` +
        "to safetensors first.",
    );
  }
  return readIndex(await readJson(folder, INDEX), `${folder.name}/${INDEX}`);
}

/** Checks an index file's JSON; gives the file by tensor name. */
export function readIndex(json: unknown, file: string): Map<string, string> {
  const map = (json as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw badFile(file, "expected an object weight_map from tensor names to file names.");
  }
  const files = new Map<string, string>();
  const shards = new Set<string>();
  for (const [name, shard] of Object.entries(map)) {
    // A shard is a plain name: an index must never lead to files outside its folder.
    if (typeof shard !== "string" || !/^[\w][\w.=@+-]{0,200}\.safetensors$/.test(shard)) {
      const found = clip(JSON.stringify(shard));
      throw badFile(file, `tensor ${quote(name)}: ${found} is no plain .safetensors file name.`);
    }
    files.set(name, shard);
    shards.add(shard);
  }
  if (files.size === 0) throw badFile(file, "its weight_map is empty.");
  if (shards.size > SHARD_LIMIT) {
    throw badFile(file, `it lists ${shards.size} files; at most ${SHARD_LIMIT} are supported.`);
  }
  return files;
}

function checkIndex(
  folder: Folder,
  weightMap: Map<string, string> | undefined,
  tensors: Map<string, CheckpointTensor>,
): void {
  const lost = [...weightMap ?? []].filter(([name]) => !tensors.has(name));
  if (lost.length === 0) return;
  const lines = lost.map(([name, file]) => `\n  ${quote(name)} in ${file}`).join("");
  throw badFile(
    `${folder.name}/${INDEX}`,
    `it lists ${lost.length} tensors that their files do not hold:${lines}`,
  );
}

class OpenCheckpoint implements Checkpoint {
  readonly files: readonly string[];

  constructor(
    readonly folder: Folder,
    readonly sources: ReadonlyMap<string, ByteSource>,
    readonly tensors: ReadonlyMap<string, CheckpointTensor>,
  ) {
    this.files = [...sources.keys()];
  }

  async read(name: string, into: Uint8Array, firstRow = 0, rows?: number): Promise<void> {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) {
      throw badRequest(`${this.folder.name}: there is no tensor ${quote(name)}.`);
    }
    const { dtype, shape, begin, file } = tensor;
    const all = shape[0] ?? 1;
    const count = rows ?? all - firstRow;
    if (!isCount(firstRow) || !isCount(count) || firstRow + count > all) {
      throw badRequest(
        `${file}: tensor ${
          quote(name)
        } has ${all} rows; ${count} from row ${firstRow} were asked for.`,
      );
    }
    const rowBytes = byteSize(dtype, shape.slice(1)) ?? 0; // only a tensor of no rows has no size
    if (into.length !== count * rowBytes) {
      throw badRequest(
        `${file}: ${count} rows of tensor ${quote(name)} take ${count * rowBytes} bytes; ` +
          `there is room for ${into.length}.`,
      );
    }
    await this.sources.get(file)!.read(begin + firstRow * rowBytes, into);
  }

  has(file: string): boolean {
    return this.folder.has(file);
  }

  readText(file: string): Promise<string> {
    return readText(this.folder, file);
  }

  readJson(file: string): Promise<unknown> {
    return readJson(this.folder, file);
  }

  close(): void {
    this.sources.forEach((source) => source.close());
  }
}

async function readText(folder: Folder, file: string): Promise<string> {
  const source = folder.open(file);
  try {
    return decodeText(await readAll(source, TEXT_LIMIT), source.name);
  } finally {
    source.close();
  }
}

async function readJson(folder: Folder, file: string): Promise<unknown> {
  return parseJson(await readText(folder, file), `${folder.name}/${file}`);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function quote(name: string): string {
  return JSON.stringify(clip(name));
}
