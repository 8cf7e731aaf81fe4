import { assert, assertEquals, assertRejects } from "@std/assert";
import { decodeBase64 } from "../../src/data/base64.ts";
import { LobitError } from "../../src/base/errors.ts";
import { decodeImage } from "../../src/input/image/decode.ts";
import { resizeImage } from "../../src/input/image/resize.ts";
import { encodePng, smallPicture } from "../../src/report/picture.ts";
import { testPath } from "../testing/folders.ts";

const bytesOf = (url: string) => decodeBase64(url.slice(url.indexOf(",") + 1));

Deno.test("Pixels survive the PNG, whatever the size", async () => {
  for (const [width, height] of [[1, 1], [3, 2], [257, 5], [5, 300]] as const) {
    const data = Uint8Array.from(
      { length: 3 * width * height },
      (_, i) => (i * 37 + i / 251) & 255,
    );
    const read = decodeImage(await encodePng({ width, height, data }), "made.png");
    assertEquals(read, { width, height, data });
  }
});

Deno.test("A large picture is shrunk to the page's size, a small file stays as it is", async () => {
  for (const file of ["chelsea.png", "rocket.jpg"]) {
    const path = testPath(`images/${file}`);
    const url = await smallPicture({ kind: "path", path });
    assert(url.startsWith("data:image/png;base64,"));
    const small = decodeImage(bytesOf(url), "small");
    assertEquals(Math.max(small.width, small.height), 224);
    const whole = decodeImage(await Deno.readFile(path), path);
    assertEquals(small, resizeImage(whole, small.width, small.height));
    const bytes = await encodePng(resizeImage(whole, 20, 10));
    const kept = await smallPicture({ kind: "bytes", bytes, name: "tiny" });
    assertEquals(bytesOf(kept), bytes);
  }
});

Deno.test("A damaged picture is named", async () => {
  const bytes = new TextEncoder().encode("<svg onload='alert(1)'/>");
  const error = await assertRejects(
    () => smallPicture({ kind: "bytes", bytes, name: "item 7" }),
    LobitError,
  );
  assert(error.message.includes("item 7"));
});
