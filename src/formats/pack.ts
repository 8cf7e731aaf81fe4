/**
 * Reference packing: grid and codes to and from the blob of layout.ts, one code after the other. Padding decodes to
 * zero: padded codes are the zero code of their group, padded groups have scale and zero code 0.
 */

import { badFile, badRequest } from "../base/errors.ts";
import { largestCode } from "./format.ts";
import { checkLength, type Grid, SCALE_LIMIT, zeroOf } from "./grid.ts";
import {
  groupOfColumn,
  type Layout,
  PAIR,
  pairAt,
  pairPlaces,
  PANEL,
  scaleAt,
  scaleBitAt,
  secondAt,
  SLAB,
  unitAt,
  zeroBitAt,
  zeroWidth,
} from "./layout.ts";

/** A weight's grid and codes. */
export interface Coded {
  /** Where the codes stand. */
  readonly grid: Grid;
  /** Codes [rows, columns]. */
  readonly codes: Uint8Array;
}

/**
 * Packs a weight.
 *
 * @param codes u8 [rows, columns].
 * @param into at least `layout.bytes` bytes; the first `layout.bytes` are all written.
 * @throws {LobitError} bad-request when grid, codes or `into` do not match the layout; nothing is written then.
 */
export function pack(layout: Layout, grid: Grid, codes: Uint8Array, into: Uint8Array): void {
  checkCoded(layout, grid, codes);
  const view = viewOf(layout, into);
  into.fill(0, 0, layout.bytes);
  const { format, rows, columns, groups } = layout;
  for (let panel = 0; panel < layout.panels; panel++) {
    view.setFloat32(unitAt(layout, panel), grid.units[panel]!, true);
  }
  for (let band = 0; band < layout.bands; band++) {
    for (let g = 0; g < groups; g++) {
      view.setInt16(secondAt(layout, band, g), grid.second!.base[band * groups + g]!, true);
      view.setInt16(secondAt(layout, band, g) + 2, grid.second!.step[band * groups + g]!, true);
    }
  }
  for (let row = 0; row < rows; row++) {
    for (let g = 0; g < groups; g++) {
      const i = row * groups + g;
      if (layout.second) setBits(into, scaleBitAt(layout, row, g), grid.second!.codes[i]!);
      else view.setInt16(scaleAt(layout, row, g), grid.scales[i]!, true);
      if (layout.zeros) setBits(into, zeroBitAt(layout, row, g), grid.zeroCodes![i]!);
    }
  }

  const { low, lowWidth, high, highWidth } = pairPlaces(format);
  const lowMask = (1 << lowWidth) - 1;
  for (let row = 0; row < layout.panels * PANEL; row++) {
    for (let slab = 0; slab < layout.slabs; slab++) {
      const start = pairAt(layout, Math.floor(row / PANEL), slab >> 1);
      const group = groupOfColumn(layout, slab * SLAB);
      const real = row < rows && group < groups;
      const symmetricZero = format.kind === "symmetric" ? 2 ** (format.bits - 1) : 0;
      const padding = real ? zeroOf(grid, row * groups + group) : symmetricZero;
      for (let i = 0; i < SLAB; i++) {
        const column = slab * SLAB + i;
        const code = row < rows && column < columns ? codes[row * columns + column]! : padding;
        const at = row % PANEL * PAIR + column % PAIR;
        into[start + (low[at]! >> 3)]! |= (code & lowMask) << (low[at]! & 7);
        if (highWidth === 0) continue;
        into[start + (high[at]! >> 3)]! |= (code >> lowWidth) << (high[at]! & 7);
      }
    }
  }
}

/**
 * Unpacks a weight: the inverse of {@linkcode pack}.
 *
 * @throws {LobitError} bad-request when the blob is shorter than the layout.
 */
export function unpack(layout: Layout, blob: Uint8Array): Coded {
  const view = viewOf(layout, blob);
  const { format, rows, columns, groups, bands } = layout;
  const units = new Float32Array(layout.panels);
  for (let panel = 0; panel < units.length; panel++) {
    units[panel] = view.getFloat32(unitAt(layout, panel), true);
  }
  const second = {
    base: new Int16Array(bands * groups),
    step: new Int16Array(bands * groups),
    codes: new Uint8Array(layout.second ? rows * groups : 0),
  };
  for (let band = 0; band < bands; band++) {
    for (let g = 0; g < groups; g++) {
      second.base[band * groups + g] = view.getInt16(secondAt(layout, band, g), true);
      second.step[band * groups + g] = view.getInt16(secondAt(layout, band, g) + 2, true);
    }
  }
  const scales = new Int16Array(rows * groups);
  const zeroCodes = new Uint8Array(layout.zeros ? rows * groups : 0);
  for (let row = 0; row < rows; row++) {
    for (let g = 0; g < groups; g++) {
      const i = row * groups + g;
      if (layout.second) second.codes[i] = getBits(blob, scaleBitAt(layout, row, g), 4);
      if (layout.zeros) {
        zeroCodes[i] = getBits(blob, zeroBitAt(layout, row, g), zeroWidth(layout));
      }
      scales[i] = packedScale(layout, view, row, g);
    }
  }

  const codes = new Uint8Array(rows * columns);
  const places = pairPlaces(format);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const start = pairAt(layout, Math.floor(row / PANEL), Math.floor(column / PAIR));
      const at = row % PANEL * PAIR + column % PAIR;
      let code = getBits(blob, 8 * start + places.low[at]!, places.lowWidth);
      if (places.highWidth > 0) {
        code |= getBits(blob, 8 * start + places.high[at]!, places.highWidth) << places.lowWidth;
      }
      codes[row * columns + column] = code;
    }
  }
  const grid: Grid = {
    format,
    rows,
    columns,
    units,
    scales,
    ...(layout.zeros ? { zeroCodes } : {}),
    ...(layout.second ? { second } : {}),
  };
  return { grid, codes };
}

