/**
 * The decoded picture that the rest of the image code works on, and the limits that every decoder checks against
 * the file's header before it reserves memory.
 */
import { badFile } from "../../base/errors.ts";

/** A decoded picture: 8 bits per channel, no alpha, upright. */
export interface RgbImage {
  /** Columns. */
  width: number;
  /** Rows. */
  height: number;
  /** `[row, column, rgb]`, `3 * width * height` bytes. */
  data: Uint8Array;
}

/** Bounds on what a picture file may make the decoder do. */
export interface ImageLimits {
  /**
   * Most pixels (width × height) that are decoded; 50,000,000 if not given, which a phone's largest photographs
   * need. While it is decoded, a JPEG takes 25 to 45 bytes of memory per pixel, a PNG up to 11.
   */
  maxPixels?: number;
}

const DEFAULT_MAX_PIXELS = 50_000_000;

// The longest side that JPEG can express. PNG allows more, but a picture one pixel wide and millions of rows long
// has no use and makes the resize's intermediate picture a thousand times larger than the picture itself.
const MAX_SIDE = 65535;

/** Throws a `bad-file` error unless the size that a file's header declares is within the limits. */
export function checkSize(
  name: string,
  width: number,
  height: number,
  limits: ImageLimits = {},
): void {
  const maxPixels = limits.maxPixels ?? DEFAULT_MAX_PIXELS;
  if (width < 1 || height < 1) {
    throw badFile(
      name,
      `the picture's header declares ${width} x ${height} pixels; each side must be at least 1.`,
    );
  }
  if (width > MAX_SIDE || height > MAX_SIDE) {
    throw badFile(
      name,
      `the picture is ${width} x ${height} pixels; a side may have at most ${MAX_SIDE}. Crop or shrink it first.`,
    );
  }
  if (width * height > maxPixels) {
    throw badFile(
      name,
      `the picture is ${width} x ${height} pixels, more than the ${maxPixels} allowed. Shrink it first.`,
    );
  }
}
