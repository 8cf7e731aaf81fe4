// A tensor is a shape, an element type and a place in the engine's shared memory. Row-major, no strides, no copies.
import { type Memory, offset, type Ptr } from "../../wasm/mod.ts";
import { LobitError } from "../base/errors.ts";

/** Element types. bf16 occurs only in weights; activations are f32. */
export type Dtype = "f32" | "bf16" | "i32" | "u8";

/** Bytes per element. */
export const ELEMENT_BYTES: Readonly<Record<Dtype, number>> = { f32: 4, bf16: 2, i32: 4, u8: 1 };

/** Numbers in the shared memory. Who allocated it (an arena or the heap) decides how long it lives. */
export interface Tensor {
  /** Sizes, slowest dimension first. */
  readonly shape: readonly number[];
  /** Element type. */
  readonly dtype: Dtype;
  /** Where the first element lies. */
  readonly ptr: Ptr;
}

/** Number of elements of a shape. */
export function countOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Number of elements. */
export function count(tensor: Tensor): number {
  return countOf(tensor.shape);
}

/** Number of bytes. */
export function byteLength(tensor: Tensor): number {
  return count(tensor) * ELEMENT_BYTES[tensor.dtype];
}

/** Size of the last dimension. */
export function width(tensor: Tensor): number {
  return tensor.shape.at(-1)!;
}

/** Product of all dimensions but the last: the rows of a matrix. */
export function rows(tensor: Tensor): number {
  return countOf(tensor.shape.slice(0, -1));
}

/** The same elements under another shape. */
export function reshape(tensor: Tensor, shape: readonly number[]): Tensor {
  if (countOf(shape) !== count(tensor)) {
    throw new LobitError("internal", `Cannot see [${tensor.shape}] as [${shape}]: sizes differ.`);
  }
  return { ...tensor, shape };
}

/** Rows `begin` to `end` of a matrix, without copying. */
export function sliceRows(tensor: Tensor, begin: number, end: number): Tensor {
  const size = width(tensor);
  return {
    shape: [end - begin, size],
    dtype: tensor.dtype,
    ptr: offset(tensor.ptr, begin * size * ELEMENT_BYTES[tensor.dtype]),
  };
}

/** Allocates a tensor on the heap; {@linkcode freeTensor} gives it back. Content undefined. */
export function heapTensor(memory: Memory, shape: readonly number[], dtype: Dtype = "f32"): Tensor {
  return { shape, dtype, ptr: memory.allocate(countOf(shape) * ELEMENT_BYTES[dtype]) };
}

/** A heap tensor holding the given numbers. */
export function tensorFrom(
  memory: Memory,
  shape: readonly number[],
  values: Float32Array | Int32Array | Uint8Array,
): Tensor {
  const dtype = values instanceof Float32Array
    ? "f32"
    : values instanceof Int32Array
    ? "i32"
    : "u8";
  const tensor = heapTensor(memory, shape, dtype);
  bytesOf(memory, tensor).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return tensor;
}

/** Gives a heap tensor back. */
export function freeTensor(memory: Memory, tensor: Tensor): void {
  memory.free(tensor.ptr);
}

/** View of an f32 tensor's elements. */
export function floats(memory: Memory, tensor: Tensor): Float32Array {
  if (tensor.dtype !== "f32") {
    throw new LobitError("internal", `Expected f32, found ${tensor.dtype}.`);
  }
  return memory.f32(tensor.ptr, count(tensor));
}

/** Elements `begin` to `end` of a bf16 or f32 tensor as f32, copied out of the shared memory. */
export function valuesOf(
  memory: Memory,
  tensor: Tensor,
  begin: number = 0,
  end: number = count(tensor),
): Float32Array {
  if (tensor.dtype !== "bf16") return floats(memory, tensor).slice(begin, end);
  const bits = memory.u16(tensor.ptr, count(tensor));
  // A bf16 is the upper half of an f32.
  const words = new Uint32Array(end - begin);
  for (let i = 0; i < words.length; i++) words[i] = bits[begin + i]! << 16;
  return new Float32Array(words.buffer);
}

/** View of an i32 tensor's elements. */
export function integers(memory: Memory, tensor: Tensor): Int32Array {
  if (tensor.dtype !== "i32") {
    throw new LobitError("internal", `Expected i32, found ${tensor.dtype}.`);
  }
  return memory.i32(tensor.ptr, count(tensor));
}

/** View of any tensor's bytes. */
export function bytesOf(memory: Memory, tensor: Tensor): Uint8Array {
  return memory.u8(tensor.ptr, byteLength(tensor));
}
