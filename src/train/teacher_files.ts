// A teacher's logits on disk: one safetensors file for each set of examples that is computed together, with
// `N.logits` [rows, top], and where only the largest are kept `N.ids` and `N.rest`, for each example N. A file is written
// aside and renamed, so that it is whole or not there; what is read back is bit for bit what was computed.
import { badFile } from "../base/errors.ts";
import type { ByteSource } from "../io/bytes.ts";
import { joinPath, kindOf, makeFolder, openFile, writeAside } from "../io/host.ts";
import { readHeader, type TensorToWrite, writeSafetensors } from "../io/safetensors.ts";
import { Fingerprint } from "./fingerprint.ts";
import type { TopRows } from "./teacher.ts";

/** Where logits are kept, and what they belong to. */
export interface TeacherFolder {
  /** Folder; those of different teachers, data or settings do not meet in it. */
  readonly path: string;
  /** Changes with the teacher, the data, and which examples are computed together. */
  readonly fingerprint: string;
}

type Kind = keyof TopRows;
const DTYPES = { logits: "F32", ids: "I32", rest: "F32" } as const;
const KINDS: readonly Kind[] = ["logits", "ids", "rest"];

/** Reads and writes the logits of one teacher, `top` of them per row. */
export class TeacherFiles {
  readonly #folder: string;
  readonly #print: string;

  /** Nothing is read or written yet; `about` is what else decides the logits. */
  constructor({ path, fingerprint }: TeacherFolder, about: string) {
    this.#print = new Fingerprint().add(fingerprint).add(about).text;
    this.#folder = joinPath(path, this.#print);
  }

  #path(first: number): string {
    return joinPath(this.#folder, `${first}.safetensors`);
  }

  /** Keeps the logits of examples that were computed together; the first of them names the file. */
  async write(rows: ReadonlyMap<number, TopRows>, top: number): Promise<void> {
    const [first] = rows.keys();
    makeFolder(this.#folder);
    const file = writeAside(this.#path(first!));
    try {
      await writeSafetensors(file, tensorsOf(rows, top), { fingerprint: this.#print });
      file.commit();
    } finally {
      file.abort();
    }
  }

  /** The logits of some examples of a set, the first of which is `first`; nothing if they have not been kept. */
  async read(first: number, wanted: readonly number[]): Promise<Map<number, TopRows> | undefined> {
    const path = this.#path(first);
    if (kindOf(path) !== "file") return undefined;
    const source = openFile(path);
    try {
      const { tensors, metadata } = await readHeader(source);
      if (metadata.get("fingerprint") !== this.#print) {
        throw badFile(path, "does not hold the logits that its name says; remove the folder.");
      }
      const found = new Map<number, TopRows>();
      for (const example of wanted) {
        const read = async (kind: Kind): Promise<ArrayBuffer | undefined> => {
          const entry = tensors.get(`${example}.${kind}`);
          return entry && await bytesAt(source, entry.begin, entry.end);
        };
        const [logits, ids, rest] = [await read("logits"), await read("ids"), await read("rest")];
        if (!logits || !ids !== !rest) {
          throw badFile(path, `has no logits of example ${example}; remove the file.`);
        }
        found.set(example, {
          logits: new Float32Array(logits),
          ...(ids && { ids: new Int32Array(ids) }),
          ...(rest && { rest: new Float32Array(rest) }),
        });
      }
      return found;
    } finally {
      source.close();
    }
  }
}

function tensorsOf(rows: ReadonlyMap<number, TopRows>, top: number): TensorToWrite[] {
  return [...rows].flatMap(([example, part]) =>
    KINDS.flatMap((kind): TensorToWrite[] => {
      const values = part[kind];
      if (!values) return [];
      const count = part.logits.length / top;
      return [{
        name: `${example}.${kind}`,
        dtype: DTYPES[kind],
        shape: kind === "rest" ? [count] : [count, top],
        bytes: () => new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
      }];
    })
  );
}

async function bytesAt(source: ByteSource, begin: number, end: number): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(end - begin);
  await source.read(begin, bytes);
  return bytes.buffer;
}
