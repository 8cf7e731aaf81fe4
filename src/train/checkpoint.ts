// The state of a run on disk: one safetensors file with every tensor that the run has changed, and the rest as JSON. It
// is written aside and renamed, so an interruption leaves the one before.
import { badFile, badRequest } from "../base/errors.ts";
import { parseJson } from "../io/bytes.ts";
import { kindOf, openFile, writeAside } from "../io/host.ts";
import { readHeader, writeSafetensors } from "../io/safetensors.ts";
import { bytesOf, type Tensor } from "../tensor/tensor.ts";
import type { Memory } from "../../wasm/mod.ts";

/** Where a run's state is kept. */
export interface Checkpoint {
  /** File. */
  readonly path: string;
  /** Steps from one writing to the next. */
  readonly every: number;
  /** Changes with recipe, model and data: a state of another run is refused. */
  readonly fingerprint: string;
  /** Whether to go on from the file if there is one; else it is written anew. */
  readonly resume: boolean;
}

/** A tensor of the state. */
export interface Named {
  /** Its name in the file. */
  readonly name: string;
  /** f32. */
  readonly tensor: Tensor;
}

/** What a run remembers besides tensors. */
export interface RunState {
  /** Steps taken. */
  readonly steps: number;
  /** The measured share of KL(student || teacher), once it is. */
  readonly gamma?: number | undefined;
  /** Reports of the steps taken. */
  readonly history: readonly unknown[];
}

/** Writes the state. */
export async function save(
  memory: Memory,
  { path, fingerprint }: Checkpoint,
  tensors: readonly Named[],
  state: RunState,
): Promise<void> {
  const file = writeAside(path);
  try {
    const metadata = new Map([
      ["format", "lobit-training"],
      ["fingerprint", fingerprint],
      ["state", JSON.stringify(state)],
    ]);
    const entries = tensors.map(({ name, tensor }) => ({
      name,
      dtype: "F32" as const,
      shape: tensor.shape,
      bytes: () => bytesOf(memory, tensor),
    }));
    await writeSafetensors(file, entries, metadata);
    file.commit();
  } finally {
    file.abort();
  }
}

/** Reads the state back into the tensors; nothing if there is no file or the run is to start anew. */
export async function restore(
  memory: Memory,
  { path, fingerprint, resume }: Checkpoint,
  tensors: readonly Named[],
): Promise<RunState | undefined> {
  if (!resume || kindOf(path) === "none") return undefined;
  const source = openFile(path);
  try {
    const header = await readHeader(source);
    if (header.metadata.get("format") !== "lobit-training") {
      throw badFile(path, "is no training state of lobit; name another file for checkpoints.");
    }
    if (header.metadata.get("fingerprint") !== fingerprint) {
      throw badRequest(
        `${path} belongs to another run: its recipe, model, data or seed differ. Undo the change, or remove the file to ` +
          "start anew.",
      );
    }
    // All is checked before anything is changed.
    const places = tensors.map(({ name, tensor }) => {
      const entry = header.tensors.get(name);
      if (entry?.dtype !== "F32" || String(entry.shape) !== String(tensor.shape)) {
        throw badFile(
          path,
          `has no f32 tensor ${name} of shape [${tensor.shape}]; remove the file.`,
        );
      }
      return { begin: entry.begin, tensor };
    });
    const state = parseJson(header.metadata.get("state") ?? "", path);
    if (!isState(state)) throw badFile(path, "holds no state of a run; remove the file.");
    for (const { begin, tensor } of places) await source.read(begin, bytesOf(memory, tensor));
    return state;
  } finally {
    source.close();
  }
}

function isState(value: unknown): value is RunState {
  if (typeof value !== "object" || value === null) return false;
  const { steps, gamma, history } = value as Record<string, unknown>;
  return Number.isSafeInteger(steps) && Array.isArray(history) && history.length === steps &&
    (gamma === undefined || typeof gamma === "number");
}
