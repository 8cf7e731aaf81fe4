// Pictures small enough for a page: a file that is small already stays as it is, others are shrunk and written as PNG
// (8-bit RGB, one zlib stream, each row unfiltered; PNG specification, third edition).
import { readImage } from "../data/files.ts";
import type { ImageRef } from "../data/items.ts";
import { decodeImage, type RgbImage } from "../input/image/decode.ts";
import { isJpeg } from "../input/image/jpeg_segments.ts";
import { isPng } from "../input/image/png_chunks.ts";
import { resizeImage } from "../input/image/resize.ts";

/** Files up to this size are embedded as they are. */
const SMALL_BYTES = 24 << 10;
/** Longest side of a picture that was shrunk. */
const LONGEST_SIDE = 224;

/** A picture as a data URL of some kilobytes. Throws `bad-file` if it cannot be decoded. */
export async function smallPicture(image: ImageRef): Promise<string> {
  const { bytes, name } = readImage(image);
  const picture = decodeImage(bytes, name);
  if (bytes.length <= SMALL_BYTES) {
    if (isJpeg(bytes)) return dataUrl("image/jpeg", bytes);
    if (isPng(bytes)) return dataUrl("image/png", bytes);
  }
  const { width, height } = picture;
  const share = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const side = (pixels: number) => Math.max(1, Math.round(pixels * share));
  return dataUrl("image/png", await encodePng(resizeImage(picture, side(width), side(height))));
}

function dataUrl(type: string, bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return `data:${type};base64,${btoa(binary)}`;
}

/** A PNG file. */
export async function encodePng({ width, height, data }: RgbImage): Promise<Uint8Array> {
  const row = 3 * width;
  const raw = new Uint8Array(height * (row + 1));
  for (let y = 0; y < height; y++) {
    raw.set(data.subarray(y * row, (y + 1) * row), y * (row + 1) + 1);
  }
  const stream = new Blob([raw]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 2], 8);
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  const chunks = [
    signature,
    chunk("IHDR", header),
    chunk("IDAT", packed),
    chunk("IEND", new Uint8Array()),
  ];
  const file = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const bytes of chunks) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

function chunk(type: string, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}

function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}
