import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import {
  blobSource,
  bufferSink,
  bufferSource,
  decodeText,
  parseJson,
  readAll,
} from "../../src/io/bytes.ts";

const BYTES = Uint8Array.from({ length: 200 }, (_, i) => i);

Deno.test("every source fills views over shared WebAssembly memory from any offset", async () => {
  const path = await Deno.makeTempFile();
  const { openFile } = await import("../../src/io/host.ts");
  await Deno.writeFile(path, BYTES);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  for (const source of [bufferSource(BYTES, "b"), blobSource(new Blob([BYTES])), openFile(path)]) {
    assertEquals(source.size, 200);
    const view = new Uint8Array(memory.buffer, 32, 50).fill(0);
    await source.read(150, view);
    assertEquals(Array.from(view), Array.from(BYTES.subarray(150)));
    await source.read(0, view.subarray(0, 0));
    await source.read(200, view.subarray(0, 0));
    for (const [offset, length] of [[151, 50], [200, 1], [2 ** 40, 1]] as const) {
      const error = await assertRejects(
        () => source.read(offset, new Uint8Array(length)),
        LobitError,
        "the file ends at 200",
      );
      assertEquals(error.code, "bad-file");
    }
    for (const offset of [-1, 0.5, NaN]) {
      const error = await assertRejects(() => source.read(offset, view), LobitError);
      assertEquals(error.code, "bad-request");
    }
    source.close();
    source.close();
  }
  await Deno.remove(path);
});

Deno.test("a long Blob is read in steps without losing a byte", async () => {
  const bytes = new Uint8Array((1 << 24) + 1000).map((_, i) => (i * 2654435761) >>> 24);
  const into = new Uint8Array(bytes.length - 7);
  await blobSource(new Blob([bytes])).read(7, into);
  assertEquals(into.every((byte, i) => byte === bytes[i + 7]), true);
});

Deno.test("a picked File keeps its name", () => {
  assertEquals(blobSource(new File([BYTES], "model.lobit")).name, "model.lobit");
});

Deno.test("a memory sink keeps what is written and lets only written bytes be replaced", async () => {
  const sink = bufferSink("out");
  for (let i = 0; i < 50; i++) await sink.write(BYTES);
  await sink.overwrite(200, Uint8Array.of(9, 8));
  assertEquals(sink.size, 10000);
  assertEquals(Array.from(sink.bytes().subarray(198, 204)), [198, 199, 9, 8, 2, 3]);
  await assertRejects(() => sink.overwrite(9999, Uint8Array.of(1, 2)), LobitError);
});

Deno.test("text is decoded strictly, without its byte order mark, and not beyond a limit", async () => {
  assertEquals(decodeText(Uint8Array.of(0xef, 0xbb, 0xbf, 0x68, 0x69), "t"), "hi");
  assertThrows(() => decodeText(Uint8Array.of(0x68, 0xff), "t"), LobitError, "t: it is not valid");
  assertThrows(() => parseJson("{", "c.json"), LobitError, "c.json: it is not valid JSON");
  assertThrows(() => parseJson("[".repeat(100000), "c.json"), LobitError, "not valid JSON");
  await assertRejects(() => readAll(bufferSource(BYTES, "b"), 199), LobitError, "at most 199");
});
