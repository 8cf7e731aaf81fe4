// Makes weights trainable and ordinary again. Only f32 trains; checkpoints mostly hold bf16.
import { badRequest } from "../base/errors.ts";
import { toBf16 } from "../base/half.ts";
import type { Linear } from "../formats/weight.ts";
import { packedRows } from "../ops/packed.ts";
import { Arena } from "../tensor/arena.ts";
import {
  byteLength,
  count,
  floats,
  freeTensor,
  heapTensor,
  type Tensor,
  valuesOf,
} from "../tensor/tensor.ts";
import { type Engine, kernels, type Memory } from "../../wasm/mod.ts";

/** A dense tensor's values in a new f32 heap tensor. */
export function floatCopy(memory: Memory, tensor: Tensor): Tensor {
  const copy = heapTensor(memory, tensor.shape);
  floats(memory, copy).set(
    tensor.dtype === "f32" ? floats(memory, tensor) : valuesOf(memory, tensor),
  );
  return copy;
}

/** Turns a dense weight into f32, in place of the old one. Throws `bad-request` if it is not dense. */
export function widen(memory: Memory, linear: Linear): Tensor {
  const { weight } = linear;
  if (weight.kind !== "dense") {
    throw badRequest(`${linear.name} is ${weight.kind}; only a dense weight can train as it is.`);
  }
  if (weight.tensor.dtype === "f32") return weight.tensor;
  const tensor = floatCopy(memory, weight.tensor);
  freeTensor(memory, weight.tensor);
  linear.weight = { kind: "dense", tensor };
  return tensor;
}

/** Turns a dense f32 weight into bf16, rounded to nearest even, in place of the old one. */
export function narrow(memory: Memory, linear: Linear): void {
  const { weight } = linear;
  if (weight.kind !== "dense" || weight.tensor.dtype !== "f32") return;
  const tensor = heapTensor(memory, weight.tensor.shape, "bf16");
  const bits = memory.u16(tensor.ptr, count(tensor));
  floats(memory, weight.tensor).forEach((value, i) => bits[i] = toBf16(value));
  freeTensor(memory, weight.tensor);
  linear.weight = { kind: "dense", tensor };
}

/**
 * Sees a packed weight as dense f32 until the returned function is called, so that it is not unpacked in every pass.
 * Other kinds stay as they are.
 */
export function unpackMeanwhile(engine: Engine, linear: Linear): () => void {
  const packed = linear.weight;
  if (packed.kind !== "packed") return () => {};
  const { memory } = engine;
  const arena = new Arena(memory);
  const unpacked = packedRows(engine, arena, packed);
  const tensor = heapTensor(memory, unpacked.shape);
  kernels.appendRows(engine, tensor.ptr, unpacked.ptr, 1, byteLength(tensor));
  arena.free();
  linear.weight = { kind: "dense", tensor };
  return () => {
    freeTensor(memory, tensor);
    linear.weight = packed;
  };
}
