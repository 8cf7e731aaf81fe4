// ONNX models of one MatMulNBits node (4 bits, blocks of 32), in protocol buffers written by hand after the field numbers
// of onnx.proto.

type Field = Uint8Array;

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 | 128);
  return [...bytes, value];
}

function number(field: number, value: number): Field {
  return Uint8Array.from([...varint(field * 8), ...varint(value)]);
}

function bytes(field: number, value: Uint8Array): Field {
  return join([Uint8Array.from([...varint(field * 8 + 2), ...varint(value.length)]), value]);
}

function text(field: number, value: string): Field {
  return bytes(field, new TextEncoder().encode(value));
}

function message(field: number, parts: readonly Field[]): Field {
  return bytes(field, join(parts));
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const FLOAT = 1, UINT8 = 2;

function value(field: number, name: string, shape: readonly number[]): Field {
  const dims = shape.map((size) => message(1, [number(1, size)]));
  const tensor = message(1, [number(1, FLOAT), message(2, dims)]);
  return message(field, [text(1, name), message(2, [tensor])]);
}

function initializer(name: string, type: number, dims: readonly number[], data: Uint8Array): Field {
  return message(5, [
    ...dims.map((size) => number(1, size)),
    number(2, type),
    text(8, name),
    bytes(9, data),
  ]);
}

/** y [tokens, rows] = x [tokens, columns] times a random 4-bit weight; int8 activations inside (accuracy level 4). */
export function matMul4Bits(tokens: number, rows: number, columns: number): Uint8Array {
  const blocks = columns / 32;
  const codes = new Uint8Array(rows * blocks * 16).map((_, i) => Math.imul(i, 2654435761) >>> 24);
  const scales = new Float32Array(rows * blocks).fill(0.01);
  const attributes = { K: columns, N: rows, bits: 4, block_size: 32, accuracy_level: 4 };
  const node = message(1, [
    ...["x", "codes", "scales"].map((name) => text(1, name)),
    text(2, "y"),
    text(4, "MatMulNBits"),
    text(7, "com.microsoft"),
    ...Object.entries(attributes).map(([name, n]) =>
      message(5, [text(1, name), number(3, n), number(20, 2)])
    ),
  ]);
  const graph = message(7, [
    node,
    text(2, "g"),
    initializer("codes", UINT8, [rows, blocks, 16], codes),
    initializer("scales", FLOAT, [rows * blocks], new Uint8Array(scales.buffer)),
    value(11, "x", [tokens, columns]),
    value(12, "y", [tokens, rows]),
  ]);
  const opset = (domain: string, version: number) =>
    message(8, [text(1, domain), number(2, version)]);
  return join([number(1, 8), opset("", 17), opset("com.microsoft", 1), graph]);
}
