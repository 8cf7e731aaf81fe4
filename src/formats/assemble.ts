// Packs a weight a few rows at a time: every region of the layout is ordered by panel or band, so a range of rows that
// starts and ends on both is a contiguous piece of each region. Keeps a 136 M embedding from needing 1 GB of floats.
import { badRequest } from "../base/errors.ts";
import { type Format, formatName } from "./format.ts";
import { type Layout, layoutOf, PANEL, type Region } from "./layout.ts";
import { type Coded, pack } from "./pack.ts";

/** Rows that a piece's row count must be a multiple of (the last piece may be shorter). */
export function rowUnit(format: Format): number {
  const band = format.kind === "bilevel" ? format.secondGroup : 1;
  let unit = PANEL;
  while (unit % band !== 0) unit += PANEL;
  return unit;
}

/** Packs rows `first` to `first + coded.grid.rows` into the blob of the whole weight. */
export function packRows(layout: Layout, first: number, coded: Coded, blob: Uint8Array): void {
  const { format, rows, columns } = layout;
  const count = coded.grid.rows;
  const unit = rowUnit(format);
  if (first % unit !== 0 || (count % unit !== 0 && first + count !== rows)) {
    throw badRequest(
      `Rows ${first} to ${first + count} of ${formatName(format)} cannot be packed alone: ` +
        `they must start and end at multiples of ${unit}.`,
    );
  }
  const piece = layoutOf(format, count, columns);
  const bytes = new Uint8Array(piece.bytes);
  pack(piece, coded.grid, coded.codes, bytes);
  const panel = first / PANEL;
  const copy = (from: Region, to: Region, at: number) =>
    blob.set(bytes.subarray(from.offset, from.offset + from.bytes), to.offset + at);
  copy(piece.units, layout.units, 4 * panel);
  copy(piece.scales, layout.scales, layout.panelScales * panel);
  copy(piece.codes, layout.codes, layout.panelCodes * panel);
  if (layout.zeros) copy(piece.zeros!, layout.zeros, layout.panelZeros * panel);
  if (layout.second) {
    const band = first / (format as { secondGroup: number }).secondGroup;
    copy(piece.second!, layout.second, 4 * layout.groupStride * band);
  }
}
