import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { bufferSink, bufferSource } from "../../src/io/bytes.ts";
import { openFile } from "../../src/io/host.ts";
import {
  byteSize,
  type Dtype,
  DTYPE_BYTES,
  readHeader,
  type SafetensorsHeader,
  writeSafetensors,
} from "../../src/io/safetensors.ts";
import { readGolden } from "../testing/goldens.ts";
import { headerFor, testPath } from "../testing/folders.ts";
import { damageBytes, damageJson } from "../testing/damage.ts";

const POCKET = testPath("models/pocket-internvl/model.safetensors");

/** A file of the given header text followed by `dataSize` zero bytes. */
function fileOf(header: string | Uint8Array, dataSize: number): Uint8Array<ArrayBuffer> {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + dataSize);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

function header(tensors: Record<string, unknown>, dataSize: number): Promise<SafetensorsHeader> {
  return readHeader(bufferSource(fileOf(JSON.stringify(tensors), dataSize), "x.safetensors"));
}

/** What every header that was accepted must fulfil. */
function checkHeader({ tensors }: SafetensorsHeader, size: number): void {
  let end: number | undefined;
  for (const [name, entry] of tensors) {
    assert(end === undefined || entry.begin === end, name);
    assertEquals(byteSize(entry.dtype, entry.shape), entry.end - entry.begin, name);
    end = entry.end;
  }
  assert(end === undefined || end === size);
}

Deno.test("every tensor of a golden file lies where an independent reader finds it", async () => {
  const name = "losses.safetensors";
  const golden = readGolden(name);
  const source = openFile(testPath(`goldens/${name}`));
  const { tensors, metadata } = await readHeader(source);
  assertEquals([...tensors.keys()].sort(), [...golden.tensors.keys()].sort());
  assertEquals(JSON.parse(metadata.get("cases")!), golden.cases);
  for (const [name, { begin, end, shape, dtype }] of tensors) {
    const wanted = golden.tensors.get(name)!;
    assertEquals([dtype, shape], [wanted.dtype as Dtype, wanted.shape]);
    const bytes = new Uint8Array(end - begin);
    await source.read(begin, bytes);
    const { buffer, byteOffset, byteLength } = wanted.data;
    assertEquals(bytes, new Uint8Array(buffer, byteOffset, byteLength));
  }
  source.close();
});

Deno.test("what is written is read back, and each tensor starts at a multiple of its size's power of two", async () => {
  const tensor = fc.record({
    dtype: fc.constantFrom(...Object.keys(DTYPE_BYTES) as Dtype[]),
    shape: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 4 }),
    pieces: fc.integer({ min: 1, max: 4 }),
    fill: fc.integer({ min: 0, max: 255 }),
  });
  const files = fc.dictionary(fc.string({ unit: "binary", maxLength: 12 }), tensor, { maxKeys: 8 });
  const texts = fc.dictionary(fc.string(), fc.string({ unit: "binary" }), { maxKeys: 3 });
  await fc.assert(
    fc.asyncProperty(files, texts, async (wanted, metadata) => {
      const sink = bufferSink("out");
      const entries = Object.entries(wanted).filter(([name]) => name !== "__metadata__");
      await writeSafetensors(
        sink,
        entries.map(([name, { dtype, shape, pieces, fill }]) => {
          const bytes = new Uint8Array(byteSize(dtype, shape)!).fill(fill);
          const step = Math.ceil(bytes.length / pieces);
          return {
            name,
            dtype,
            shape,
            bytes: pieces === 1 ? () => bytes : async function* () {
              for (let i = 0; i < bytes.length; i += step) yield await bytes.subarray(i, i + step);
            },
          };
        }),
        metadata,
      );
      const read = await readHeader(bufferSource(sink.bytes(), "out"));
      checkHeader(read, sink.size);
      assertEquals(new Map(read.metadata), new Map(Object.entries(metadata)));
      assertEquals(read.tensors.size, entries.length);
      for (const [name, { dtype, shape, fill }] of entries) {
        const entry = read.tensors.get(name)!;
        assertEquals([entry.dtype, entry.shape], [dtype, shape]);
        const size = entry.end - entry.begin;
        const power = size === 0 ? 1 : Math.min(64, size & -size);
        assertEquals(entry.begin % power, 0);
        assert(sink.bytes().subarray(entry.begin, entry.end).every((byte) => byte === fill));
      }
    }),
    { seed: 1, numRuns: 300 },
  );
});

