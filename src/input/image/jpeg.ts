/**
 * JPEG pixels: baseline and progressive, grey, YCbCr, RGB and Adobe's CMYK. jpeg-js does the entropy decoding and
 * the inverse transform; its colours (nearest chroma sample, truncated arithmetic) are replaced by ours for three
 * components, because the model was trained on libjpeg's.
 */
import jpegJs from "npm:jpeg-js@0.4.4";
import { badFile } from "../../base/errors.ts";
import { readOrientation, turnUpright } from "./exif.ts";
import { checkSize, type ImageLimits, type RgbImage } from "./image.ts";
import { ycbcrToRgb } from "./jpeg_color.ts";
import { type JpegParts, readJpegSegments } from "./jpeg_segments.ts";

/** Decodes a JPEG and turns it upright. Throws `bad-file` if it is damaged, unsupported or too large. */
export function decodeJpeg(bytes: Uint8Array, name: string, limits?: ImageLimits): RgbImage {
  const parts = readJpegSegments(bytes, name);
  const { width, height, components } = parts;
  checkSize(name, width, height, limits);
  checkCodedBytes(parts, name);
  if (components.length === 4 && parts.adobeTransform === undefined) {
    throw badFile(
      name,
      "the JPEG has four colour components and does not say which; convert it to RGB.",
    );
  }
  const image = { width, height, data: decodeSamples(parts, name) };
  if (components.length === 3 && isYcbcr(parts)) {
    const across = Math.max(...components.map((component) => component.h));
    const down = Math.max(...components.map((component) => component.v));
    // Chroma sampled at other ratios than one and two keeps jpeg-js's repeated samples, as libjpeg does.
    const [, cb, cr] = components as [unknown, (typeof components)[0], (typeof components)[0]];
    const same = cb.h === cr.h && cb.v === cr.v;
    const halvedAcross = same && cb.h * 2 === across;
    const halvedDown = same && cb.v * 2 === down;
    const whole = (cb.h === across || halvedAcross) && (cb.v === down || halvedDown);
    ycbcrToRgb(image.data, width, height, whole && halvedAcross, whole && halvedDown);
  }
  return parts.exif ? turnUpright(image, readOrientation(parts.exif)) : image;
}

/** Which colours three components are: libjpeg's rules. */
function isYcbcr(parts: JpegParts): boolean {
  if (parts.jfif) return true;
  if (parts.adobeTransform !== undefined) return parts.adobeTransform !== 0;
  return String.fromCharCode(...parts.components.map((component) => component.id)) !== "RGB";
}

/** The samples as jpeg-js hands them out, `[row, column, 3]`; four components are RGB already. */
function decodeSamples(parts: JpegParts, name: string): Uint8Array {
  const { width, height, components } = parts;
  let decoded;
  try {
    decoded = jpegJs.decode(rebuild(parts), {
      useTArray: true,
      formatAsRGBA: false,
      colorTransform: false,
      tolerantDecoding: true,
      // Size was checked against the caller's limits; these are jpeg-js's own, in units of a million.
      maxResolutionInMP: 1e6,
      maxMemoryUsageInMB: 1e6,
    });
  } catch (error) {
    throw badFile(
      name,
      "the JPEG is damaged: its coded pixels are not readable. Download or save it again.",
      { cause: error },
    );
  }
  if (decoded.data.length !== 3 * width * height) {
    throw badFile(
      name,
      `the JPEG with ${components.length} components gave ${decoded.data.length} bytes of pixels.`,
    );
  }
  return decoded.data;
}

/**
 * The file again with only what jpeg-js needs. It obeys an Adobe segment against its own options, so three components go
 * without one; four need one, for it holds the transform.
 */
function rebuild(parts: JpegParts): Uint8Array {
  const { essential, components, adobeTransform } = parts;
  const adobe = components.length === 4
    ? [0xff, 0xee, 0, 14, 0x41, 0x64, 0x6f, 0x62, 0x65, 0, 100, 0, 0, 0, 0, adobeTransform!]
    : [];
  const out = new Uint8Array(4 + adobe.length + essential.length);
  out.set([0xff, 0xd8, ...adobe]);
  out.set(essential, 2 + adobe.length);
  out.set([0xff, 0xd9], out.length - 2);
  return out;
}

/**
 * A block takes at least two bits (one for its mean, one for the end of block), in a progressive file at least one. A
 * header that declares more blocks than the coded bytes can hold must not make us reserve memory for them.
 */
function checkCodedBytes(parts: JpegParts, name: string): void {
  const { width, height, components, codedBytes } = parts;
  const across = Math.max(...components.map((component) => component.h));
  const down = Math.max(...components.map((component) => component.v));
  let blocks = 0;
  for (const { h, v } of components) {
    blocks += Math.ceil(width * h / (8 * across)) * Math.ceil(height * v / (8 * down));
  }
  const leastBits = blocks * (parts.progressive ? 1 : 2);
  if (codedBytes * 8 < leastBits) {
    throw badFile(
      name,
      `the JPEG is damaged: ${codedBytes} coded bytes cannot hold the ${width} x ${height} pixels that its header declares.`,
    );
  }
}
