// Packing against the golden blobs, round trips, and blobs that nobody packed.

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import {
  checkPacked,
  codesOn,
  dequantize,
  type Format,
  type Grid,
  layoutOf,
  pack,
  parseFormat,
  SCALE_LIMIT,
  unpack,
} from "../../src/formats/mod.ts";
import { readGolden } from "../testing/goldens.ts";
import { assertSame, bytes, fitted, floats, gridOf, shorts, weightsOf } from "./support.ts";

const golden = readGolden("bilevel_stored.safetensors");

for (const name of Object.keys(golden.cases).filter((name) => name.startsWith("packed."))) {
  Deno.test(`packing ${name.slice(7)} gives the golden blob and unpacking gives it back`, () => {
    const { kind, bits, group, second_group, rows, cols } = golden.cases[name];
    const format: Format = kind === "symmetric"
      ? { kind, bits, group }
      : { kind, bits, group, secondGroup: second_group };
    const layout = layoutOf(format, rows, cols);
    const blob = bytes(golden, `${name}.blob`);
    const grid: Grid = {
      format,
      rows,
      columns: cols,
      units: floats(golden, `${name}.units`),
      scales: shorts(golden, `${name}.scales`),
      ...(kind === "symmetric" ? {} : { zeroCodes: bytes(golden, `${name}.zero_codes`) }),
      ...(layout.second
        ? {
          second: {
            base: shorts(golden, `${name}.base`),
            step: shorts(golden, `${name}.step`),
            codes: bytes(golden, `${name}.scale_codes`),
          },
        }
        : {}),
    };
    const codes = bytes(golden, `${name}.codes`);
    const into = new Uint8Array(layout.bytes + 64).fill(255);
    pack(layout, grid, codes, into);
    assertSame(into.subarray(0, layout.bytes), blob, "blob");
    assert(into.subarray(layout.bytes).every((byte) => byte === 255), "wrote beyond its end");
    checkPacked(layout, blob, name);
    assertEquals(unpack(layout, blob), { grid, codes });
  });
}

Deno.test("what was packed unpacks to the same grid, codes and weights", () => {
  fc.assert(
    fc.property(fitted, ({ format, rows, columns, seed }) => {
      const weights = weightsOf(rows, columns, seed);
      const grid = gridOf(format, rows, columns, weights);
      const random = new Random(seed);
      const codes = codesOn(grid, weights).map((code) =>
        random.integer(4) === 0 ? random.integer(2 ** format.bits) : code
      );
      const layout = layoutOf(format, rows, columns);
      const blob = new Uint8Array(layout.bytes);
      pack(layout, grid, codes, blob);
      checkPacked(layout, blob, "test");
      const back = unpack(layout, blob);
      assertSame(back.codes, codes, "codes");
      assertSame(back.grid.scales, grid.scales, "scales");
      assertSame(back.grid.units, grid.units, "units");
      assertEquals(back.grid.zeroCodes, grid.zeroCodes);
      if (layout.second) assertEquals(back.grid.second, grid.second);
      assertSame(dequantize(back.grid, back.codes), dequantize(grid, codes), "weights");
    }),
    { seed: 1, numRuns: 200 },
  );
});

Deno.test("a blob at any address packs alike", () => {
  const format = parseFormat("w3g16q8");
  const layout = layoutOf(format, 8, 64);
  const weights = weightsOf(8, 64, 3);
  const grid = gridOf(format, 8, 64, weights);
  const codes = codesOn(grid, weights);
  const whole = new Uint8Array(layout.bytes);
  pack(layout, grid, codes, whole);
  const odd = new Uint8Array(layout.bytes + 3).subarray(3);
  pack(layout, grid, codes, odd);
  assertSame(odd, whole, "blob");
  assertEquals(unpack(layout, odd), unpack(layout, whole));
});

Deno.test("grids and codes that do not match the layout are refused and nothing is written", () => {
  const format = parseFormat("w2g16q8");
  const weights = weightsOf(8, 64, 3);
  const grid = gridOf(format, 8, 64, weights);
  const codes = codesOn(grid, weights);
  const layout = layoutOf(format, 8, 64);
  const second = grid.second!;
  const wrong: [Grid, Uint8Array][] = [
    [{ ...grid, rows: 16 }, codes],
    [{ ...grid, format: parseFormat("w2g32q8") }, codes],
    [{ ...grid, scales: grid.scales.map(() => 0) }, codes],
    [{ ...grid, scales: grid.scales.slice(1) }, codes],
    [{ ...grid, units: new Float32Array(2) }, codes],
    [{ ...grid, zeroCodes: grid.zeroCodes!.map(() => 4) }, codes],
    [{ ...grid, second: { ...second, codes: second.codes.map(() => 16) } }, codes],
    [{ ...grid, second: { ...second, base: second.base.slice(1) } }, codes],
    [grid, codes.map(() => 4)],
    [grid, codes.slice(1)],
  ];
  const into = new Uint8Array(layout.bytes).fill(7);
  for (const [otherGrid, otherCodes] of wrong) {
    assertThrows(() => pack(layout, otherGrid, otherCodes, into), LobitError);
  }
  const { second: _, ...lacking } = grid;
  assertThrows(() => pack(layout, lacking, codes, into), LobitError);
  assert(into.every((byte) => byte === 7));
  const short = into.subarray(1);
  assertThrows(() => pack(layout, grid, codes, short), LobitError, "bytes");
  assertThrows(() => unpack(layout, short), LobitError, "bytes");
});

Deno.test("damaged blobs are refused or unpack to a grid within its limits", () => {
  let refused = 0;
  for (const name of ["w2g16q8", "w3g48q12", "w4g32q24", "s4g32", "s8g64"]) {
    const format = parseFormat(name);
    const [rows, columns] = [24, 192];
    const weights = weightsOf(rows, columns, 5);
    const grid = gridOf(format, rows, columns, weights);
    const layout = layoutOf(format, rows, columns);
    const blob = new Uint8Array(layout.bytes);
    pack(layout, grid, codesOn(grid, weights), blob);
    const random = new Random(6);
    for (let round = 0; round < 500; round++) {
      const damaged = blob.slice();
      const end = random.integer(2) ? layout.codes.offset : layout.bytes;
      for (let hit = random.integer(4); hit >= 0; hit--) {
        damaged[random.integer(end)] = random.integer(256);
      }
      const cut = random.integer(20) === 0 ? damaged.subarray(0, random.integer(end)) : damaged;
      try {
        checkPacked(layout, cut, "layer 3");
      } catch (error) {
        assert(error instanceof LobitError && error.code === "bad-file");
        assert(error.message.startsWith("layer 3: "));
        refused++;
        continue;
      }
      const back = unpack(layout, cut);
      assert(back.grid.scales.every((scale) => scale >= 0 && scale <= SCALE_LIMIT));
      assert(back.codes.every((code) => code < 2 ** format.bits));
      assert(dequantize(back.grid, back.codes).every(Number.isFinite));
    }
  }
  assert(refused > 200 && refused < 2400, `${refused} refused`);
});
