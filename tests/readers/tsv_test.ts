import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { openEvalData } from "../../src/data/files.ts";
import { readEvalTsv } from "../../src/data/tsv.ts";
import { readTsvRows } from "../../src/data/tsv_rows.ts";
import { mutateText } from "../testing/mutate.ts";

const SEED = 20261123;
const HEADER = "index\timage\tquestion\tA\tB\tC\tD\tanswer\tcategory\tl2-category";
const bytes = (text: string) => [new TextEncoder().encode(text)];
const read = (text: string, maxBadShare = 1) =>
  readEvalTsv(bytes(text), { name: "t.tsv", maxBadShare });

async function rows(chunks: Iterable<Uint8Array>): Promise<(readonly string[])[]> {
  const all: (readonly string[])[] = [];
  for await (const { fields } of readTsvRows(chunks, "t.tsv")) all.push(fields);
  return all;
}

Deno.test("the shipped dev set has 1,600 items in eight tasks of 200", async () => {
  const path = new URL("../data/pocketvqa_dev.tsv", import.meta.url).pathname;
  const { items, bad } = await openEvalData(path, 0);
  assertEquals([items.length, bad.length], [1600, 0]);
  const counts = Object.groupBy(items, (item) => item.category);
  assertEquals(Object.values(counts).map((list) => list!.length), new Array(8).fill(200));
  const [first, second] = items;
  assertEquals(first!.options.map(({ letter, text }) => `${letter} ${text}`), [
    "A cat",
    "B frog",
    "C deer",
    "D airplane",
  ]);
  assertEquals([first!.index, first!.answer, first!.l2Category], ["0", "C", "mcq"]);
  assertEquals([second!.options.length, second!.question], [0, "What does the photo show?"]);
  const image = first!.images[0]!;
  assert(image.kind === "bytes");
  assertEquals([...image.bytes.subarray(0, 3)], [0xff, 0xd8, 0xff]);
  assertEquals(items.filter((item) => item.images.length === 0).length, 200);
});

Deno.test("any table survives writing with quotes and reading, however the bytes are cut", async () => {
  const cell = fc.oneof(
    fc.constantFrom('"', '""', "\t", "\n", "\r\n", "a"),
    fc.string({ unit: "grapheme" }),
  );
  const table = fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), {
    minLength: 1,
    maxLength: 5,
  });
  await fc.assert(
    fc.asyncProperty(table, fc.integer({ min: 1, max: 9 }), async (table, size) => {
      const text = table.map((row) =>
        row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join("\t")
      ).join("\r\n");
      const whole = new TextEncoder().encode(text);
      const chunks = [];
      for (let at = 0; at < whole.length; at += size) chunks.push(whole.subarray(at, at + size));
      assertEquals(await rows(chunks), table.map((row) => row.map((cell) => cell.toWellFormed())));
    }),
    { seed: SEED, numRuns: 200 },
  );
});

Deno.test("a quote inside a plain field is an ordinary character", async () => {
  assertEquals(await rows(bytes('a "b" c\td\n\n5" tall\te"f"\r\n')), [['a "b" c', "d"], [
    '5" tall',
    'e"f"',
  ]]);
  assertEquals(await rows(bytes('"a"b"\tc')), [['ab"', "c"]]);
});

Deno.test("an image may be a list, or the index of an earlier row", async () => {
  const jpeg = btoa("x".repeat(60));
  const other = btoa("y".repeat(60));
  const { items } = await read([
    HEADER,
    `1\t${jpeg}\tq\ta\tb\t\t\tA\tc\t`,
    `2\t['${jpeg}', "${other}"]\tq\t\t\t\t\tA\tc\t`,
    `3\t1\tq\t\t\t\t\tA\t\t`,
    "",
  ].join("\n"));
  const sizes = items.map((item) =>
    item.images.map((image) => image.kind === "bytes" && image.bytes[0])
  );
  assertEquals(sizes, [[120], [120, 121], [120]]);
  assertEquals(items[2]!.category, "all");
});

Deno.test("a hint comes before the question", async () => {
  const { items } = await read("index\thint\tquestion\tanswer\n1\tLook.\tWhat?\tx\n");
  assertEquals(items[0]!.question, "Look.\nWhat?");
});

Deno.test("bad rows are counted with their lines, and fatal above the share", async () => {
  const good = Array.from({ length: 98 }, (_, i) => `${i}\t\tq\t\t\t\t\tA\tc\t`);
  const text = [HEADER, '"x', 'y"\t!!!\tq\t\t\t\t\tA\tc\t', "too\tfew", ...good].join("\n");
  const { items, bad } = await read(text, 0.02);
  assertEquals(items.length, 98);
  assertEquals(bad.map(({ line }) => line), [2, 4]);
  const error = await assertRejects(() => read(text, 0.01), LobitError, "2 of 100 records are bad");
  assert(error.message.includes("line 2: its image is not base64."), error.message);
});

Deno.test("a file that is no evaluation table is refused", async () => {
  const refuses = (text: string, part: string) => assertRejects(() => read(text), LobitError, part);
  await refuses("", "expected records, found none");
  await refuses(HEADER, "expected records, found none");
  await refuses("index\tanswer\n", "the header lacks question");
  await refuses("index\tindex\n", "twice");
  await refuses(`${HEADER}\n"open\t`, "never ends");
  await refuses(`${"\t".repeat(300)}\n`, "more than 256 columns");
  await assertRejects(
    () => readEvalTsv([new Uint8Array([0xff, 0xfe, 0x41])], { name: "t" }),
    LobitError,
    "UTF-8",
  );
  const limits = { field: 10, columns: 4, rows: 2 };
  const limited = (text: string) => readEvalTsv(bytes(text), { name: "t", limits });
  await assertRejects(
    () => limited("index\tquestion\tanswer\n1\t" + "x".repeat(11)),
    LobitError,
    "more than 10 characters",
  );
  await assertRejects(
    () => limited("index\tquestion\tanswer\n1\tq\ta\n2\tq\ta\n"),
    LobitError,
    "more than 2 rows",
  );
});

Deno.test("2,000 damaged tables end in a LobitError or usable items", async () => {
  const random = new Random(6);
  const image = btoa("image bytes ".repeat(8));
  const text = [
    HEADER,
    `0\t${image}\tWhat?\tcat\tfrog\tdeer\tplane\tC\tphoto\tmcq`,
    `1\t['${image}','${image}']\t"a ""quoted""\n question"\t\t\t\t\tdeer\tphoto\tclass`,
    `2\t0\tWhich\t1\t2\t\t\tA\ttext\t`,
    "3\t\tplain\t\t\t\t\tx\ttext\tmath",
    "",
  ].join("\n");
  let usable = 0;
  for (let i = 0; i < 2000; i++) {
    const mutant = new TextEncoder().encode(mutateText(text, random));
    if (i % 4 === 0) mutant[random.integer(mutant.length)] = random.integer(256);
    try {
      const { items } = await readEvalTsv([mutant], { name: "fuzz", maxBadShare: 0.5 });
      usable++;
      for (const item of items) {
        assert(item.index !== "" && item.question !== "" && item.answer.trim() !== "");
        for (const image of item.images) {
          assert(image.kind === "bytes" && image.bytes.length <= mutant.length);
        }
      }
    } catch (error) {
      assert(error instanceof LobitError, `not a LobitError: ${error}`);
      assertEquals(error.code, "bad-file");
    }
  }
  assert(usable > 200 && usable < 1900, `${usable} of 2000 usable`);
});
