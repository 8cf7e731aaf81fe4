/**
 * The packed layout, version 1, and the only place that knows it. A weight is one blob of little-endian regions, each
 * aligned to 64 bytes; rows are padded to panels (8), columns to chunks (64), groups to whole vectors (16 bytes).
 * - units    f32 [panels]
 * - second   i16 base, i16 step [bands][groups]        (bilevel whose second group is a multiple of 8 rows)
 * - scales   with `second`: per panel and 4 groups a vector; lane r (i16) holds row r, group 4j+i in bits 4i..4i+3.
 *            without: explicit i16 m, per panel and group a vector of 8 rows
 * - zeros    bilevel; 3 and 4 bits like scale codes, 2 bits: 8 groups a vector, group 8j+i in bits 2i..2i+1
 * - codes    per panel and pair of slabs (32 columns), so that 16-bit sums of neighbouring products stay within a
 *   slab. Column c of the pair is in word w = (c & 15) >> 1; row quad K = row >> 2; byte i of a vector belongs to row
 *   4K + (i >> 2) and to column 16 (i >> 1 & 1) + 2w + (i & 1):
 *   2 bits   vector 2K + (w >> 2), bits 2(w & 3) and up
 *   3 bits   the low two bits as above, then a vector of third bits per quad: vector K, bit w
 *   4 bits   vector 4K + (w >> 1), low nibble for even w, high nibble for odd w
 *   8 bits   the low nibbles as at 4 bits, then the high nibbles
 */

import { badRequest } from "../base/errors.ts";
import { checkFormat, type Format, formatName } from "./format.ts";

/** Version of the packed layout; a file made with another one must be quantized again. */
export const LAYOUT_VERSION = 1;
/** Rows of a panel. */
export const PANEL = 8;
/** Columns of a slab. */
export const SLAB = 16;
/** Columns of two slabs, whose codes lie together. */
export const PAIR = 32;
/** Columns of a chunk: one activation scale each. */
export const CHUNK = 64;

/** A part of the blob. */
export interface Region {
  /** First byte, a multiple of 64. */
  readonly offset: number;
  /** Bytes used. */
  readonly bytes: number;
}

/** Where everything lies in a packed weight. Strides are in bytes unless said otherwise. */
export interface Layout {
  /** LAYOUT_VERSION. */
  readonly version: number;
  /** How the weight is coded. */
  readonly format: Format;
  /** Rows without padding. */
  readonly rows: number;
  /** Columns without padding. */
  readonly columns: number;
  /** ceil(rows / 8). */
  readonly panels: number;
  /** Slabs of a row, padding included: a multiple of 4. */
  readonly slabs: number;
  /** Chunks of a row, padding included. */
  readonly chunks: number;
  /** columns / group: groups without padding. */
  readonly groups: number;
  /** Columns of a group rounded up to whole slabs (8 bits: chunks); slab t is in group floor(16 t / groupColumns). */
  readonly groupColumns: number;
  /** Groups stored per row in `second` and explicit `scales`, padding included (in groups). */
  readonly groupStride: number;
  /** Second groups, 0 when there is no `second`. */
  readonly bands: number;
  /** f32 unit per panel. */
  readonly units: Region;
  /** Base and step pairs. */
  readonly second?: Region;
  /** Scale codes, or explicit scales when there is no `second`. */
  readonly scales: Region;
  /** Zero codes of bilevel formats. */
  readonly zeros?: Region;
  /** The codes. */
  readonly codes: Region;
  /** From one panel's scales to the next. */
  readonly panelScales: number;
  /** From one panel's zero codes to the next, 0 without `zeros`. */
  readonly panelZeros: number;
  /** From one pair's codes to the next. */
  readonly pairCodes: number;
  /** From one panel's codes to the next. */
  readonly panelCodes: number;
  /** The whole blob, a multiple of 64. */
  readonly bytes: number;
}

/** Bytes of a pair's codes of 8 rows. */
const PAIR_BYTES = { 2: 64, 3: 96, 4: 128, 8: 256 } as const;

const roundUp = (size: number, to: number) => Math.ceil(size / to) * to;

/**
 * The layout of a packed weight.
 *
 * @throws {LobitError} bad-request when the groups do not fit the shape (see fitFormat) or the blob exceeds 4 GiB.
 */
