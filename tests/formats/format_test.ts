// Format names, fitting groups to shapes.

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import {
  bilevelFormat,
  checkFormat,
  fitFormat,
  fitGroup,
  formatName,
  layoutOf,
  parseFormat,
  symmetricFormat,
} from "../../src/formats/mod.ts";
import { fitted } from "./support.ts";

Deno.test("a format's name reads back as the format", () => {
  fc.assert(
    fc.property(fitted, ({ format }) => assertEquals(parseFormat(formatName(format)), format)),
    { seed: 1, numRuns: 200 },
  );
});

Deno.test("short names take the usual group sizes", () => {
  const names = ["w2", "w3", "w4", "s4", "s8", "w4g64", "w2q8"];
  const full = ["w2g16q16", "w3g16q16", "w4g32q128", "s4g32", "s8g64", "w4g64q128", "w2g16q8"];
  assertEquals(names.map((name) => formatName(parseFormat(name))), full);
});

Deno.test("what is no format name is refused", () => {
  const names = ["", "w", "w5", "w8", "s2", "s4q16", "w2g0", "w2q0", "w2g16q16 ", "W2", "w2g-1"];
  for (const name of [...names, "w2g99999999", "w22", "w2q16g16"]) {
    assertThrows(() => parseFormat(name), LobitError, undefined, name);
  }
  assertThrows(() => bilevelFormat(8), LobitError, "2, 3 or 4");
  assertThrows(() => symmetricFormat(3), LobitError, "4 or 8");
});

Deno.test("a group that does not divide becomes the largest that does", () => {
  assertEquals(fitGroup(576, 128, 1), 96);
  assertEquals(fitGroup(1000, 16, 1), 10);
  assertEquals(fitGroup(577, 128, 1), 1);
  assertEquals(fitGroup(896, 128), 128);
  assertEquals(fitGroup(576, 128), 96);
  assertEquals(fitGroup(80, 32), 16);
  assertEquals(fitGroup(64, 8), 16); // the smallest that can be packed
  assertEquals(fitGroup(588, 32), 588); // one single group
  assertEquals(fitGroup(640, 200, 64), 128);
  assertEquals(formatName(fitFormat(parseFormat("w4g32q128"), 576, 192)), "w4g32q96");
  for (const [size, wanted] of [[0, 16], [-16, 16], [1.5, 1], [16, 0], [16, NaN], [NaN, 1]]) {
    assertThrows(() => fitGroup(size!, wanted!), LobitError);
  }
});

Deno.test("fitted groups divide, are the largest that do, and can be packed", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 700 }),
      fc.integer({ min: 1, max: 800 }),
      fc.constantFrom(1, 16, 64),
      (size, wanted, unit) => {
        const group = fitGroup(size, wanted, unit);
        assertEquals(size % group, 0);
        if (size % unit !== 0) return assertEquals(group, size);
        assertEquals(group % unit, 0);
        assert(group <= Math.max(wanted, unit));
        for (let larger = group + unit; larger <= Math.min(size, wanted); larger += unit) {
          assert(size % larger !== 0);
        }
      },
    ),
    { seed: 2, numRuns: 1000 },
  );
  fc.assert(
    fc.property(fitted, ({ format, rows, columns }) => {
      checkFormat(format, rows, columns);
      assert(layoutOf(format, rows, columns).bytes > 0);
      assertEquals(fitFormat(format, rows, columns), format);
    }),
    { seed: 3, numRuns: 300 },
  );
});

Deno.test("formats that do not fit a shape are refused by name", () => {
  const format = bilevelFormat(4);
  assertThrows(() => checkFormat(format, 576, 64), LobitError, "w4g32q128 does not fit");
  assertThrows(() => checkFormat(format, 128, 48), LobitError, "48 columns");
  assertThrows(() => checkFormat(format, 0, 32), LobitError, "0 rows");
  assertThrows(() => checkFormat(format, 128, 2 ** 40), LobitError);
  assertThrows(() => checkFormat({ ...format, bits: 8 as 4 }, 128, 64), LobitError, "not 8");
});
