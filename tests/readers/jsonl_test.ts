import { assert, assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { openChatData, openImageFolder, openPlainText, readImage } from "../../src/data/files.ts";
import { parseJsonl } from "../../src/data/jsonl.ts";
import { parsePlainText } from "../../src/data/plain_text.ts";
import { mutateText } from "../testing/mutate.ts";

const CALIB = new URL("../data/calib/", import.meta.url).pathname;
const turn = (value: string, from = "human") => ({ from, value });
const record = (value: string, image?: unknown) =>
  JSON.stringify({ image, conversations: [turn(value), turn("yes", "gpt")] });
const parse = (text: string, maxBadShare = 0) => parseJsonl(text, { name: "c.jsonl", maxBadShare });

Deno.test("the shipped calibration set has 2,560 conversations whose images lie beside it", () => {
  const { items, bad } = openChatData(`${CALIB}calib.jsonl`, 0);
  assertEquals([items.length, bad.length], [2560, 0]);
  assertEquals(items.filter((item) => item.images.length === 1).length, 2240);
  const { bytes, name } = readImage(items[0]!.images[0]!);
  assertEquals([...bytes.subarray(0, 2)], [0xff, 0xd8]);
  assertEquals(name, `${CALIB}images/00000.jpg`);
  const content = items[0]!.messages[0]!.content;
  assert(Array.isArray(content));
  assertEquals(content[0], { type: "image", image: 0 });
  assert(content[1].text.startsWith("What garment is this?\nA. sandal"));
});

Deno.test("an absolute image path stays as it is", () => {
  const folder = Deno.makeTempDirSync();
  Deno.writeTextFileSync(
    `${folder}/c.jsonl`,
    [record("<image>", "/a/b.png"), record("<image>", "b.png")].join("\n"),
  );
  const paths = openChatData(`${folder}/c.jsonl`).items.map((item) => item.images[0]);
  assertEquals(paths, [{ kind: "path", path: "/a/b.png" }, {
    kind: "path",
    path: `${folder}/b.png`,
  }]);
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("images stand where the text says, or before it", () => {
  const [placed, ahead] = parse([
    record("<image>\nOne\n<image> two", ["a", "b"]),
    record("both", ["a", "b"]),
  ].join("\n")).items;
  assertEquals(placed!.messages[0]!.content, [
    { type: "image", image: 0 },
    { type: "text", text: "One\n" },
    { type: "image", image: 1 },
    { type: "text", text: " two" },
  ]);
  assertEquals(ahead!.messages[0]!.content, [
    { type: "image", image: 0 },
    { type: "image", image: 1 },
    { type: "text", text: "both" },
  ]);
});

Deno.test("bad records are told with their lines and reasons, and fatal above one per cent", () => {
  const bad = [
    "{",
    "[]",
    JSON.stringify({ conversations: [] }),
    record("<image><image>", "a"),
    record("x", 5),
    JSON.stringify({ conversations: [turn("x")] }),
    JSON.stringify({ conversations: [turn("x", "gpt"), turn("x")] }),
    JSON.stringify({ conversations: [turn("x", "robot"), turn("x")] }),
  ];
  const good = Array.from({ length: 792 }, () => record("x"));
  const { items, bad: told } = parseJsonl(["", ...bad, ...good, ""].join("\r\n"), {
    name: "c.jsonl",
  });
  assertEquals(items.length, 792);
  assertEquals(told.map(({ line }) => line), [2, 3, 4, 5, 6, 7, 8, 9]);
  assertEquals(told[3]!.problem, "its text has 2 <image> where it has 1 images.");
  const text = [...bad, ...good.slice(1)].join("\n");
  const error = assertThrows(
    () => parseJsonl(text, { name: "c.jsonl" }),
    LobitError,
    "8 of 799 records are bad",
  );
  assert(
    error.message.startsWith("c.jsonl: ") && error.message.includes("line 1: it is not JSON."),
  );
  assertThrows(() => parse(""), LobitError, "expected records, found none");
  assertThrows(() => parse("", 2), LobitError, "from 0 to 1");
});

Deno.test("2,000 damaged JSONL files end in a LobitError or usable items", () => {
  const random = new Random(7);
  const text = [
    record("<image>\nWhat?", "a.jpg"),
    record("<image>, <image>?", ["a", "b"]),
    record("Why?"),
  ].join("\n");
  let usable = 0;
  for (let i = 0; i < 2000; i++) {
    try {
      const { items } = parse(mutateText(text, random), 0.67);
      usable++;
      for (const { messages, images } of items) {
        const shown = messages.flatMap(({ content }) => typeof content === "string" ? [] : content)
          .filter((part) => part.type === "image");
        assertEquals(shown.map((part) => part.image), images.map((_, image) => image));
        assertEquals(messages.at(-1)!.role, "assistant");
      }
    } catch (error) {
      assert(error instanceof LobitError, `not a LobitError: ${error}`);
    }
  }
  assert(usable > 200, `${usable} of 2000 usable`);
});

Deno.test("an image folder gives its pictures in order, those of inner folders too", () => {
  const folder = Deno.makeTempDirSync();
  Deno.mkdirSync(`${folder}/b.d/c`, { recursive: true });
  for (const name of ["z.JPG", "a.png", "notes.txt", "b.d/c/x.webp", "b.d/y.jpeg"]) {
    Deno.writeTextFileSync(`${folder}/${name}`, "");
  }
  const paths = openImageFolder(folder).items.map((image) => image.kind === "path" && image.path);
  assertEquals(
    paths,
    ["a.png", "b.d/c/x.webp", "b.d/y.jpeg", "z.JPG"].map((name) => `${folder}/${name}`),
  );
  assertThrows(() => openImageFolder(`${folder}/missing`), LobitError);
  Deno.removeSync(`${folder}/b.d`, { recursive: true });
  for (const name of ["z.JPG", "a.png"]) Deno.removeSync(`${folder}/${name}`);
  assertThrows(() => openImageFolder(folder), LobitError, "found none");
  Deno.writeTextFileSync(`${folder}/t.txt`, "One\nline.\n\n Two. \n");
  assertEquals(openPlainText(`${folder}/t.txt`).items, ["One\nline.", "Two."]);
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("plain text is cut at blank lines", () => {
  assertEquals(parsePlainText("\ufeffa\r\n \r\nb\n\n\n\nc", "t").items, ["a", "b", "c"]);
  assertThrows(() => parsePlainText(" \n\n ", "t"), LobitError, "expected text");
});
