// What is known of a run, on disk: one record per fingerprint of recipe, seed, model and data, with the packed model
// beside it. Rows whose recipes are equal share it; a changed recipe, model or data set has none yet.
import type { Recipe } from "../../../src/recipe/recipe.ts";
import type { Hits } from "./statistics.ts";

/** How the packed model came about. Times are sums over all sittings of an interrupted run. */
export interface Making {
  readonly done: boolean;
  /** Starts of the run, interruptions included. */
  readonly sittings: number;
  /** Seconds on the clock; stages taken over from other runs count with what they took there. */
  readonly wall: number;
  /** Seconds of processor time of all threads, without stages that were taken over. */
  readonly cpu: number;
  /** Most bytes that the process held, where the system tells. */
  readonly resident?: number | undefined;
  /** Most bytes of the kernels' memory. */
  readonly kernels?: number | undefined;
  readonly fileBytes?: number | undefined;
  readonly stages?: readonly {
    readonly part: string;
    readonly method: string;
    readonly seconds: number;
    readonly shared: boolean;
  }[];
}

/** Answers to one set of questions. */
export interface Evaluated {
  readonly average: number;
  readonly hits: Hits;
  readonly wall: number;
  readonly cpu: number;
}

/** A run. */
export interface RunRecord {
  readonly fingerprint: string;
  readonly recipe: Recipe | null;
  readonly seed: number;
  readonly making?: Making;
  /** By the fingerprint of the questions. */
  readonly evaluations: Readonly<Record<string, Evaluated>>;
}

/** A TSV to be asked. */
export interface Questions {
  /** dev or tune. */
  readonly name: string;
  readonly path: string;
  /** Every so manyth item is asked. */
  readonly every: number;
  readonly fingerprint: string;
}

/** One run for a process of its own. */
export interface Job {
  readonly title: string;
  readonly fingerprint: string;
  readonly recipe: Recipe | null;
  readonly seed: number;
  /** Folder of the full-precision model. */
  readonly model: string;
  /** JSONL to calibrate and train on. */
  readonly data: string;
  readonly calibrationItems: number;
  readonly questions: readonly Questions[];
  /** Folder of records. */
  readonly folder: string;
  readonly threads?: number | undefined;
}

/** Path of a run's packed model. */
export function modelPath(folder: string, fingerprint: string): string {
  return `${folder}/${fingerprint}.lobit`;
}

/** Reads a run's record; nothing if there is none. */
export function readRecord(folder: string, fingerprint: string): RunRecord | undefined {
  return readJson(`${folder}/${fingerprint}.json`) as RunRecord | undefined;
}

/** Replaces a run's record. */
export function writeRecord(folder: string, record: RunRecord): void {
  writeJson(`${folder}/${record.fingerprint}.json`, record);
}

/** A JSON file's value; nothing if it is not there. */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Writes a JSON file aside and renames it, so that an interruption leaves the one before. */
export function writeJson(path: string, value: unknown): void {
  Deno.writeTextFileSync(`${path}.partial`, JSON.stringify(value, null, 1));
  Deno.renameSync(`${path}.partial`, path);
}

/** Whether a record holds everything that a job asks for. */
export function isComplete(
  record: RunRecord | undefined,
  { questions }: Pick<Job, "questions">,
): boolean {
  return record?.making?.done === true &&
    questions.every(({ fingerprint }) => fingerprint in record.evaluations);
}

/** SHA-256 of a value's JSON, or of bytes, as 16 hexadecimal digits. */
export async function digest(value: unknown): Promise<string> {
  const bytes = value instanceof Uint8Array
    ? value as Uint8Array<ArrayBuffer>
    : new TextEncoder().encode(JSON.stringify(value));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...hash.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Of every file in a folder and below it, with its name. */
export async function digestFolder(folder: string): Promise<string> {
  const found: [string, string][] = [];
  const visit = async (below: string): Promise<void> => {
    const entries = [...Deno.readDirSync(`${folder}${below}`)];
    for (const { name, isDirectory } of entries.sort((a, b) => a.name < b.name ? -1 : 1)) {
      if (isDirectory) await visit(`${below}/${name}`);
      else {found.push([
          `${below}/${name}`,
          await digest(Deno.readFileSync(`${folder}${below}/${name}`)),
        ]);}
    }
  };
  await visit("");
  return await digest(found);
}
