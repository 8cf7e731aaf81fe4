// Finished stages of whole runs, for later runs that begin with the same stages on the same model and data: recipes that
// differ only in their last stage need not repeat the first ones. What is taken over is bit for bit what was finished.
import type { Memory } from "../../wasm/mod.ts";
import { type Changed, Journal } from "./journal.ts";
import type { StageReport } from "./run.ts";

/** A folder of finished stages that any number of runs share. */
export class Shelf {
  readonly #journal: Journal;
  readonly #keys: readonly string[];

  private constructor(journal: Journal, keys: readonly string[]) {
    this.#journal = journal;
    this.#keys = keys;
  }

  /**
   * Opens the folder, made if it is not there.
   *
   * @param keys of each stage that is to be shared: a text that changes with everything that decides its outcome.
   */
  static async open(memory: Memory, folder: string, keys: readonly string[]): Promise<Shelf> {
    return new Shelf(await Journal.open(memory, folder, "shared stages", true), keys);
  }

  /** Takes a stage's tensors over, if some run has finished it; its report then. */
  async take(stage: number, changed: Changed): Promise<StageReport | undefined> {
    const key = this.#keys[stage];
    if (key === undefined || !this.#journal.has(key)) return undefined;
    return { ...await this.#journal.restore(key, changed) as StageReport, shared: true };
  }

  /** Keeps a finished stage, if it is to be shared. */
  async put(stage: number, changed: Changed, report: StageReport): Promise<void> {
    const key = this.#keys[stage];
    if (key !== undefined) await this.#journal.save(key, changed, report);
  }
}
