/**
 * The outer layer of PNG (W3C PNG, third edition, section 5): walks the chunks, checks lengths, order and the
 * checksums of the chunks that carry pixels, and collects what decoding needs. Other chunks are skipped unread.
 */
import { badFile } from "../../base/errors.ts";

/** What the chunks say. Sizes are as declared: not yet checked against any limit. */
export interface PngParts {
  /** Columns. */
  width: number;
  /** Rows. */
  height: number;
  /** Bits per sample: 1, 2, 4, 8 or 16, legal for the colour type. */
  depth: number;
  /** 0 grey, 2 colour, 3 palette, 4 grey with alpha, 6 colour with alpha. */
  colorType: number;
  /** Whether the rows come in Adam7's seven passes. */
  interlaced: boolean;
  /** Palette `[entry, rgb]`; empty where there is none. */
  palette: Uint8Array;
  /** The compressed rows, in pieces, views into the file. */
  compressed: Uint8Array[];
  /** The EXIF block (TIFF), if any. */
  exif: Uint8Array | undefined;
}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const LEGAL_DEPTHS: Record<number, number[]> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

/** Whether the bytes begin with PNG's signature. */
export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

/** Walks the chunks of a PNG; throws `bad-file` where they are damaged. */
export function readPngChunks(bytes: Uint8Array, name: string): PngParts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const table = crcTable();
  let parts: PngParts | undefined;
  let at = SIGNATURE.length;
  while (at < bytes.length) {
    if (at + 12 > bytes.length) throw truncated(name, "a chunk's header");
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (!/^[A-Za-z]{4}$/.test(type)) {
      throw badFile(name, `the PNG is damaged: no chunk begins at byte ${at}.`);
    }
    if (length > bytes.length - at - 12) throw truncated(name, `the ${type} chunk`);
    const body = bytes.subarray(at + 8, at + 8 + length);
    const critical = type.charCodeAt(0) < 0x61;
    if (
      critical &&
      crc(table, bytes.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length)
    ) {
      throw badFile(
        name,
        `the PNG is damaged: the checksum of its ${type} chunk at byte ${at} is wrong.`,
      );
    }
    if (type === "IEND") break;
    if (type === "IHDR") {
      if (parts) throw badFile(name, "the PNG is damaged: it has two IHDR chunks.");
      parts = readHeader(body, name);
    } else if (!parts) {
      throw badFile(name, `the PNG is damaged: its first chunk is ${type} instead of IHDR.`);
    } else if (type === "PLTE") {
      if (length % 3 !== 0 || length > 768 || length === 0) {
        throw badFile(name, `the PNG is damaged: its palette has ${length} bytes.`);
      }
      parts.palette = body;
    } else if (type === "IDAT") {
      parts.compressed.push(body);
    } else if (type === "eXIf") {
      parts.exif ??= body;
    } else if (critical) {
      throw badFile(name, `the PNG has a chunk of the unknown kind ${type}; save it again as PNG.`);
    }
    at += 12 + length;
  }
  if (!parts) throw truncated(name, "the IHDR chunk");
  if (parts.compressed.length === 0) throw truncated(name, "the pixels");
  if (parts.colorType === 3 && parts.palette.length === 0) {
    throw badFile(name, "the PNG is damaged: its pixels use a palette, but it has none.");
  }
  return parts;
}

function readHeader(body: Uint8Array, name: string): PngParts {
  if (body.length !== 13) {
    throw badFile(name, `the PNG is damaged: its IHDR chunk has ${body.length} bytes, not 13.`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const depth = body[8]!;
  const colorType = body[9]!;
  if (!LEGAL_DEPTHS[colorType]?.includes(depth)) {
    throw badFile(
      name,
      `the PNG is damaged: colour type ${colorType} with ${depth} bits does not exist.`,
    );
  }
  if (body[10] !== 0 || body[11] !== 0 || body[12]! > 1) {
    throw badFile(
      name,
      `the PNG uses compression ${body[10]}, filter ${body[11]}, interlace ${
        body[12]
      }, which do not exist.`,
    );
  }
  return {
    width: view.getUint32(0),
    height: view.getUint32(4),
    depth,
    colorType,
    interlaced: body[12] === 1,
    palette: new Uint8Array(0),
    compressed: [],
    exif: undefined,
  };
}

function truncated(name: string, where: string): Error {
  return badFile(
    name,
    `the PNG is damaged: the file ends before or in ${where}. Download or save it again.`,
  );
}

/** The 256 remainders of CRC-32 (polynomial 0xEDB88320, reflected). */
function crcTable(): Uint32Array {
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let remainder = i;
    for (let bit = 0; bit < 8; bit++) {
      remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1;
    }
    table[i] = remainder;
  }
  return table;
}

function crc(table: Uint32Array, bytes: Uint8Array): number {
  let remainder = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) {
    remainder = table[(remainder ^ bytes[i]!) & 255]! ^ (remainder >>> 8);
  }
  return ~remainder >>> 0;
}
