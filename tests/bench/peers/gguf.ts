// Writes GGUF files (version 3) of random weights, so that llama.cpp and wllama can run true shapes. Layout after ggml's
// published format description: header, key-value pairs, tensor infos, then tensors, each aligned to 32 bytes.

/** A key's value; plain numbers are written as u32. */
export type Value = string | number | boolean | { f32: number } | { strings: string[] } | {
  i32: number[];
};

/** ggml's numbers for tensor types, with how many weights and bytes a block has. */
export const TYPES = {
  f32: { id: 0, weights: 1, bytes: 4 },
  q4_0: { id: 2, weights: 32, bytes: 18 },
  q2_k: { id: 10, weights: 256, bytes: 84 },
} as const;

/** A tensor; `shape` has the contiguous dimension first, as ggml counts. */
export interface GgufTensor {
  name: string;
  shape: readonly number[];
  type: keyof typeof TYPES;
}

const ALIGN = 32;
const KINDS = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };

class Out {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  #room(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.length);
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: number): void {
    const at = this.#room(8);
    this.#view.setBigUint64(at, BigInt(value), true);
  }

  f32(value: number): void {
    const at = this.#room(4);
    this.#view.setFloat32(at, value, true);
  }

  u8(value: number): void {
    const at = this.#room(1);
    this.#view.setUint8(at, value);
  }

  text(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.u64(bytes.length);
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  pad(): void {
    while (this.length % ALIGN !== 0) this.u8(0);
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}

/** Writes a file of random weights, in steps, so that memory stays small. */
export async function writeGguf(
  path: string,
  keys: Readonly<Record<string, Value>>,
  tensors: readonly GgufTensor[],
): Promise<void> {
  const out = new Out();
  out.u32(0x46554747);
  out.u32(3);
  out.u64(tensors.length);
  out.u64(Object.keys(keys).length);
  for (const [key, value] of Object.entries(keys)) {
    out.text(key);
    writeValue(out, value);
  }
  let offset = 0;
  for (const tensor of tensors) {
    out.text(tensor.name);
    out.u32(tensor.shape.length);
    for (const size of tensor.shape) out.u64(size);
    out.u32(TYPES[tensor.type].id);
    out.u64(offset);
    offset += Math.ceil(bytesOf(tensor) / ALIGN) * ALIGN;
  }
  out.pad();
  const file = await Deno.open(path, { write: true, create: true, truncate: true });
  try {
    await writeAll(file, out.bytes());
    for (const tensor of tensors) {
      const bytes = Math.ceil(bytesOf(tensor) / ALIGN) * ALIGN;
      const step = noise(tensor);
      for (let left = bytes; left > 0; left -= step.length) {
        await writeAll(file, step.subarray(0, Math.min(left, step.length)));
      }
    }
  } finally {
    file.close();
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

function writeValue(out: Out, value: Value): void {
  if (typeof value === "string") {
    out.u32(KINDS.string);
    out.text(value);
  } else if (typeof value === "number") {
    out.u32(KINDS.u32);
    out.u32(value);
  } else if (typeof value === "boolean") {
    out.u32(KINDS.bool);
    out.u8(Number(value));
  } else if ("f32" in value) {
    out.u32(KINDS.f32);
    out.f32(value.f32);
  } else {
    out.u32(KINDS.array);
    if ("strings" in value) {
      out.u32(KINDS.string);
      out.u64(value.strings.length);
      for (const text of value.strings) out.text(text);
    } else {
      out.u32(KINDS.i32);
      out.u64(value.i32.length);
      for (const number of value.i32) out.u32(number);
    }
  }
}

function bytesOf({ shape, type }: GgufTensor): number {
  const { weights, bytes } = TYPES[type];
  const count = shape.reduce((product, size) => product * size, 1);
  if (shape[0]! % weights !== 0) throw new Error(`rows of ${shape[0]} do not fit ${type}`);
  return count / weights * bytes;
}

/** Some whole blocks of random codes with small scales; repeated over the tensor. */
function noise({ type }: GgufTensor): Uint8Array {
  const { bytes } = TYPES[type];
  const count = 16384;
  const data = new Uint8Array(count * bytes * ALIGN);
  const view = new DataView(data.buffer);
  let state = 12345;
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    data[i] = state >>> 16;
  }
  const small = 0x1400; // f16: 2^-10
  for (let at = 0; at < data.length; at += bytes) {
    if (type === "f32") view.setFloat32(at, (data[at]! - 128) / 4096, true);
    else if (type === "q4_0") view.setUint16(at, small, true);
    else {
      view.setUint16(at + 80, small, true);
      view.setUint16(at + 82, small, true);
    }
  }
  return data;
}
