// What a quantization method is given and gives back. Methods see one linear at a time and know no model.
import type { Format } from "../formats/format.ts";
import type { Coded } from "../formats/pack.ts";
import type { Engine } from "../../wasm/mod.ts";

/** One linear to be quantized. */
export interface Task {
  /** Kernels. */
  readonly engine: Engine;
  /** f32 [rows, columns], what the codes shall stand for. */
  readonly weights: Float32Array;
  /** Outputs. */
  readonly rows: number;
  /** Inputs. */
  readonly columns: number;
  /** How weights become codes. */
  readonly format: Format;
  /** Mean of x·xᵀ over the linear's calibration inputs, f32 [columns, columns]. */
  readonly hessian: Float32Array;
  /** Stops the work. */
  readonly signal?: AbortSignal | undefined;
}

/** Turns a linear's weight into codes. Coded weights lie on the stored grid and go to packRows as they are. */
export type Quantizer = (task: Task) => Coded;