export function layoutOf(format: Format, rows: number, columns: number): Layout {
  checkFormat(format, rows, columns);
  const { bits, group } = format;
  const unit = bits === 8 ? CHUNK : SLAB;
  if (group % unit !== 0 && group !== columns) {
    throw badRequest(
      `${
        formatName(format)
      } cannot be packed: groups must be multiples of ${unit} columns, or all ${columns}. ` +
        "Use the format that fitFormat gives.",
    );
  }
  const panels = Math.ceil(rows / PANEL);
  const paddedColumns = roundUp(columns, CHUNK);
  const slabs = paddedColumns / SLAB;
  const groupColumns = roundUp(group, unit);
  const groupStride = Math.ceil(paddedColumns / groupColumns);
  const banded = format.kind === "bilevel" && format.secondGroup % PANEL === 0;
  const bands = banded ? rows / format.secondGroup : 0;
  const panelScales = 16 * (banded ? Math.ceil(groupStride / 4) : groupStride);
  const panelZeros = format.kind === "bilevel"
    ? 16 * Math.ceil(groupStride / (bits === 2 ? 8 : 4))
    : 0;
  const pairCodes = PAIR_BYTES[bits];
  const panelCodes = slabs / 2 * pairCodes;

  let end = 0;
  const region = (bytes: number): Region => {
    const offset = end;
    end = roundUp(end + bytes, 64);
    return { offset, bytes };
  };
  const units = region(4 * panels);
  const second = banded ? { second: region(4 * bands * groupStride) } : {};
  const scales = region(panels * panelScales);
  const zeros = panelZeros > 0 ? { zeros: region(panels * panelZeros) } : {};
  const codes = region(panels * panelCodes);
  if (end > 2 ** 32) {
    throw badRequest(`A weight of ${rows} x ${columns} takes ${end} bytes; at most 4 GiB work.`);
  }
  return {
    version: LAYOUT_VERSION,
    format,
    rows,
    columns,
    panels,
    slabs,
    chunks: slabs / 4,
    groups: columns / group,
    groupColumns,
    groupStride,
    bands,
    units,
    ...second,
    scales,
    ...zeros,
    codes,
    panelScales,
    panelZeros,
    pairCodes,
    panelCodes,
    bytes: end,
  };
}

/** Exact bits that a packed weight takes per weight, with scales, padding and alignment. */
export function bitsPerWeight(layout: Layout): number {
  return layout.bytes * 8 / (layout.rows * layout.columns);
}

/** The group of a padded column; at or beyond `groups` it is padding. */
export function groupOfColumn(layout: Layout, column: number): number {
  return Math.floor(column / layout.groupColumns);
}

/** Byte offset of a panel's f32 unit. */
export function unitAt(layout: Layout, panel: number): number {
  return layout.units.offset + 4 * panel;
}

/** Byte offset of a band's i16 base at a group; its i16 step follows. Only with `second`. */
export function secondAt(layout: Layout, band: number, group: number): number {
  return layout.second!.offset + 4 * (band * layout.groupStride + group);
}

/** Byte offset of an explicit i16 scale. Only without `second`. */
export function scaleAt(layout: Layout, row: number, group: number): number {
  return layout.scales.offset + Math.floor(row / PANEL) * layout.panelScales + 16 * group +
    2 * (row % PANEL);
}

/** Bit offset of a 4-bit scale code. Only with `second`. */
export function scaleBitAt(layout: Layout, row: number, group: number): number {
  const panel = layout.scales.offset + Math.floor(row / PANEL) * layout.panelScales;
  return 8 * (panel + 16 * (group >> 2) + 2 * (row % PANEL)) + 4 * (group & 3);
}

/** Bit offset of a zero code of {@linkcode zeroWidth} bits. Only with `zeros`. */
export function zeroBitAt(layout: Layout, row: number, group: number): number {
  const width = zeroWidth(layout);
  const perLane = 16 / width;
  const panel = layout.zeros!.offset + Math.floor(row / PANEL) * layout.panelZeros;
  const vector = panel + 16 * Math.floor(group / perLane);
  return 8 * (vector + 2 * (row % PANEL)) + width * (group % perLane);
}

/** Bits that a zero code takes: 2 in 2-bit formats, else 4. */
export function zeroWidth(layout: Layout): number {
  return layout.format.bits === 2 ? 2 : 4;
}

/** Byte offset of a pair's codes. */
export function pairAt(layout: Layout, panel: number, pair: number): number {
  return layout.codes.offset + panel * layout.panelCodes + pair * layout.pairCodes;
}

/** How a pair's codes are split into a low and a high part and where the parts lie. */
export interface PairPlaces {
  /** Bits of the low part. */
  readonly lowWidth: number;
  /** Bits of the high part, 0 when there is none. */
  readonly highWidth: number;
  /** Bit offset in the pair of each low part [8 rows, 32 columns]. */
  readonly low: Uint16Array;
  /** Bit offset in the pair of each high part [8 rows, 32 columns]. */
  readonly high: Uint16Array;
}

/** The places of the 8 x 32 codes of a pair. */
export function pairPlaces(format: Format): PairPlaces {
  const { bits } = format;
  const low = new Uint16Array(PANEL * PAIR);
  const high = new Uint16Array(PANEL * PAIR);
  for (let row = 0; row < PANEL; row++) {
    for (let column = 0; column < PAIR; column++) {
      const at = row * PAIR + column;
      const quad = row >> 2;
      const word = (column & 15) >> 1;
      const byte = 4 * (row & 3) + 2 * (column >> 4) + (column & 1);
      const nibble = 8 * (16 * (4 * quad + (word >> 1)) + byte) + 4 * (word & 1);
      low[at] = bits >= 4 ? nibble : 8 * (16 * (2 * quad + (word >> 2)) + byte) + 2 * (word & 3);
      high[at] = bits === 8 ? 8 * 128 + nibble : 8 * (64 + 16 * quad + byte) + word;
    }
  }
  return {
    lowWidth: bits >= 4 ? 4 : 2,
    highWidth: bits === 8 ? 4 : bits === 3 ? 1 : 0,
    low,
    high,
  };
}
