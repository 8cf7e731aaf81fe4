/**
 * JPEG decoding against Pillow's pixels: the goldens, and `fixtures/` (a photograph of scikit-image, cut to 47 x 41,
 * written by libjpeg-turbo and Pillow in rarer kinds, each beside its pixels by Pillow as PNG).
 */
import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { LobitError } from "../../../src/base/errors.ts";
import { decodeImage, type RgbImage } from "../../../src/input/image/decode.ts";
import { goldenTensor, readGolden } from "../../testing/goldens.ts";

const TESTS = new URL("../../", import.meta.url);

function read(path: string): Uint8Array {
  return Deno.readFileSync(new URL(path, TESTS));
}

function assertClose(actual: RgbImage, expected: RgbImage, maxMean: number, max: number): void {
  assertEquals([actual.width, actual.height], [expected.width, expected.height]);
  assertEquals(actual.data.length, expected.data.length);
  let sum = 0;
  let largest = 0;
  for (let i = 0; i < actual.data.length; i++) {
    const difference = Math.abs(actual.data[i]! - expected.data[i]!);
    sum += difference;
    largest = Math.max(largest, difference);
  }
  assertLessOrEqual(sum / actual.data.length, maxMean);
  assertLessOrEqual(largest, max);
}

Deno.test("JPEG pixels are Pillow's up to the rounding of the inverse transform", () => {
  const golden = readGolden("jpeg/pixels.safetensors");
  const names = Object.keys(golden.cases);
  assertEquals(names.length, 10);
  for (const name of names) {
    const { width, height, max_mean_difference } = golden.cases[name];
    const data = goldenTensor(golden, name).data as Uint8Array;
    // Ours is far inside the golden's tolerance, which allows for cruder chroma.
    const tolerance = Math.min(max_mean_difference, 0.25);
    const decoded = decodeImage(read(`goldens/jpeg/${name}.jpg`), name);
    assertClose(decoded, { width, height, data }, tolerance, 4);
  }
});

Deno.test("rarer JPEGs (4:4:0, 4:1:1, progressive with restarts, RGB, CMYK, tiny) look as in Pillow", () => {
  const kinds = ["chroma_440", "chroma_411", "progressive_444_restart", "rgb", "cmyk", "tiny_420"];
  for (const kind of kinds) {
    const path = `input/image/fixtures/${kind}`;
    const expected = decodeImage(read(`${path}.png`), kind);
    assertClose(decodeImage(read(`${path}.jpg`), kind), expected, 0.25, 4);
  }
});

Deno.test("all eight EXIF orientations turn the picture upright", () => {
  for (let orientation = 1; orientation <= 8; orientation++) {
    const path = `input/image/fixtures/orientation_${orientation}`;
    const expected = decodeImage(read(`${path}.png`), path);
    assertClose(decodeImage(read(`${path}.jpg`), path), expected, 0.25, 4);
  }
});

Deno.test("a damaged EXIF block leaves the picture as it is stored", () => {
  const file = read("input/image/fixtures/orientation_6.jpg");
  const exif = file.findIndex((_, i) =>
    String.fromCharCode(...file.subarray(i, i + 6)) === "Exif\0\0"
  );
  for (const [offset, value] of [[0, 0x20], [3, 1], [4, 255], [8, 255], [10, 0], [13, 7]]) {
    const copy = file.slice();
    copy[exif + 6 + offset!] = value!;
    const { width, height, data } = decodeImage(copy, "copy");
    assertEquals(width * height, 24 * 16);
    assertEquals(data.length, 3 * 24 * 16);
  }
  const upright = file.slice();
  upright[exif + 6] = 0x20;
  assertEquals(decodeImage(upright, "upright").width, 24);
});

Deno.test("a JPEG followed by other data or without an end marker still decodes", () => {
  const file = read("input/image/fixtures/tiny_420.jpg");
  const expected = decodeImage(file, "tiny").data;
  assertEquals(decodeImage(new Uint8Array([...file, ...file]), "doubled").data, expected);
  assertEquals(decodeImage(file.subarray(0, -2), "no end").data, expected);
});

Deno.test("a JPEG cut off anywhere before its end gives a bad-file error that names the file", () => {
  const file = read("input/image/fixtures/progressive_444_restart.jpg");
  // The end marker itself may be missing, and the last coded bytes may be padding.
  for (let length = 3; length < file.length - 4; length += 7) {
    const error = assertThrows(() => decodeImage(file.subarray(0, length), "cut.jpg"), LobitError);
    assertEquals(error.code, "bad-file");
    assert(error.message.startsWith("cut.jpg: "));
  }
});

