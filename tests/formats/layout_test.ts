// The packed layout: regions are aligned and apart, every code, scale and zero code has its own bits.

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import {
  bitsPerWeight,
  type Layout,
  layoutOf,
  pairAt,
  pairPlaces,
  parseFormat,
  type Region,
  scaleAt,
  scaleBitAt,
  secondAt,
  unitAt,
  zeroBitAt,
  zeroWidth,
} from "../../src/formats/mod.ts";
import { fitted } from "./support.ts";

function regionsOf(layout: Layout): Region[] {
  return [layout.units, layout.second, layout.scales, layout.zeros, layout.codes]
    .filter((region) => region !== undefined);
}

/** Marks bits as taken, and fails when one is taken twice or lies outside its region. */
function takeBits(taken: Set<number>, region: Region, bit: number, width: number) {
  assert(bit >= 8 * region.offset && bit + width <= 8 * (region.offset + region.bytes));
  for (let i = bit; i < bit + width; i++) {
    assert(!taken.has(i), `bit ${i} is taken twice`);
    taken.add(i);
  }
}

Deno.test("regions are 64-byte aligned, in order, apart, and fill the blob", () => {
  fc.assert(
    fc.property(fitted, ({ format, rows, columns }) => {
      const layout = layoutOf(format, rows, columns);
      let end = 0;
      for (const region of regionsOf(layout)) {
        assertEquals(region.offset % 64, 0);
        assert(region.offset >= end && region.offset < end + 64);
        end = region.offset + region.bytes;
      }
      assertEquals(layout.bytes, Math.ceil(end / 64) * 64);
    }),
    { seed: 1, numRuns: 300 },
  );
});

Deno.test("every number has its own bits inside its region, and codes fill theirs", () => {
  fc.assert(
    fc.property(fitted, ({ format, rows, columns }) => {
      const layout = layoutOf(format, rows, columns);
      const taken = new Set<number>();
      for (let panel = 0; panel < layout.panels; panel++) {
        takeBits(taken, layout.units, 8 * unitAt(layout, panel), 32);
      }
      for (let g = 0; g < layout.groupStride; g++) {
        for (let band = 0; band < layout.bands; band++) {
          takeBits(taken, layout.second!, 8 * secondAt(layout, band, g), 32);
        }
        for (let row = 0; row < 8 * layout.panels; row++) {
          if (layout.second) takeBits(taken, layout.scales, scaleBitAt(layout, row, g), 4);
          else takeBits(taken, layout.scales, 8 * scaleAt(layout, row, g), 16);
          if (!layout.zeros) continue;
          takeBits(taken, layout.zeros, zeroBitAt(layout, row, g), zeroWidth(layout));
        }
      }
      const places = pairPlaces(format);
      assertEquals(places.lowWidth + places.highWidth, format.bits);
      const before = taken.size;
      for (let panel = 0; panel < layout.panels; panel++) {
        for (let pair = 0; pair < layout.slabs / 2; pair++) {
          const start = 8 * pairAt(layout, panel, pair);
          for (let i = 0; i < 256; i++) {
            takeBits(taken, layout.codes, start + places.low[i]!, places.lowWidth);
            if (places.highWidth === 0) continue;
            takeBits(taken, layout.codes, start + places.high[i]!, places.highWidth);
          }
        }
      }
      assertEquals(taken.size - before, 8 * layout.codes.bytes);
    }),
    { seed: 2, numRuns: 60 },
  );
});

Deno.test("bits per weight of large weights are the codes, scales and zero codes", () => {
  const size = (name: string, rows: number, columns: number) =>
    bitsPerWeight(layoutOf(parseFormat(name), rows, columns));
  // Codes, 4-bit scale and 2- or 4-bit zero code a group, 32 bits a second group, an f32 unit a panel.
  const unit = 32 / 8 / 4864;
  const close = (found: number, expected: number) => assert(Math.abs(found - expected) < 1e-3);
  close(size("w2g16q16", 896, 4864), 2 + 6 / 16 + 32 / 256 + unit);
  close(size("w3g16q16", 896, 4864), 3 + 8 / 16 + 32 / 256 + unit);
  close(size("w4g32q128", 896, 4864), 4 + 8 / 32 + 32 / 4096 + unit);
  close(size("s4g32", 896, 4864), 4 + 16 / 32 + unit);
  close(size("s8g64", 896, 4864), 8 + 16 / 64 + unit);
});

Deno.test("groups that cannot be packed and weights beyond 4 GiB are refused", () => {
  const refuse = (name: string, rows: number, columns: number, part: string) =>
    assertThrows(() => layoutOf(parseFormat(name), rows, columns), LobitError, part);
  refuse("w2g8q16", 16, 64, "multiples of 16");
  refuse("s8g32", 8, 64, "multiples of 64");
  refuse("s4g16", 2 ** 31, 2 ** 31, "4 GiB");
  refuse("w4g32q128", 576, 64, "does not fit");
});
