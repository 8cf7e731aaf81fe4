/** PNG decoding: every colour type, depth, filter and interlacing against the samples that were written. */
import { assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../../src/base/errors.ts";
import { Random } from "../../../src/base/random.ts";
import { decodeImage } from "../../../src/input/image/decode.ts";
import { joinChunks, splitChunks, writePng } from "./png_writer.ts";

const KINDS = [
  [0, 1],
  [0, 2],
  [0, 4],
  [0, 8],
  [0, 16],
  [2, 8],
  [2, 16],
  [3, 1],
  [3, 2],
  [3, 4],
  [
    3,
    8,
  ],
  [4, 8],
  [4, 16],
  [6, 8],
  [6, 16],
] as const;

Deno.test("every PNG colour type and depth decodes to the written colours, interlaced or not", () => {
  const random = new Random(1);
  // Sizes at which some of Adam7's passes are empty or end within a byte.
  const sizes = [[1, 1], [3, 2], [5, 9], [17, 13], [33, 8]] as const;
  for (const [colorType, depth] of KINDS) {
    for (const [width, height] of sizes) {
      for (const interlaced of [false, true]) {
        const samples = Array.from(
          { length: 4 * width * height },
          () => random.integer(2 ** depth),
        );
        const palette = Uint8Array.from(
          { length: 3 * 2 ** Math.min(depth, 8) },
          () => random.integer(256),
        );
        const sample = (column: number, row: number, channel: number) =>
          samples[4 * (row * width + column) + channel]!;
        const before = colorType === 3 ? [{ type: "PLTE", body: palette }] : [];
        const file = writePng({ width, height, depth, colorType, interlaced, before, sample });
        const expected = new Uint8Array(3 * width * height);
        for (let i = 0; i < expected.length; i++) {
          const pixel = Math.floor(i / 3);
          const value = samples[4 * pixel + (colorType === 2 || colorType === 6 ? i % 3 : 0)]!;
          if (colorType === 3) expected[i] = palette[3 * value + i % 3]!;
          else expected[i] = depth === 16 ? value >> 8 : value * 255 / (2 ** depth - 1);
        }
        const image = decodeImage(file, `${colorType}-${depth}-${width}-${interlaced}`);
        assertEquals([image.width, image.height], [width, height]);
        assertEquals(image.data, expected);
      }
    }
  }
});

const GREY = writePng({ width: 6, height: 4, depth: 8, colorType: 0, sample: (x, y) => 9 * x + y });

Deno.test("pixels split over many IDAT chunks are one stream", () => {
  const chunks = splitChunks(GREY).flatMap((chunk) =>
    chunk.type === "IDAT"
      ? [...chunk.body].map((byte) => ({ type: "IDAT", body: Uint8Array.of(byte) }))
      : [chunk]
  );
  assertEquals(decodeImage(joinChunks(chunks), "split").data, decodeImage(GREY, "grey").data);
});

Deno.test("an EXIF chunk turns a PNG upright", () => {
  const chunks = splitChunks(GREY);
  const tiff = [0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0];
  chunks.splice(1, 0, { type: "eXIf", body: Uint8Array.from(tiff) });
  const image = decodeImage(joinChunks(chunks), "turned");
  assertEquals([image.width, image.height], [4, 6]);
  // Turned clockwise, the stored left column is the first row from right to left.
  assertEquals([...image.data.subarray(0, 12)].filter((_, i) => i % 3 === 0), [3, 2, 1, 0]);
});

Deno.test("palette entries that a PNG lacks are black", () => {
  const before = [{ type: "PLTE", body: Uint8Array.of(10, 20, 30) }];
  const file = writePng({ width: 2, height: 1, depth: 8, colorType: 3, before, sample: (x) => x });
  assertEquals([...decodeImage(file, "short palette").data], [10, 20, 30, 0, 0, 0]);
});

Deno.test("a wrong checksum, a second header or a missing palette is reported", () => {
  const flipped = GREY.slice();
  flipped[flipped.length - 20]! ^= 1;
  assertThrows(() => decodeImage(flipped, "x"), LobitError, "checksum of its IDAT");
  const chunks = splitChunks(GREY);
  assertThrows(
    () => decodeImage(joinChunks([chunks[0]!, ...chunks]), "x"),
    LobitError,
    "two IHDR chunks",
  );
  chunks[0]!.body[9] = 3;
  assertThrows(() => decodeImage(joinChunks(chunks), "x"), LobitError, "it has none");
});

Deno.test("a PNG cut off anywhere before its last chunk gives a bad-file error", () => {
  for (let length = 8; length < GREY.length - 12; length++) {
    const error = assertThrows(() => decodeImage(GREY.subarray(0, length), "cut"), LobitError);
    assertEquals(error.code, "bad-file");
  }
});

Deno.test("a small PNG that declares a huge size is refused before memory is reserved", () => {
  const chunks = splitChunks(GREY);
  const header = new DataView(chunks[0]!.body.buffer);
  const sizes: [number, number, string][] = [
    [7000, 7000, "cannot hold the 49007000 bytes"],
    [65535, 65535, "more than the 50000000 allowed"],
    [4294967295, 1, "a side may have at most 65535"],
    [0, 4, "at least 1"],
  ];
  for (const [width, height, message] of sizes) {
    header.setUint32(0, width);
    header.setUint32(4, height);
    assertThrows(() => decodeImage(joinChunks(chunks), "huge"), LobitError, message);
  }
});

Deno.test("pixels that inflate beyond the declared size are cut off, not collected", () => {
  const large = { width: 4000, height: 4000, depth: 1, colorType: 0, sample: () => 0 };
  const chunks = splitChunks(writePng(large));
  new DataView(chunks[0]!.body.buffer).setUint32(0, 8);
  new DataView(chunks[0]!.body.buffer).setUint32(4, 2);
  const image = decodeImage(joinChunks(chunks), "bomb");
  assertEquals(image.data.length, 3 * 8 * 2);
});
