/**
 * The outer layer of JPEG (ITU-T T.81 annex B): walks the marker segments, checks what the entropy decoder would
 * otherwise trust, and writes a clean copy without comments, thumbnails and colour profiles for it.
 */
import { badFile } from "../../base/errors.ts";

/** One colour component as the frame header declares it. */
export interface JpegComponent {
  /** The number by which scans name it. */
  id: number;
  /** Horizontal sampling factor, 1 to 4. */
  h: number;
  /** Vertical sampling factor, 1 to 4. */
  v: number;
}

/** What the segments say. Sizes are as declared: not yet checked against any limit. */
export interface JpegParts {
  /** Columns. */
  width: number;
  /** Rows. */
  height: number;
  /** Whether later scans refine earlier ones. */
  progressive: boolean;
  /** One (grey), three or four components. */
  components: JpegComponent[];
  /** The Adobe segment's colour transform (0 none, 1 YCbCr, 2 YCCK), or undefined without that segment. */
  adobeTransform: number | undefined;
  /** Whether a JFIF segment says that three components are YCbCr. */
  jfif: boolean;
  /** The EXIF block (TIFF), if any. */
  exif: Uint8Array | undefined;
  /** Bytes of entropy-coded data in all scans. */
  codedBytes: number;
  /** Tables, frame and scans, from the first table to the last scan, without the begin and end markers. */
  essential: Uint8Array;
}

const SOF0 = 0xc0, SOF2 = 0xc2, SOF15 = 0xcf, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc;
const RST0 = 0xd0, RST7 = 0xd7, SOI = 0xd8, EOI = 0xd9, SOS = 0xda, DQT = 0xdb, DNL = 0xdc;
const DRI = 0xdd, APP0 = 0xe0, APP1 = 0xe1, APP14 = 0xee, TEM = 0x01;

// Encoders write about ten. Every scan visits every block, so a small file with thousands would take hours.
const MOST_SCANS = 100;

/** Whether the bytes begin with JPEG's start marker. */
export function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === SOI && bytes[2] === 0xff;
}

/** Walks a JPEG's segments; throws `bad-file` where they are damaged or of an unsupported kind. */
export function readJpegSegments(bytes: Uint8Array, name: string): JpegParts {
  const kept: Uint8Array[] = [];
  const parts: JpegParts = {
    width: 0,
    height: 0,
    progressive: false,
    components: [],
    adobeTransform: undefined,
    jfif: false,
    exif: undefined,
    codedBytes: 0,
    essential: new Uint8Array(0),
  };
  const scanned = new Set<number>();
  let scans = 0;
  let ended = false;
  let at = 2;
  while (at < bytes.length) {
    if (bytes[at] !== 0xff) throw damaged(name, `no marker at byte ${at}`);
    // Any number of 0xff may stand before a marker.
    while (bytes[at + 1] === 0xff) at++;
    const marker = bytes[at + 1];
    ended = marker === EOI;
    if (ended || marker === undefined) break;
    if (marker === TEM || (marker >= RST0 && marker <= SOI)) {
      throw damaged(name, `marker 0x${marker.toString(16)} out of place at byte ${at}`);
    }
    const length = ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
    let end = at + 2 + length;
    if (length < 2 || end > bytes.length) {
      throw damaged(name, `the segment at byte ${at} has an impossible length`);
    }
    const body = bytes.subarray(at + 4, end);
    if (marker === APP0 && startsWith(body, "JFIF\0")) parts.jfif = true;
    if (marker === APP1 && startsWith(body, "Exif\0\0")) parts.exif ??= body.subarray(6);
    if (marker === APP14 && startsWith(body, "Adobe") && body.length >= 12) {
      parts.adobeTransform = body[11]!;
    }
    const isFrame = marker >= SOF0 && marker <= SOF15 && ![DHT, JPG, DAC].includes(marker);
    if (isFrame) readFrame(marker, body, parts, name);
    if (marker === DQT) checkQuantization(body, name);
    if (marker === DHT) checkHuffman(body, name);
    if (marker === DRI && body.length !== 2) throw damaged(name, "its restart interval is cut off");
    if (marker === SOS) {
      checkScan(body, parts, scanned, name);
      if (++scans > MOST_SCANS) {
        throw badFile(name, `the JPEG has more than ${MOST_SCANS} scans; save it again.`);
      }
      const coded = end;
      end = endOfScan(bytes, end);
      parts.codedBytes += end - coded;
    }
    const essential = isFrame || [DQT, DHT, DRI, SOS].includes(marker);
    if (essential) kept.push(bytes.subarray(at, end));
    else if (marker < APP0 && marker !== DNL) {
      throw badFile(
        name,
        `the JPEG has a segment of the unsupported kind 0x${
          marker.toString(16)
        }; save it again as baseline JPEG.`,
      );
    }
    at = end;
  }
  // Some cameras leave out the end marker. Then the entropy decoder notices missing pixels, but nobody can tell
  // whether a progressive file lacks its last refinements.
  const complete = scanned.size === parts.components.length && (ended || !parts.progressive);
  if (scans === 0 || !complete) throw damaged(name, "it ends before its last scan");
  parts.essential = concat(kept);
  return parts;
}