Deno.test("a small JPEG that declares a huge size is refused before it is decoded", () => {
  const file = read("goldens/jpeg/baseline_420.jpg").slice();
  const frame = file.findIndex((byte, i) => byte === 0xff && file[i + 1] === 0xc0);
  file.set([0x1b, 0x58, 0x1b, 0x58], frame + 5);
  assertThrows(() => decodeImage(file, "huge.jpg"), LobitError, "cannot hold the 7000 x 7000");
  file.set([0xff, 0xff, 0xff, 0xff], frame + 5);
  assertThrows(() => decodeImage(file, "huge.jpg"), LobitError, "more than the 50000000 allowed");
});

Deno.test("the caller's pixel limit holds for JPEG and PNG", () => {
  const path = "input/image/fixtures/rgb";
  for (const kind of ["jpg", "png"]) {
    const file = read(`${path}.${kind}`);
    assertEquals(decodeImage(file, kind, { maxPixels: 47 * 41 }).width, 47);
    assertThrows(
      () => decodeImage(file, kind, { maxPixels: 47 * 41 - 1 }),
      LobitError,
      "47 x 41 pixels, more than the 1926 allowed",
    );
  }
});

Deno.test("a JPEG with a thousand scans is refused", () => {
  const file = read("input/image/fixtures/progressive_444_restart.jpg");
  const scan = file.findIndex((byte, i) => byte === 0xff && file[i + 1] === 0xda);
  const header = [...file.subarray(scan, scan + 2 + file[scan + 3]!)];
  const many = Array.from({ length: 1000 }, () => header).flat();
  const bomb = new Uint8Array([...file.subarray(0, scan), ...many, ...file.subarray(scan)]);
  assertThrows(() => decodeImage(bomb, "bomb.jpg"), LobitError, "more than 100 scans");
});

/** Where a marker's segment begins. */
function segment(file: Uint8Array, marker: number): number {
  return file.findIndex((byte, i) => byte === 0xff && file[i + 1] === marker);
}

Deno.test("components named R, G, B are colours even if no segment says so", () => {
  const file = read("input/image/fixtures/rgb.jpg");
  const adobe = segment(file, 0xee);
  const rest = adobe + 2 + file[adobe + 3]!;
  const bare = new Uint8Array([...file.subarray(0, adobe), ...file.subarray(rest)]);
  assertEquals(decodeImage(bare, "bare").data, decodeImage(file, "rgb").data);
});

Deno.test("four components without a segment that names their colours are refused", () => {
  const file = read("input/image/fixtures/cmyk.jpg");
  const adobe = segment(file, 0xee);
  const rest = adobe + 2 + file[adobe + 3]!;
  const bare = new Uint8Array([...file.subarray(0, adobe), ...file.subarray(rest)]);
  assertThrows(() => decodeImage(bare, "bare"), LobitError, "convert it to RGB");
});

Deno.test("impossible segment lengths and scan headers are reported as such", () => {
  const file = read("goldens/jpeg/baseline_420.jpg");
  const table = segment(file, 0xdb);
  for (const length of [[0, 0], [0, 1], [0xff, 0xff]]) {
    const damaged = file.slice();
    damaged.set(length, table + 2);
    assertThrows(() => decodeImage(damaged, "x"), LobitError, "impossible length");
  }
  const scan = segment(file, 0xda);
  const twice = file.slice();
  twice[scan + 7] = twice[scan + 5]!;
  assertThrows(() => decodeImage(twice, "x"), LobitError, "names wrong components");
});

Deno.test("files of other kinds are named in the error", () => {
  const text = (content: string) => new TextEncoder().encode(content);
  const kinds: [Uint8Array, string][] = [
    [text("RIFF\x10\0\0\0WEBPVP8L"), "WebP"],
    [text("GIF89a\x01\0"), "GIF"],
    [text("%PDF-1.7"), "PDF"],
    [text("hello"), "neither"],
    [new Uint8Array(0), "empty"],
  ];
  for (const [bytes, word] of kinds) {
    const error = assertThrows(() => decodeImage(bytes, "picture"), LobitError, word);
    assertEquals(error.code, "bad-file");
  }
});
