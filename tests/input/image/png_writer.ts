/**
 * Writes PNGs of every colour type, depth and interlacing, using all five row filters in turn, and takes files
 * apart into chunks and puts them together again with right checksums. For tests only.
 */
import { zlibSync } from "npm:fflate@0.8.3";

export interface Chunk {
  type: string;
  body: Uint8Array;
}

export interface PngDescription {
  width: number;
  height: number;
  depth: number;
  colorType: number;
  interlaced?: boolean;
  /** Chunks between header and pixels, a palette for instance. */
  before?: Chunk[];
  /** A sample of 0 to 2^depth - 1. */
  sample: (column: number, row: number, channel: number) => number;
}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [
  0,
  1,
  1,
  2,
]];

export function writePng(png: PngDescription): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, png.width);
  view.setUint32(4, png.height);
  header.set([png.depth, png.colorType, 0, 0, png.interlaced ? 1 : 0], 8);
  const rows: number[] = [];
  for (const [left, top, columnStep, rowStep] of png.interlaced ? ADAM7 : [[0, 0, 1, 1]]) {
    addPass(png, rows, left!, top!, columnStep!, rowStep!);
  }
  return joinChunks([
    { type: "IHDR", body: header },
    ...png.before ?? [],
    { type: "IDAT", body: zlibSync(Uint8Array.from(rows)) },
    { type: "IEND", body: new Uint8Array(0) },
  ]);
}

function addPass(
  png: PngDescription,
  rows: number[],
  left: number,
  top: number,
  columnStep: number,
  rowStep: number,
): void {
  const channels = CHANNELS[png.colorType]!;
  const pixelBytes = Math.max(1, channels * png.depth / 8);
  const columns = Math.ceil((png.width - left) / columnStep);
  if (columns <= 0) return;
  let above = new Uint8Array(Math.ceil(columns * channels * png.depth / 8));
  let filter = 0;
  for (let y = top; y < png.height; y += rowStep) {
    const line = new Uint8Array(above.length);
    let bit = 0;
    for (let x = left; x < png.width; x += columnStep) {
      for (let channel = 0; channel < channels; channel++, bit += png.depth) {
        const sample = png.sample(x, y, channel);
        if (png.depth === 16) line.set([sample >> 8, sample & 255], bit >> 3);
        else line[bit >> 3]! |= sample << (8 - png.depth - (bit & 7));
      }
    }
    rows.push(filter);
    for (let i = 0; i < line.length; i++) {
      const a = i < pixelBytes ? 0 : line[i - pixelBytes]!;
      const b = above[i]!;
      const c = i < pixelBytes ? 0 : above[i - pixelBytes]!;
      rows.push((line[i]! - [0, a, b, (a + b) >> 1, paeth(a, b, c)][filter]!) & 255);
    }
    above = line;
    filter = (filter + 1) % 5;
  }
}

function paeth(a: number, b: number, c: number): number {
  const estimate = a + b - c;
  const nearest = [a, b, c].map((value) => Math.abs(estimate - value));
  if (nearest[0]! <= nearest[1]! && nearest[0]! <= nearest[2]!) return a;
  return nearest[1]! <= nearest[2]! ? b : c;
}

export function splitChunks(file: Uint8Array): Chunk[] {
  const view = new DataView(file.buffer, file.byteOffset);
  const chunks = [];
  for (let at = 8; at < file.length;) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...file.subarray(at + 4, at + 8));
    chunks.push({ type, body: file.slice(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  return chunks;
}

export function joinChunks(chunks: Chunk[]): Uint8Array {
  const out = new Uint8Array(chunks.reduce((sum, chunk) => sum + 12 + chunk.body.length, 8));
  const view = new DataView(out.buffer);
  out.set(SIGNATURE);
  let at = 8;
  for (const { type, body } of chunks) {
    view.setUint32(at, body.length);
    for (let i = 0; i < 4; i++) out[at + 4 + i] = type.charCodeAt(i);
    out.set(body, at + 8);
    view.setUint32(at + 8 + body.length, crc(out.subarray(at + 4, at + 8 + body.length)));
    at += 12 + body.length;
  }
  return out;
}

function crc(bytes: Uint8Array): number {
  let remainder = 0xffffffff;
  for (const byte of bytes) {
    remainder ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      remainder = (remainder >>> 1) ^ (remainder & 1 ? 0xedb88320 : 0);
    }
  }
  return ~remainder >>> 0;
}
