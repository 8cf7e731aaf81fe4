// The released grid against the released quantizer's numbers (tests/goldens/bilevel.safetensors).

import { assert, assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import {
  type BilevelFormat,
  referenceGradient,
  type ReferenceGrid,
  referenceGrid,
} from "../../src/formats/mod.ts";
import { readGolden } from "../testing/goldens.ts";
import { assertSame, bytes, floats, ulps } from "./support.ts";

const golden = readGolden("bilevel.safetensors");

function gridOfCase(name: string): { format: BilevelFormat; grid: ReferenceGrid } {
  const { bits, group, second_group, rows, cols } = golden.cases[name];
  const format: BilevelFormat = { kind: "bilevel", bits, group, secondGroup: second_group };
  return { format, grid: referenceGrid(format, rows, cols, floats(golden, `${name}.weight`)) };
}

function assertWithinUlp(found: Float32Array, expected: Float32Array, what: string) {
  assertEquals(found.length, expected.length);
  const worst = expected.reduce((most, value, i) => Math.max(most, ulps(found[i]!, value)), 0);
  assert(worst <= 1, `${what} differs by ${worst} ulp`);
}

for (const name of Object.keys(golden.cases)) {
  Deno.test(`the reference grid of ${name} equals the released quantizer's`, () => {
    const { grid } = gridOfCase(name);
    assertSame(grid.codes, bytes(golden, `${name}.codes`), "codes");
    assertSame(grid.zeroCodes, bytes(golden, `${name}.zero_codes`), "zero codes");
    assertSame(grid.scaleCodes, bytes(golden, `${name}.scale_codes`), "scale codes");
    assertWithinUlp(grid.scale, floats(golden, `${name}.scale`), "scale");
    assertWithinUlp(grid.secondScale, floats(golden, `${name}.second_scale`), "second scale");
    assertWithinUlp(grid.secondZero, floats(golden, `${name}.second_zero`), "second zero");
    assertWithinUlp(grid.dequantized, floats(golden, `${name}.dequantized`), "dequantized");
  });

  Deno.test(`the straight-through gradient of ${name} equals the released one`, () => {
    const { format, grid } = gridOfCase(name);
    const weights = floats(golden, `${name}.weight`);
    const gradient = referenceGradient(format, grid, weights, floats(golden, `${name}.upstream`));
    const expected = floats(golden, `${name}.weight_grad`);
    assertSame(gradient, expected, "gradient");
    assert(expected.some((value) => value === 0) && expected.some((value) => value !== 0));
  });
}

Deno.test("the reference grid keeps equal scales and refuses weights that are no numbers", () => {
  const format: BilevelFormat = { kind: "bilevel", bits: 2, group: 16, secondGroup: 8 };
  const weights = Float32Array.from({ length: 8 * 16 }, (_, i) => (i % 4) - 1);
  const grid = referenceGrid(format, 8, 16, weights);
  assertSame(grid.dequantized, weights, "weights on the grid");
  weights[7] = NaN;
  assertThrows(() => referenceGrid(format, 8, 16, weights), LobitError, "row 0, columns 0 to 15");
});
