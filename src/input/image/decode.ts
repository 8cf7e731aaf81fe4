/**
 * Picture files to pixels: recognises the kind by the first bytes, never by the file's name, and decodes JPEG and
 * PNG.
 */
import { badFile } from "../../base/errors.ts";
import type { ImageLimits, RgbImage } from "./image.ts";
import { decodeJpeg } from "./jpeg.ts";
import { isJpeg } from "./jpeg_segments.ts";
import { decodePng } from "./png.ts";
import { isPng } from "./png_chunks.ts";

export type { ImageLimits, RgbImage } from "./image.ts";

// Kinds that people have lying around: [first bytes, offset, kind].
const UNSUPPORTED = [
  ["WEBP", 8, "WebP"],
  ["GIF8", 0, "GIF"],
  ["BM", 0, "BMP"],
  ["II*\0", 0, "TIFF"],
  ["MM\0*", 0, "TIFF"],
  ["ftypavif", 4, "AVIF"],
  ["ftypheic", 4, "HEIC"],
  ["ftypheix", 4, "HEIC"],
  ["ftypmif1", 4, "HEIF"],
  ["%PDF", 0, "PDF"],
  ["<svg", 0, "SVG"],
] as const;

/**
 * Decodes a JPEG or PNG file to RGB, upright by its EXIF orientation, with alpha dropped.
 *
 * `name` is used in errors only. The limits are checked against the header before memory is reserved. Throws
 * `bad-file` if the file is damaged, of another kind, or larger than the limits.
 */
export function decodeImage(bytes: Uint8Array, name: string, limits?: ImageLimits): RgbImage {
  if (isJpeg(bytes)) return decodeJpeg(bytes, name, limits);
  if (isPng(bytes)) return decodePng(bytes, name, limits);
  if (bytes.length === 0) throw badFile(name, "expected a JPEG or PNG picture, but it is empty.");
  for (const [mark, offset, kind] of UNSUPPORTED) {
    const found = String.fromCharCode(...bytes.subarray(offset, offset + mark.length));
    if (found === mark) {
      throw badFile(
        name,
        `it is a ${kind} file, which is not supported; convert it to JPEG or PNG.`,
      );
    }
  }
  throw badFile(name, "expected a JPEG or PNG picture, but its first bytes are those of neither.");
}
