/**
 * PNG pixels (W3C PNG, third edition, sections 7 to 9): inflates the rows with fflate, undoes the row filters, and
 * writes RGB. Alpha is dropped and 16-bit samples keep their high byte. fflate's stream is stopped at the size that
 * the header implies, so that a small file cannot grow without bound.
 */
import { Unzlib } from "npm:fflate@0.8.3";
import { badFile } from "../../base/errors.ts";
import { readOrientation, turnUpright } from "./exif.ts";
import { checkSize, type ImageLimits, type RgbImage } from "./image.ts";
import { type PngParts, readPngChunks } from "./png_chunks.ts";

/** One pass over the picture: Adam7 has seven, other files one. */
interface Pass {
  left: number;
  top: number;
  columnStep: number;
  rowStep: number;
  columns: number;
  rows: number;
}

// [left, top, column step, row step] of Adam7's passes.
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

// DEFLATE's densest code spends two bits on 258 bytes.
const MOST_INFLATION = 1032;
// What one push may inflate to before the size is looked at again: 16 KiB give at most 16.5 MB.
const PUSH_BYTES = 16384;

/** Decodes a PNG. Throws `bad-file` if it is damaged or larger than the limits. */
export function decodePng(bytes: Uint8Array, name: string, limits?: ImageLimits): RgbImage {
  const parts = readPngChunks(bytes, name);
  const { width, height } = parts;
  checkSize(name, width, height, limits);
  const pixelBits = CHANNELS[parts.colorType]! * parts.depth;
  const passes = listPasses(parts);
  let expected = 0;
  for (const pass of passes) expected += pass.rows * (1 + lineBytes(pass, pixelBits));
  const rows = inflate(parts.compressed, expected, name);
  const data = new Uint8Array(3 * width * height);
  let at = 0;
  for (const pass of passes) {
    const line = lineBytes(pass, pixelBits);
    unfilter(rows, at, line, pass.rows, Math.max(1, pixelBits >> 3), name);
    writePass(rows, at, line, pass, parts, data);
    at += pass.rows * (1 + line);
  }
  const image = { width, height, data };
  return parts.exif ? turnUpright(image, readOrientation(parts.exif)) : image;
}

function listPasses({ width, height, interlaced }: PngParts): Pass[] {
  const steps = interlaced ? ADAM7 : [[0, 0, 1, 1]] as const;
  return steps.map(([left, top, columnStep, rowStep]) => ({
    left,
    top,
    columnStep,
    rowStep,
    columns: Math.ceil((width - left) / columnStep),
    rows: Math.ceil((height - top) / rowStep),
  })).filter((pass) => pass.columns > 0 && pass.rows > 0);
}

function lineBytes(pass: Pass, pixelBits: number): number {
  return Math.ceil(pass.columns * pixelBits / 8);
}

function inflate(pieces: Uint8Array[], expected: number, name: string): Uint8Array {
  const available = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (expected > available * MOST_INFLATION) {
    throw badFile(
      name,
      `the PNG is damaged: ${available} compressed bytes cannot hold the ${expected} bytes that its header declares.`,
    );
  }
  const rows = new Uint8Array(expected);
  let filled = 0;
  const inflator = new Unzlib((chunk) => {
    const part = chunk.subarray(0, expected - filled);
    rows.set(part, filled);
    filled += part.length;
  });
  try {
    for (const piece of pieces) {
      for (let at = 0; at < piece.length && filled < expected; at += PUSH_BYTES) {
        inflator.push(piece.subarray(at, at + PUSH_BYTES));
      }
    }
    // The inflator holds the last bytes back until it is told that nothing follows.
    if (filled < expected) inflator.push(new Uint8Array(0), true);
  } catch (error) {
    throw badFile(name, "the PNG is damaged: its compressed pixels are not readable.", {
      cause: error,
    });
  }
  if (filled < expected) {
    throw badFile(name, `the PNG is damaged: it holds ${filled} of ${expected} bytes of pixels.`);
  }
  return rows;
}

