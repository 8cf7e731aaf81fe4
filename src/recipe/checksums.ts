// Tells models apart by their numbers, for runs that go on where they stopped and results that are kept.
import { linearsOf, partsOf, vectorsOf, type Vlm } from "../models/vlm.ts";
import { byteLength } from "../tensor/tensor.ts";
import { type Engine, kernels } from "../../wasm/mod.ts";

/** A checksum of every weight, as it is stored, and of every vector, part by part. */
export function checksumsOf(engine: Engine, vlm: Vlm): Int32Array {
  const tensors = partsOf(vlm).flatMap((part) => [
    ...linearsOf(part).map(({ weight }) =>
      weight.kind === "packed"
        ? weight.blob
        : weight.kind === "dense"
        ? weight.tensor
        : weight.latent
    ),
    ...vectorsOf(part).map(({ tensor }) => tensor),
  ]);
  const spans = tensors.map((tensor) => ({ ptr: tensor.ptr, bytes: byteLength(tensor) }));
  return Int32Array.from(kernels.checksums(engine, spans));
}
