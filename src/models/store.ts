// Where a model's weights come from. Architectures ask for what they need by checkpoint path; a Hugging Face folder and
// a packed file both answer.
import type { Linear } from "../formats/weight.ts";
import type { Memory } from "../../wasm/mod.ts";
import type { Vector } from "./vlm.ts";

/** Source of weights, resident in the engine's memory once asked for. */
export interface WeightStore {
  /** The memory that weights live in. */
  readonly memory: Memory;
  /** The linear `name`: its `.weight` [rows, columns] and, if it has one, its `.bias` [rows]. */
  linear(name: string, rows: number, columns: number, bias: boolean): Promise<Linear>;
  /** The small tensor `name` as f32. */
  vector(name: string, shape: readonly number[]): Promise<Vector>;
}

/** The biases of some linears, as trainable vectors. */
export function biasesOf(linears: readonly Linear[]): Vector[] {
  return linears.flatMap(({ name, bias }) => bias ? [{ name: `${name}.bias`, tensor: bias }] : []);
}
