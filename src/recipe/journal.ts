// Finished work on disk, so that a run that was stopped goes on where it was: after each block and each stage the linears
// and vectors that changed are kept beside the output, in `OUTPUT.work/`. What is restored is bit for bit what was saved.
import { badFile, badRequest } from "../base/errors.ts";
import { formatName, parseFormat } from "../formats/format.ts";
import { layoutOf } from "../formats/layout.ts";
import type { Linear } from "../formats/weight.ts";
import { parseJson } from "../io/bytes.ts";
import {
  joinPath,
  kindOf,
  makeFolder,
  openFile,
  readTextFile,
  writeAside,
  writeFile,
} from "../io/host.ts";
import { readHeader, writeSafetensors } from "../io/safetensors.ts";
import type { Vector } from "../models/vlm.ts";
import { replaceWeight } from "../quant/pack_linear.ts";
import { byteLength, bytesOf, freeTensor, heapTensor, type Tensor } from "../tensor/tensor.ts";
import type { Memory } from "../../wasm/mod.ts";

/** Tensors that a piece of work may change. */
export interface Changed {
  /** Their weights. */
  readonly linears: readonly Linear[];
  /** Their values. */
  readonly vectors: readonly Vector[];
}

const STATE = "run.json";
const DTYPES = { f32: "F32", bf16: "BF16", u8: "U8", i32: "I32" } as const;

/** A folder of finished pieces that belong to one run. */
export class Journal {
  /** The folder. */
  readonly folder: string;
  readonly #memory: Memory;

  private constructor(memory: Memory, folder: string) {
    this.#memory = memory;
    this.folder = folder;
  }

  /**
   * Opens the folder for the run that `fingerprint` stands for. Without `resume` it must not hold another run's work;
   * with it, it must hold this one's.
   */
  static async open(
    memory: Memory,
    folder: string,
    fingerprint: string,
    resume: boolean,
  ): Promise<Journal> {
    const state = joinPath(folder, STATE);
    if (kindOf(state) === "file") {
      const found = (parseJson(readTextFile(state), state) as { fingerprint?: unknown } | null)
        ?.fingerprint;
      if (!resume) {
        throw badRequest(
          `${folder} holds an unfinished run: go on with --resume, or delete the folder.`,
        );
      }
      if (found !== fingerprint) {
        throw badRequest(
          `${folder} belongs to another run: recipe, model, data or seed differ. Delete the folder or give what that run had.`,
        );
      }
    } else {
      makeFolder(folder);
      await writeFile(state, JSON.stringify({ fingerprint }));
    }
    return new Journal(memory, folder);
  }

  /** Where a piece may keep a state of its own, e.g. an optimiser's. */
  path(piece: string): string {
    return joinPath(this.folder, `${piece.replace(/[^A-Za-z0-9._-]/g, "_")}.safetensors`);
  }

  /** Whether a piece is finished. */
  has(piece: string): boolean {
    return kindOf(this.path(piece)) === "file";
  }

  /** Keeps a finished piece: its tensors and what else is to be known about it. */
  async save(piece: string, { linears, vectors }: Changed, about: unknown): Promise<void> {
    const formats: Record<string, string> = {};
    const tensors: { name: string; tensor: Tensor }[] = [...vectors];
    for (const { name, weight } of linears) {
      if (weight.kind === "fake-quant") throw badRequest(`${name} is still being trained.`);
      if (weight.kind === "packed") formats[name] = formatName(weight.format);
      tensors.push({
        name: `${name}.weight`,
        tensor: weight.kind === "packed" ? weight.blob : weight.tensor,
      });
    }
    const file = writeAside(this.path(piece));
    try {
      await writeSafetensors(
        file,
        tensors.map(({ name, tensor }) => ({
          name,
          dtype: DTYPES[tensor.dtype],
          shape: tensor.shape,
          bytes: () => bytesOf(this.#memory, tensor),
        })),
        { formats: JSON.stringify(formats), about: JSON.stringify(about ?? null) },
      );
      file.commit();
    } finally {
      file.abort();
    }
  }

  /** Puts a finished piece's tensors back and returns what was known about it. */
  async restore(piece: string, { linears, vectors }: Changed): Promise<unknown> {
    const path = this.path(piece);
    const source = openFile(path);
    try {
      const { tensors, metadata } = await readHeader(source);
      const formats = parseJson(metadata.get("formats") ?? "null", path) as
        | Record<string, string>
        | null;
      if (formats === null) {
        throw badFile(path, "its formats are missing; delete the folder and start again.");
      }
      const load = async (name: string, into: Tensor): Promise<void> => {
        const entry = tensors.get(name);
        if (!entry || entry.end - entry.begin !== byteLength(into)) {
          throw badFile(
            path,
            `has no ${name} of ${byteLength(into)} bytes; delete the folder and start again.`,
          );
        }
        await source.read(entry.begin, bytesOf(this.#memory, into));
      };
      for (const { name, tensor } of vectors) await load(name, tensor);
      for (const linear of linears) {
        const { name, rows, columns } = linear;
        const format = formats[name] === undefined ? undefined : parseFormat(formats[name]);
        const layout = format && layoutOf(format, rows, columns);
        const dtype = layout
          ? "u8"
          : tensors.get(`${name}.weight`)?.dtype === "BF16"
          ? "bf16"
          : "f32";
        const tensor = heapTensor(this.#memory, layout ? [layout.bytes] : [rows, columns], dtype);
        try {
          await load(`${name}.weight`, tensor);
        } catch (error) {
          freeTensor(this.#memory, tensor);
          throw error;
        }
        replaceWeight(
          this.#memory,
          linear,
          layout
            ? { kind: "packed", format: format!, layout, blob: tensor }
            : { kind: "dense", tensor },
        );
      }
      return parseJson(metadata.get("about") ?? "null", path);
    } finally {
      source.close();
    }
  }
}