function readFrame(marker: number, body: Uint8Array, parts: JpegParts, name: string): void {
  if (parts.components.length > 0) throw damaged(name, "it has two frame headers");
  if (marker > SOF2) {
    throw badFile(
      name,
      "the JPEG is lossless, hierarchical or arithmetic-coded, which is not supported; save it as baseline JPEG.",
    );
  }
  const count = body[5] ?? 0;
  if (body.length !== 6 + 3 * count) throw damaged(name, "its frame header is cut off");
  if (body[0] !== 8) {
    throw badFile(name, `the JPEG has ${body[0]} bits per sample; only 8 are supported.`);
  }
  if (![1, 3, 4].includes(count)) {
    throw badFile(
      name,
      `the JPEG has ${count} colour components; 1, 3 and 4 are supported.`,
    );
  }
  parts.height = (body[1]! << 8) | body[2]!;
  parts.width = (body[3]! << 8) | body[4]!;
  parts.progressive = marker === SOF2;
  for (let i = 0; i < count; i++) {
    const [id, sampling] = [body[6 + 3 * i]!, body[7 + 3 * i]!];
    const [h, v] = [sampling >> 4, sampling & 15];
    const known = parts.components.some((component) => component.id === id);
    if (known || h < 1 || h > 4 || v < 1 || v > 4) {
      throw damaged(name, "its frame header contradicts itself");
    }
    parts.components.push({ id, h, v });
  }
}

function checkScan(
  body: Uint8Array,
  parts: JpegParts,
  scanned: Set<number>,
  name: string,
): void {
  const count = body[0] ?? 0;
  if (count < 1 || count > parts.components.length || body.length !== 4 + 2 * count) {
    throw damaged(name, "a scan header contradicts the frame header");
  }
  let blocks = 0;
  const seen = new Set<number>();
  for (let i = 0; i < count; i++) {
    const id = body[1 + 2 * i]!;
    const component = parts.components.find((one) => one.id === id);
    if (!component || seen.has(id)) throw damaged(name, "a scan header names wrong components");
    seen.add(id);
    blocks += component.h * component.v;
  }
  if (count > 1 && blocks > 10) throw damaged(name, "a scan interleaves too many blocks");
  const [first, last, bits] = [body.at(-3)!, body.at(-2)!, body.at(-1)!];
  if (first === 0) { for (const id of seen) scanned.add(id); }
  if (!parts.progressive) return;
  // DC and AC coefficients never share a progressive scan, and an AC scan has one component.
  const legal = first === 0 ? last === 0 : last >= first && last <= 63 && count === 1;
  const [high, low] = [bits >> 4, bits & 15];
  if (!legal || low > 13 || (high !== 0 && high !== low + 1)) {
    throw damaged(name, "a progressive scan header is impossible");
  }
}

function checkQuantization(body: Uint8Array, name: string): void {
  let at = 0;
  while (at < body.length) {
    if ((body[at]! & 15) > 3 || body[at]! >> 4 > 1) throw damaged(name, "a quantization table");
    at += 1 + (body[at]! >> 4 ? 128 : 64);
  }
  if (at !== body.length) throw damaged(name, "a quantization table is cut off");
}

function checkHuffman(body: Uint8Array, name: string): void {
  let at = 0;
  while (at < body.length) {
    if ((body[at]! & 15) > 3 || body[at]! >> 4 > 1) throw damaged(name, "a Huffman table");
    let codes = 0;
    let space = 0;
    for (let bits = 1; bits <= 16; bits++) {
      const here = body[at + bits] ?? 0;
      codes += here;
      space += here << (16 - bits);
    }
    if (space > 1 << 16) throw damaged(name, "a Huffman table has more codes than fit");
    at += 17 + codes;
  }
  if (at !== body.length) throw damaged(name, "a Huffman table is cut off");
}

/** Where the entropy-coded data from `at` on ends: at the next marker that is no restart and no stuffed byte. */
function endOfScan(bytes: Uint8Array, at: number): number {
  for (;;) {
    const found = bytes.indexOf(0xff, at);
    if (found < 0) return bytes.length;
    const next = bytes[found + 1];
    if (next === undefined) return found;
    if (next !== 0 && (next < RST0 || next > RST7)) return found;
    at = found + 2;
  }
}

function startsWith(body: Uint8Array, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (body[i] !== text.charCodeAt(i)) return false;
  return true;
}

function concat(pieces: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

function damaged(name: string, problem: string): Error {
  return badFile(name, `the JPEG is damaged: ${problem}. Download or save it again.`);
}