/** Undoes the filters of `count` rows from `at` on, in place; each row is its filter byte and `line` bytes. */
function unfilter(
  rows: Uint8Array,
  at: number,
  line: number,
  count: number,
  pixelBytes: number,
  name: string,
): void {
  const stride = line + 1;
  for (let row = 0; row < count; row++) {
    const start = at + row * stride + 1;
    const end = start + line;
    const filter = rows[start - 1]!;
    if (filter > 4) {
      throw badFile(name, `the PNG is damaged: row filter ${filter} does not exist.`);
    }
    // Above the first row and left of the first pixel, everything counts as zero.
    const first = row === 0;
    if (filter === 1) {
      for (let i = start + pixelBytes; i < end; i++) rows[i]! += rows[i - pixelBytes]!;
    } else if (filter === 2 && !first) {
      for (let i = start; i < end; i++) rows[i]! += rows[i - stride]!;
    } else if (filter === 3) {
      for (let i = start; i < end; i++) {
        const left = i - pixelBytes < start ? 0 : rows[i - pixelBytes]!;
        const above = first ? 0 : rows[i - stride]!;
        rows[i]! += (left + above) >> 1;
      }
    } else if (filter === 4) {
      for (let i = start; i < end; i++) {
        const edge = i - pixelBytes < start;
        const left = edge ? 0 : rows[i - pixelBytes]!;
        const above = first ? 0 : rows[i - stride]!;
        const corner = edge || first ? 0 : rows[i - stride - pixelBytes]!;
        const toLeft = Math.abs(above - corner);
        const toAbove = Math.abs(left - corner);
        const toCorner = Math.abs(left + above - 2 * corner);
        rows[i]! += toLeft <= toAbove && toLeft <= toCorner
          ? left
          : toAbove <= toCorner
          ? above
          : corner;
      }
    }
  }
}

/** Writes one pass's unfiltered rows as RGB. */
function writePass(
  rows: Uint8Array,
  at: number,
  line: number,
  pass: Pass,
  parts: PngParts,
  out: Uint8Array,
): void {
  const { depth, colorType } = parts;
  const channels = CHANNELS[colorType]!;
  const colors = channels === 1 && depth <= 8 ? colorTable(parts) : undefined;
  const sampleBytes = depth >> 3;
  // In grey pictures the three outputs read the same sample.
  const colorStep = channels >= 3 ? sampleBytes : 0;
  const mask = (1 << depth) - 1;
  for (let row = 0; row < pass.rows; row++) {
    const start = at + row * (line + 1) + 1;
    let to = 3 * ((pass.top + row * pass.rowStep) * parts.width + pass.left);
    for (let column = 0; column < pass.columns; column++) {
      if (colors) {
        const bit = column * depth;
        const index = (rows[start + (bit >> 3)]! >> (8 - depth - (bit & 7))) & mask;
        out[to] = colors[3 * index]!;
        out[to + 1] = colors[3 * index + 1]!;
        out[to + 2] = colors[3 * index + 2]!;
      } else {
        const from = start + column * channels * sampleBytes;
        out[to] = rows[from]!;
        out[to + 1] = rows[from + colorStep]!;
        out[to + 2] = rows[from + 2 * colorStep]!;
      }
      to += 3 * pass.columnStep;
    }
  }
}

/** The colours of all sample values: the palette (what lies beyond it is black) or an even grey ramp. */
function colorTable({ depth, colorType, palette }: PngParts): Uint8Array {
  const size = 1 << depth;
  const table = new Uint8Array(3 * size);
  if (colorType === 3) {
    table.set(palette.subarray(0, table.length));
  } else {
    for (let i = 0; i < size; i++) table.fill(i * 255 / (size - 1), 3 * i, 3 * i + 3);
  }
  return table;
}