Deno.test("a writer refuses names given twice, wrong lengths and impossible shapes", async () => {
  const one = { name: "a", dtype: "U8" as const, shape: [4], bytes: () => new Uint8Array(4) };
  const refuse = (tensors: (typeof one)[], why: string) =>
    assertRejects(() => writeSafetensors(bufferSink("out"), tensors), LobitError, why);
  await refuse([one, one], "cannot be used twice");
  await refuse([{ ...one, name: "__metadata__" }], "cannot be used twice");
  await refuse([{ ...one, bytes: () => new Uint8Array(3) }], "takes 4 bytes, but 3");
  await refuse([{ ...one, bytes: () => new Uint8Array(5) }], "takes 4 bytes, but 5");
  await refuse([{ ...one, shape: [-1] }], "cannot be U8 of shape [-1]");
  await refuse([{ ...one, shape: [2 ** 40, 2 ** 40] }], "cannot be");
});

Deno.test("headers that contradict themselves or the file are refused with the reason", async () => {
  const tensor = { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] };
  checkHeader(await header({ a: tensor }, 16), 16 + JSON.stringify({ a: tensor }).length + 8);
  const refuse = async (tensors: Record<string, unknown>, size: number, why: string) => {
    const error = await assertRejects(() => header(tensors, size), LobitError, why);
    assertEquals(error.code, "bad-file");
  };
  await refuse({ a: tensor }, 15, "do not lie within the file");
  await refuse({ a: tensor }, 17, "its tensors end at");
  await refuse({ a: { ...tensor, dtype: "F8_E4M3" } }, 16, '"F8_E4M3" is not one of');
  await refuse({ a: { ...tensor, dtype: "toString" } }, 16, "is not one of");
  await refuse({ a: { ...tensor, shape: [2, 3] } }, 16, "does not take the 16 bytes");
  await refuse({ a: { ...tensor, shape: [2 ** 31, 2 ** 31, 4] } }, 16, "does not take");
  await refuse({ a: { ...tensor, shape: [-2, -2] } }, 16, "whole numbers");
  await refuse({ a: { ...tensor, shape: Array(33).fill(1) } }, 16, "at most 32");
  await refuse({ a: { ...tensor, data_offsets: [16, 0] } }, 16, "do not lie within");
  await refuse({ a: { ...tensor, data_offsets: [0, 16, 32] } }, 16, "two whole numbers");
  await refuse({ a: { ...tensor, data_offsets: [0, 1e300] } }, 16, "two whole numbers");
  await refuse({ a: tensor, b: tensor }, 16, "overlaps the tensor before it");
  await refuse({ a: tensor, b: { ...tensor, data_offsets: [20, 36] } }, 36, "leaves a hole");
  await refuse({ a: null }, 0, "expected an object");
  await refuse({ __metadata__: { a: 1 } }, 0, "to be a text");
  await refuse({ __metadata__: [] }, 0, "an object of texts");
  const broken: [Uint8Array, string][] = [
    [new Uint8Array(3), "found 3 bytes"],
    [new Uint8Array(20).fill(255), "over the format's limit"],
    [Uint8Array.of(50, 0, 0, 0, 0, 0, 0, 0, 123, 125), "does not fit into the file's 10 bytes"],
    [fileOf("[]", 0), "expected a JSON object after"],
    [fileOf("{", 3), "not valid JSON"],
    [fileOf(Uint8Array.of(123, 34, 255, 34, 58, 49, 125), 0), "not valid UTF-8"],
  ];
  for (const [bytes, why] of broken) {
    await assertRejects(() => readHeader(bufferSource(bytes, "x")), LobitError, why);
  }
});

Deno.test("a tensor called __proto__ is a tensor like any other", async () => {
  const text = '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}';
  const { tensors } = await readHeader(bufferSource(fileOf(text, 1), "x"));
  assertEquals([...tensors.keys()], ["__proto__"]);
});

Deno.test("damaged files give a typed error or a consistent header (4,000 mutations)", async () => {
  const random = new Random(20);
  const tensors = Array.from(
    { length: 12 },
    (_, i): [string, number[]] => [`block.${i}.w`, [i, 4]],
  );
  const { bytes, dataSize } = headerFor(tensors);
  const whole = new Uint8Array(bytes.length + dataSize);
  whole.set(bytes);
  const json = JSON.parse(new TextDecoder().decode(bytes.subarray(8)));
  let accepted = 0;
  for (let round = 0; round < 4000; round++) {
    const damaged = round % 2 === 0
      ? damageBytes(whole, random)
      : fileOf(JSON.stringify(damageJson(json, random)) ?? "", dataSize);
    try {
      checkHeader(await readHeader(bufferSource(damaged, "damaged")), damaged.length);
      accepted++;
    } catch (error) {
      assert(error instanceof LobitError && error.code === "bad-file", String(error));
    }
  }
  // Some damage must go unnoticed (it hits the data), most must not.
  assert(accepted > 40 && accepted < 2000, `${accepted} accepted`);
});

Deno.test("a real checkpoint cut short anywhere in its header is refused", async () => {
  const bytes = (await Deno.readFile(POCKET)).subarray(0, 30000);
  for (let length = 0; length < bytes.length; length += 499) {
    await assertRejects(
      () => readHeader(bufferSource(bytes.subarray(0, length), "cut")),
      LobitError,
    );
  }
});
