/** Tiling against InternVL's own preprocessing with Pillow, and the grid plan's properties. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../../src/base/errors.ts";
import { decodeImage, type RgbImage } from "../../../src/input/image/decode.ts";
import { planTiles, tileImage } from "../../../src/input/image/tiles.ts";
import { goldenTensor, readGolden } from "../../testing/goldens.ts";

function crop(image: RgbImage, box: number[] | null): RgbImage {
  if (!box) return image;
  const [left, top, right, bottom] = box as [number, number, number, number];
  const [width, height] = [right - left, bottom - top];
  const data = new Uint8Array(3 * width * height);
  for (let row = 0; row < height; row++) {
    const from = 3 * ((top + row) * image.width + left);
    data.set(image.data.subarray(from, from + 3 * width), 3 * row * width);
  }
  return { width, height, data };
}

Deno.test("tiles equal InternVL's with Pillow on every pixel", () => {
  const golden = readGolden("preprocess.safetensors");
  const names = Object.keys(golden.cases);
  assertEquals(names.length, 16);
  const sources = new Map<string, RgbImage>();
  for (const name of names) {
    const { source, crop: box, image_size, max_tiles, tiles: count } = golden.cases[name];
    if (!sources.has(source)) {
      const url = new URL(`../../images/${source}`, import.meta.url);
      sources.set(source, decodeImage(Deno.readFileSync(url), source));
    }
    const image = crop(sources.get(source)!, box);
    const tiles = tileImage(image, { imageSize: image_size, maxTiles: max_tiles });
    const expected = goldenTensor(golden, name).data;
    assertEquals(tiles.count, count, name);
    assertEquals(tiles.data.length, expected.length, name);
    // The goal is 1/255 on every pixel and equality on 99.9 %. Both sides are integer arithmetic, so all are equal.
    assert(tiles.data.every((value, k) => value === expected[k]), name);
  }
});

Deno.test("on equal distance a larger grid wins only if the picture has the pixels for it", () => {
  const options = { imageSize: 448, maxTiles: 12 };
  const grid = (width: number, height: number) => {
    const { columns, rows, count } = planTiles(width, height, options);
    return [columns, rows, count];
  };
  assertEquals(grid(448, 448), [1, 1, 1]);
  assertEquals(grid(633, 633), [1, 1, 1]);
  // Half the pixels of 2 x 2 tiles are 401,408: 633 squared is less, 634 squared more.
  assertEquals(grid(634, 634), [2, 2, 5]);
  assertEquals(grid(4000, 4000), [3, 3, 10]);
  assertEquals(grid(200, 100), [2, 1, 3]);
  assertEquals(grid(2000, 1000), [4, 2, 9]);
  assertEquals(grid(10000, 1), [12, 1, 13]);
  assertEquals(grid(1, 10000), [1, 12, 13]);
});

Deno.test("no other allowed grid is closer to the picture's aspect ratio", () => {
  const side = fc.integer({ min: 1, max: 5000 });
  const most = fc.integer({ min: 1, max: 24 });
  fc.assert(
    fc.property(side, side, most, most, (width, height, one, other) => {
      const [minTiles, maxTiles] = [Math.min(one, other), Math.max(one, other)];
      const plan = planTiles(width, height, { imageSize: 448, maxTiles, minTiles });
      const inGrid = plan.columns * plan.rows;
      assert(inGrid >= minTiles && inGrid <= maxTiles);
      assertEquals(plan.count, inGrid > 1 ? inGrid + 1 : 1);
      const distance = (columns: number, rows: number) => Math.abs(width / height - columns / rows);
      for (let columns = 1; columns <= maxTiles; columns++) {
        for (let rows = 1; rows * columns <= maxTiles; rows++) {
          if (rows * columns < minTiles) continue;
          assert(distance(columns, rows) >= distance(plan.columns, plan.rows));
        }
      }
    }),
    { seed: 1, numRuns: 300 },
  );
});

Deno.test("without a thumbnail the tiles are the grid alone, in the same order", () => {
  const url = new URL("../../images/chelsea.png", import.meta.url);
  const image = decodeImage(Deno.readFileSync(url), "chelsea.png");
  const options = { imageSize: 56, maxTiles: 6 };
  const whole = tileImage(image, options);
  const grid = tileImage(image, { ...options, thumbnail: false });
  assertEquals([whole.count, grid.count], [7, 6]);
  assertEquals([whole.columns, whole.rows, whole.size], [3, 2, 56]);
  assertEquals(grid.data, whole.data.subarray(0, grid.data.length));
});

Deno.test("impossible tiling options are refused", () => {
  const bad = [
    { imageSize: 0, maxTiles: 1 },
    { imageSize: 448, maxTiles: 0 },
    { imageSize: 448, maxTiles: 2.5 },
    { imageSize: 448, maxTiles: 2, minTiles: 3 },
    { imageSize: 448, maxTiles: 1e9 },
  ];
  for (const options of bad) {
    const error = assertThrows(() => planTiles(10, 10, options), LobitError);
    assertEquals(error.code, "bad-request");
  }
  assertThrows(() => planTiles(0, 10, { imageSize: 448, maxTiles: 1 }), LobitError);
});
