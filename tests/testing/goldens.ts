/**
 * Reads golden files (safetensors: 8-byte little-endian header length, JSON header, data) for tests.
 * Independent of src/io on purpose: a golden must not be read by the code that it checks.
 */

/** One golden tensor: its type as the file names it, its shape, and a typed array over its values. */
export interface GoldenTensor {
  /** The file's name of the type: "F32", "BF16", "I32", "U8" and so on. */
  dtype: string;
  /** Sizes, outermost first. */
  shape: number[];
  /** The values; F16 and BF16 as raw 16-bit words in a Uint16Array. */
  data:
    | Uint8Array
    | Int8Array
    | Uint16Array
    | Int32Array
    | BigInt64Array
    | Float32Array
    | Float64Array;
}

/** A golden file: the parsed `cases` metadata and the tensors by name. */
export interface Golden {
  /** The parsed `cases` JSON; null where a file has none. Its shape differs from file to file. */
  // deno-lint-ignore no-explicit-any
  cases: any;
  /** Tensors by name. */
  tensors: Map<string, GoldenTensor>;
}

const VIEWS = {
  U8: Uint8Array,
  BOOL: Uint8Array,
  I8: Int8Array,
  U16: Uint16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I32: Int32Array,
  I64: BigInt64Array,
  F32: Float32Array,
  F64: Float64Array,
} as const;

/** Reads a golden file; a relative path counts from `tests/goldens/`. */
export function readGolden(path: string): Golden {
  const url = path.startsWith("/") ? path : new URL(`../goldens/${path}`, import.meta.url);
  const file = Deno.readFileSync(url);
  const headerEnd = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, headerEnd)));
  const tensors = new Map<string, GoldenTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const { dtype, shape, data_offsets } = entry as {
      dtype: keyof typeof VIEWS;
      shape: number[];
      data_offsets: [number, number];
    };
    // A copy starts at offset 0 of its own buffer, so that every element type is aligned.
    const bytes = file.slice(headerEnd + data_offsets[0], headerEnd + data_offsets[1]);
    tensors.set(name, { dtype, shape, data: new VIEWS[dtype](bytes.buffer) });
  }
  const cases = header.__metadata__?.cases;
  return { cases: cases === undefined ? null : JSON.parse(cases), tensors };
}

/** One tensor of a golden file by name; throws if the file lacks it. */
export function goldenTensor(golden: Golden, name: string): GoldenTensor {
  const tensor = golden.tensors.get(name);
  if (!tensor) throw new Error(`The golden file has no tensor "${name}".`);
  return tensor;
}
