// Arguments of the running job, by position; wasm/kernels/ writes them in the same order.
import { FLOATS, INTS } from "../wasm/abi";

// @ts-ignore: decorator
@inline
export function int(index: i32): i32 {
  return load<i32>(INTS + ((<usize> index) << 2));
}

// @ts-ignore: decorator
@inline
export function ptr(index: i32): usize {
  return load<u32>(INTS + ((<usize> index) << 2));
}

// @ts-ignore: decorator
@inline
export function float(index: i32): f32 {
  return load<f32>(FLOATS + ((<usize> index) << 2));
}
