// The cache of keys and values number by number: where each lies, and how int8 rounds it.
import type { kernels } from "../../../wasm/mod.ts";

const BLOCK = 64;
const round = Math.fround;

/** Codes and scale of one head of one token. */
export function roundedRow(x: Float32Array): { codes: number[]; scale: number } {
  const largest = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const inverse = largest >= 2 ** -100 ? round(127 / largest) : 0;
  const codes = Array.from(
    x,
    (value) => nearest(Math.max(-127, Math.min(127, round(value * inverse)))),
  );
  return { codes, scale: round(largest / 127) };
}

/** To the nearest integer, ties to the even one. */
function nearest(x: number): number {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/** The numbers that a rounded row stands for. */
export function decodedRow(x: Float32Array): Float32Array {
  const { codes, scale } = roundedRow(x);
  return Float32Array.from(codes, (code) => code * scale);
}

/** One side of a cache, all heads. */
export interface Side {
  readonly kind: kernels.KvKind;
  readonly values: boolean;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Writes a token's row [kvHeads * headDim] where the kernels should. */
export function putRow(cache: Uint8Array, side: Side, token: number, row: Float32Array): void {
  const { kind, values, kvHeads, headDim } = side;
  const step = values ? 8 : 4;
  const padded = Math.ceil(headDim / step) * step;
  const headBytes = BLOCK * (kind === "int8" ? padded + 4 : 4 * padded);
  const view = new DataView(cache.buffer, cache.byteOffset);
  const slot = token % BLOCK;
  for (let head = 0; head < kvHeads; head++) {
    const start = (Math.floor(token / BLOCK) * kvHeads + head) * headBytes;
    const x = row.subarray(head * headDim, (head + 1) * headDim);
    const at = (d: number) => start + placeOf(side, slot, d, padded);
    if (kind === "int8") {
      const { codes, scale } = roundedRow(x);
      // Whole vectors of 4 are written.
      while (codes.length % 4 > 0) codes.push(0);
      codes.forEach((code, d) => view.setInt8(at(d), code));
      view.setFloat32(start + BLOCK * padded + 4 * slot, scale, true);
    } else {
      for (let d = 0; d < padded; d++) view.setFloat32(at(d), x[d] ?? 0, true);
    }
  }
}

/** Bytes from the start of a head's block to a number. */
function placeOf({ kind, values }: Side, slot: number, d: number, padded: number): number {
  if (values) {
    const tile = Math.floor(d / 8), column = d % 8;
    return kind === "int8"
      ? tile * 8 * BLOCK + (slot >> 1) * 16 + column * 2 + slot % 2
      : (tile * 8 * BLOCK + slot * 8 + column) * 4;
  }
  const tile = Math.floor(slot / 8) * 8 * padded;
  return kind === "int8"
    ? tile + (d >> 1) * 16 + (slot % 8) * 2 + d % 2
    : (tile + d * 8 + slot % 8) * 4;
}
