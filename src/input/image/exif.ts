/**
 * EXIF orientation: finds tag 0x0112 in the first image file directory of a TIFF block (EXIF 2.32, section 4.6.4)
 * and turns a picture upright by it.
 */
import type { RgbImage } from "./image.ts";

const ORIENTATION_TAG = 0x0112;
const TYPE_SHORT = 3;

/**
 * The orientation (1 to 8) that a TIFF block names. A damaged block, or one without the tag, gives 1 (upright):
 * metadata never makes a good picture unreadable.
 */
export function readOrientation(tiff: Uint8Array): number {
  if (tiff.length < 8) return 1;
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
  const order = view.getUint16(0);
  if (order !== 0x4949 && order !== 0x4d4d) return 1;
  const little = order === 0x4949;
  if (view.getUint16(2, little) !== 42) return 1;
  const directory = view.getUint32(4, little);
  if (directory + 2 > tiff.length) return 1;
  const entries = view.getUint16(directory, little);
  for (let i = 0; i < entries; i++) {
    const entry = directory + 2 + 12 * i;
    if (entry + 12 > tiff.length) return 1;
    if (view.getUint16(entry, little) !== ORIENTATION_TAG) continue;
    if (view.getUint16(entry + 2, little) !== TYPE_SHORT) return 1;
    const value = view.getUint16(entry + 8, little);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/** The upright picture for an EXIF orientation; orientation 1 returns the picture itself. */
export function turnUpright(image: RgbImage, orientation: number): RgbImage {
  if (orientation <= 1 || orientation > 8) return image;
  const { width, height, data } = image;
  const swapped = orientation >= 5;
  // For each orientation: whether the upright picture's first row starts at the stored right edge, bottom edge.
  const fromRight = [2, 3, 7, 8].includes(orientation);
  const fromBottom = [3, 4, 6, 7].includes(orientation);
  const alongWidth = fromRight ? -1 : 1;
  const alongHeight = fromBottom ? -width : width;
  const start = (fromRight ? width - 1 : 0) + (fromBottom ? (height - 1) * width : 0);
  const [outWidth, outHeight] = swapped ? [height, width] : [width, height];
  const columnStep = swapped ? alongHeight : alongWidth;
  const rowStep = swapped ? alongWidth : alongHeight;
  const out = new Uint8Array(data.length);
  let to = 0;
  for (let row = 0; row < outHeight; row++) {
    let from = 3 * (start + row * rowStep);
    for (let column = 0; column < outWidth; column++) {
      out[to++] = data[from]!;
      out[to++] = data[from + 1]!;
      out[to++] = data[from + 2]!;
      from += 3 * columnStep;
    }
  }
  return { width: outWidth, height: outHeight, data: out };
}
