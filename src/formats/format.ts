/**
 * How a weight becomes codes, as data. A format's short name is its kind, bits and group sizes: `w2g16q16` (bilevel,
 * 2 bits, groups of 16 columns, second groups of 16 rows), `s4g32` (symmetric, 4 bits, groups of 32 columns).
 */

import { badRequest } from "../base/errors.ts";

/**
 * Scale and zero code per row and group of columns; the scales themselves have 4-bit codes whose base and step are
 * shared by a second group of consecutive rows at the same column group.
 */
export interface BilevelFormat {
  /** Tells the formats apart. */
  readonly kind: "bilevel";
  /** Bits of a code. */
  readonly bits: 2 | 3 | 4;
  /** Columns that share a scale and a zero code. */
  readonly group: number;
  /** Rows whose scales share a base and a step. */
  readonly secondGroup: number;
}

/** Scale per row and group of columns, fixed zero in the middle of the codes (8 or 128). For embedding and head. */
export interface SymmetricFormat {
  /** Tells the formats apart. */
  readonly kind: "symmetric";
  /** Bits of a code. */
  readonly bits: 4 | 8;
  /** Columns that share a scale; at 8 bits a multiple of 64, or all columns. */
  readonly group: number;
}

/** How a weight becomes codes. */
export type Format = BilevelFormat | SymmetricFormat;

/** The usual bilevel format of so many bits: w2g16q16, w3g16q16 or w4g32q128. */
export function bilevelFormat(bits: number): BilevelFormat {
  if (bits === 2 || bits === 3) return { kind: "bilevel", bits, group: 16, secondGroup: 16 };
  if (bits === 4) return { kind: "bilevel", bits, group: 32, secondGroup: 128 };
  throw badRequest(`A bilevel format has 2, 3 or 4 bits, but ${bits} were asked for.`);
}

/** The usual symmetric format of so many bits: s4g32 or s8g64. */
export function symmetricFormat(bits: number): SymmetricFormat {
  if (bits === 4) return { kind: "symmetric", bits, group: 32 };
  if (bits === 8) return { kind: "symmetric", bits, group: 64 };
  throw badRequest(`A symmetric format has 4 or 8 bits, but ${bits} were asked for.`);
}

/**
 * Reads a short name. Group sizes may be left out (`w2`, `s8`, `w4g64`) and then are the usual ones of these bits.
 *
 * @throws {LobitError} bad-request, when the name is none.
 */
export function parseFormat(name: string): Format {
  const match = /^([ws])([0-9])(?:g([1-9][0-9]{0,6}))?(?:q([1-9][0-9]{0,6}))?$/.exec(name);
  if (match === null || (match[1] === "s" && match[4] !== undefined)) {
    throw badRequest(
      `"${name}" is not a format. Expected a name like w2g16q16 (bilevel: 2, 3 or 4 bits, group, second group) or ` +
        "s4g32 (symmetric: 4 or 8 bits, group).",
    );
  }
  const bits = Number(match[2]);
  const usual = match[1] === "w" ? bilevelFormat(bits) : symmetricFormat(bits);
  const group = match[3] === undefined ? usual.group : Number(match[3]);
  if (usual.kind === "symmetric") return { ...usual, group };
  return {
    ...usual,
    group,
    secondGroup: match[4] === undefined ? usual.secondGroup : Number(match[4]),
  };
}

/** A format's short name, the inverse of {@linkcode parseFormat}. */
export function formatName(format: Format): string {
  return format.kind === "bilevel"
    ? `w${format.bits}g${format.group}q${format.secondGroup}`
    : `s${format.bits}g${format.group}`;
}

/** A format's largest code: 2^bits - 1. */
export function largestCode(format: Format): number {
  return 2 ** format.bits - 1;
}

/**
 * The largest number not above `wanted` that divides `size` and is a multiple of `unit`; where no multiple of `unit`
 * divides `size`, it is `size` itself (one single group), and where all are above `wanted`, the smallest.
 *
 * @param size columns of a weight, for groups (unit 16: a slab, the default), or rows, for second groups (unit 1).
 */
export function fitGroup(size: number, wanted: number, unit = 16): number {
  if (!Number.isSafeInteger(size) || size < 1 || !(wanted >= 1) || size > 2 ** 31) {
    throw badRequest(
      `A group of ${wanted} cannot be fitted into ${size}: both must be at least 1.`,
    );
  }
  if (size % unit !== 0) return size;
  let group = Math.max(unit, Math.min(size, wanted - (wanted % unit)));
  while (size % group !== 0) group -= unit;
  return group;
}

/**
 * The format that a weight of this shape gets when `wanted` is asked for: group sizes that do not divide the shape
 * become the largest that do. Compare the names to report a change.
 */
export function fitFormat(wanted: Format, rows: number, columns: number): Format {
  if (wanted.kind === "bilevel") {
    return {
      ...wanted,
      group: fitGroup(columns, wanted.group),
      secondGroup: fitGroup(rows, wanted.secondGroup, 1),
    };
  }
  return { ...wanted, group: fitGroup(columns, wanted.group, wanted.bits === 8 ? 64 : 16) };
}

/**
 * Checks that a format's groups divide a shape.
 *
 * @throws {LobitError} bad-request, naming the size that does not divide.
 */
export function checkFormat(format: Format, rows: number, columns: number): void {
  const bits: readonly number[] = format.kind === "bilevel" ? [2, 3, 4] : [4, 8];
  if (!bits.includes(format.bits)) {
    throw badRequest(`A ${format.kind} format has ${bits.join(" or ")} bits, not ${format.bits}.`);
  }
  for (const [size, what] of [[rows, "rows"], [columns, "columns"]] as const) {
    if (!Number.isSafeInteger(size) || size < 1 || size > 2 ** 31) {
      throw badRequest(`A weight cannot have ${size} ${what}.`);
    }
  }
  checkDivides(format.group, columns, "columns", format);
  if (format.kind === "bilevel") checkDivides(format.secondGroup, rows, "rows", format);
}

function checkDivides(group: number, size: number, what: string, format: Format): void {
  if (Number.isSafeInteger(group) && group >= 1 && size % group === 0) return;
  throw badRequest(
    `${formatName(format)} does not fit: its groups of ${group} do not divide ${size} ${what}. ` +
      "Use the format that fitFormat gives.",
  );
}
