/**
 * Hostile pictures: thousands of mutated files from fixed seeds. Each must give a picture whose size fits its bytes,
 * or a LobitError of code bad-file that names the file; a hang or another error fails the test.
 */
import { assert, assertEquals, assertGreater, assertInstanceOf } from "@std/assert";
import { LobitError } from "../../../src/base/errors.ts";
import { Random } from "../../../src/base/random.ts";
import { decodeImage } from "../../../src/input/image/decode.ts";
import { type Chunk, joinChunks, splitChunks, writePng } from "./png_writer.ts";

const ROUNDS = 3000;
const EXTREMES = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff];

/** Decodes a mutated file and says whether it gave a picture. */
function survives(file: Uint8Array, mostPixelsPerByte: number): boolean {
  try {
    const { width, height, data } = decodeImage(file, "hostile");
    assert(width >= 1 && height >= 1);
    assertEquals(data.length, 3 * width * height);
    assert(width * height <= mostPixelsPerByte * file.length, `${width} x ${height}`);
    return true;
  } catch (error) {
    assertInstanceOf(error, LobitError);
    assertEquals(error.code, "bad-file");
    assert(error.message.startsWith("hostile: "), error.message);
    return false;
  }
}

/** Changes a few bits or bytes, cuts, or repeats a stretch; the input stays as it is. */
function mutateBytes(file: Uint8Array, random: Random): Uint8Array {
  const kind = random.integer(5);
  if (kind === 0) return file.slice(0, random.integer(file.length));
  if (kind === 1) {
    const from = random.integer(file.length);
    const to = Math.min(file.length, from + 1 + random.integer(64));
    return new Uint8Array([...file.subarray(0, to), ...file.subarray(from)]);
  }
  const out = file.slice();
  for (let i = 0; i <= random.integer(6) && out.length > 0; i++) {
    const at = random.integer(out.length);
    out[at] = kind === 2
      ? EXTREMES[random.integer(EXTREMES.length)]!
      : out[at]! ^ (1 << random.integer(8));
  }
  return out;
}

/** Mutates chunks or their bodies and puts right checksums on them, so that the damage reaches the decoder. */
function mutateChunks(file: Uint8Array, random: Random): Uint8Array {
  const chunks: Chunk[] = splitChunks(file);
  const at = random.integer(chunks.length);
  const chunk = chunks[at]!;
  const kind = random.integer(6);
  if (kind === 0) chunks.splice(random.integer(chunks.length), 0, chunk);
  else if (kind === 1) chunks.splice(at, 1);
  else if (kind === 2) random.shuffle(chunks);
  else chunk.body = mutateBytes(chunk.body, random);
  const out = joinChunks(chunks);
  if (random.integer(8) === 0 && out.length > 12) {
    out.set([0x7f, 0xff, 0xff, 0xff], 8 + random.integer(out.length - 12));
  }
  return out;
}

Deno.test(`${ROUNDS} hostile PNGs give a picture or a bad-file error`, () => {
  const sample = (x: number, y: number, channel: number) => (x * 7 + y * 3 + channel) & 1;
  const before = [{ type: "PLTE", body: Uint8Array.of(1, 2, 3, 4, 5, 6) }];
  const size = { width: 13, height: 9, sample };
  const seeds = [
    writePng({ ...size, depth: 8, colorType: 2 }),
    writePng({ ...size, depth: 1, colorType: 3, before }),
    writePng({ ...size, depth: 4, colorType: 0, interlaced: true }),
    writePng({ ...size, depth: 16, colorType: 6, interlaced: true }),
    writePng({ ...size, depth: 8, colorType: 4 }),
  ];
  const random = new Random(20);
  let good = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const seed = seeds[round % seeds.length]!;
    const mutate = round % 4 === 0 ? mutateBytes : mutateChunks;
    // DEFLATE gives at most 1,032 bytes for one, and a byte holds eight pixels.
    if (survives(mutate(seed, random), 8 * 1032)) good++;
  }
  // Both outcomes must occur often, or the mutations are too weak or too strong to say anything.
  assertGreater(good, ROUNDS / 20);
  assertGreater(ROUNDS - good, ROUNDS / 5);
});

/** Where a JPEG's marker segments begin. */
function markers(file: Uint8Array): number[] {
  const found = [];
  for (let i = 0; i + 1 < file.length; i++) {
    if (file[i] === 0xff && file[i + 1]! >= 0xc0) found.push(i);
  }
  return found;
}

/** Mutates near markers, where lengths, sizes and tables are; or duplicates, drops or swaps whole segments. */
function mutateSegments(file: Uint8Array, random: Random): Uint8Array {
  const starts = markers(file);
  const index = random.integer(starts.length);
  const start = starts[index]!;
  const end = starts[index + 1] ?? file.length;
  const kind = random.integer(6);
  if (kind === 0) {
    return new Uint8Array([...file.subarray(0, end), ...file.subarray(start)]);
  }
  if (kind === 1) return new Uint8Array([...file.subarray(0, start), ...file.subarray(end)]);
  const out = file.slice();
  if (kind === 2) {
    out.set([random.integer(256), random.integer(256)].slice(0, out.length - start - 2), start + 2);
    return out;
  }
  for (let i = 0; i <= random.integer(4); i++) {
    const at = Math.min(start + 1 + random.integer(24), out.length - 1);
    out[at] = kind === 3 ? EXTREMES[random.integer(EXTREMES.length)]! : random.integer(256);
  }
  return out;
}

Deno.test(`${ROUNDS} hostile JPEGs give a picture or a bad-file error`, () => {
  const names = ["orientation_6", "progressive_444_restart", "cmyk", "tiny_420", "chroma_440"];
  const seeds = names.map((name) =>
    Deno.readFileSync(new URL(`fixtures/${name}.jpg`, import.meta.url))
  );
  const random = new Random(21);
  let good = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const seed = seeds[round % seeds.length]!;
    const mutate = round % 3 === 0 ? mutateBytes : mutateSegments;
    // A block costs at least one bit and covers 64 pixels, or up to 4 x 4 times that where it is chroma.
    if (survives(mutate(seed, random), 8 * 64 * 16)) good++;
  }
  assertGreater(good, ROUNDS / 20);
  assertGreater(ROUNDS - good, ROUNDS / 5);
});