/** The integer scale of a row and (padded) group: base + code * step, or as stored. */
function packedScale(layout: Layout, view: DataView, row: number, group: number): number {
  if (layout.second === undefined || layout.format.kind !== "bilevel") {
    return view.getInt16(scaleAt(layout, row, group), true);
  }
  const second = secondAt(layout, Math.floor(row / layout.format.secondGroup), group);
  const bit = scaleBitAt(layout, row, group);
  const code = view.getUint8(Math.floor(bit / 8)) >> (bit % 8) & 15;
  return view.getInt16(second, true) + code * view.getInt16(second + 2, true);
}

/**
 * Checks a packed weight that comes from a file, so that kernels may trust it: units are finite and not negative, no
 * integer scale is negative or above SCALE_LIMIT (codes and zero codes are valid whatever their bits are).
 *
 * @param name the tensor and file, for the message.
 * @throws {LobitError} bad-file.
 */
export function checkPacked(layout: Layout, blob: Uint8Array, name: string): void {
  if (blob.length < layout.bytes) {
    throw badFile(name, `expected ${layout.bytes} bytes of packed weight, found ${blob.length}.`);
  }
  const view = viewOf(layout, blob);
  for (let panel = 0; panel < layout.panels; panel++) {
    const unit = view.getFloat32(unitAt(layout, panel), true);
    if (!(unit >= 0 && unit <= 2 ** 101)) {
      throw badFile(name, `the unit of panel ${panel} is ${unit}. The file is damaged.`);
    }
  }
  const region = layout.second ?? layout.scales;
  for (let at = region.offset; at < region.offset + region.bytes; at += layout.second ? 4 : 2) {
    const base = view.getInt16(at, true);
    const step = layout.second ? view.getInt16(at + 2, true) : 0;
    if (base < 0 || step < 0 || base + 15 * step > SCALE_LIMIT) {
      throw badFile(
        name,
        `scale ${base} + 15 * ${step} at byte ${at} is outside 0..${SCALE_LIMIT}. The file is damaged.`,
      );
    }
  }
}

function checkCoded(layout: Layout, grid: Grid, codes: Uint8Array): void {
  const { format, rows, columns, groups, bands } = layout;
  const largest = largestCode(format);
  if (
    grid.rows !== rows || grid.columns !== columns || grid.format.kind !== format.kind ||
    grid.format.bits !== format.bits || grid.format.group !== format.group
  ) {
    throw badRequest(
      `The grid is for ${grid.rows} x ${grid.columns}, the layout for ${rows} x ${columns}.`,
    );
  }
  checkLength(codes, rows * columns, "codes");
  checkLength(grid.units, layout.panels, "units");
  checkLength(grid.scales, rows * groups, "scales");
  checkWithin(codes, 0, largest, "code");
  checkWithin(grid.scales, 1, SCALE_LIMIT, "scale");
  if (layout.zeros) {
    checkLength(grid.zeroCodes ?? [], rows * groups, "zero codes");
    checkWithin(grid.zeroCodes!, 0, largest, "zero code");
  }
  if (layout.second) {
    checkLength(grid.second?.codes ?? [], rows * groups, "scale codes");
    checkLength(grid.second!.base, bands * groups, "second-level bases");
    checkLength(grid.second!.step, bands * groups, "second-level steps");
    checkWithin(grid.second!.codes, 0, 15, "scale code");
  }
}

function checkWithin(values: Uint8Array | Int16Array, low: number, high: number, what: string) {
  for (let i = 0; i < values.length; i++) {
    if (values[i]! >= low && values[i]! <= high) continue;
    throw badRequest(`Expected every ${what} in ${low}..${high}, found ${values[i]} at ${i}.`);
  }
}

function viewOf(layout: Layout, blob: Uint8Array): DataView {
  if (blob.length < layout.bytes) {
    throw badRequest(`A packed weight needs ${layout.bytes} bytes, but ${blob.length} were given.`);
  }
  return new DataView(blob.buffer, blob.byteOffset, layout.bytes);
}

/** Ors a value into the bits that start at a bit offset and lie in one byte. */
function setBits(bytes: Uint8Array, bit: number, value: number): void {
  bytes[Math.floor(bit / 8)]! |= value << (bit % 8);
}

function getBits(bytes: Uint8Array, bit: number, width: number): number {
  return bytes[Math.floor(bit / 8)]! >> (bit % 8) & ((1 << width) - 1);
}
