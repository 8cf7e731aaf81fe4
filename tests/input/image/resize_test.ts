/** Bicubic resize: properties that hold for every picture. Equality with Pillow is tested through the tiles. */
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../../src/base/errors.ts";
import { Random } from "../../../src/base/random.ts";
import { resizeImage } from "../../../src/input/image/resize.ts";

const side = fc.integer({ min: 1, max: 40 });
const options = { seed: 1, numRuns: 200 };

function noise(seed: number, width: number, height: number): Uint8Array {
  const random = new Random(seed);
  return Uint8Array.from({ length: 3 * width * height }, () => random.integer(256));
}

Deno.test("a picture that already has the size is returned untouched", () => {
  fc.assert(
    fc.property(fc.nat(), side, side, (seed, width, height) => {
      const image = { width, height, data: noise(seed, width, height) };
      const before = image.data.slice();
      assertStrictEquals(resizeImage(image, width, height), image);
      assertEquals(image.data, before);
    }),
    options,
  );
});

Deno.test("a picture of one colour keeps that colour at every size", () => {
  const byte = fc.integer({ min: 0, max: 255 });
  fc.assert(
    fc.property(fc.tuple(byte, byte, byte), side, side, side, side, (color, w, h, toW, toH) => {
      const data = Uint8Array.from({ length: 3 * w * h }, (_, i) => color[i % 3]!);
      const resized = resizeImage({ width: w, height: h, data }, toW, toH);
      assertEquals([resized.width, resized.height], [toW, toH]);
      assertEquals(resized.data.length, 3 * toW * toH);
      assert(resized.data.every((value, i) => value === color[i % 3]));
    }),
    options,
  );
});

Deno.test("mirroring a picture and resizing it commute", () => {
  fc.assert(
    fc.property(fc.nat(), side, side, side, side, (seed, w, h, toW, toH) => {
      const image = { width: w, height: h, data: noise(seed, w, h) };
      const turn = (picture: typeof image) => {
        const data = new Uint8Array(picture.data.length);
        for (let i = 0; i < data.length; i += 3) {
          data.set(picture.data.subarray(i, i + 3), data.length - 3 - i);
        }
        return { ...picture, data };
      };
      const one = turn(resizeImage(image, toW, toH)).data;
      const other = resizeImage(turn(image), toW, toH).data;
      // Window borders are computed from the left, so a weight may round differently: one step at most per pass.
      assert(one.every((value, i) => Math.abs(value - other[i]!) <= 2));
    }),
    options,
  );
});

Deno.test("impossible sizes are refused", () => {
  const image = { width: 1, height: 1, data: new Uint8Array(3) };
  for (const size of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => resizeImage(image, size, 4), LobitError);
    assertThrows(() => resizeImage(image, 4, size), LobitError);
  }
});
