// Chat data becoming examples: what cannot be used is counted, what can is told apart by a fingerprint.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { openChatData } from "../../src/data/files.ts";
import type { ChatItem } from "../../src/data/items.ts";
import { openModel } from "../../src/models/open.ts";
import type { VisionInput } from "../../src/models/vlm.ts";
import { openExamples } from "../../src/recipe/stages/examples.ts";
import { batchOf, countValid } from "../../src/train/batch.ts";

const POCKET = new URL("../models/pocket-internvl", import.meta.url).pathname;
const CALIBRATION = new URL("../data/calib/calib.jsonl", import.meta.url).pathname;
const INPUT: VisionInput = {
  ...{ imageSize: 112, tokensPerTile: 16, maxTiles: 2, minTiles: 1, thumbnail: true },
};

const open = await openModel(POCKET);
const items = openChatData(CALIBRATION).items.slice(0, 12);
const read = (items: readonly ChatItem[], options = {}) =>
  openExamples(items, open.assets, INPUT, options);

Deno.test("bad records are left out and counted, and fatal above a share", async () => {
  const [first] = items;
  const missing: ChatItem = { ...first!, images: [{ kind: "path", path: "/nowhere/picture.jpg" }] };
  const broken: ChatItem = {
    ...first!,
    images: [{ kind: "bytes", bytes: Uint8Array.of(1, 2, 3), name: "noise" }],
  };
  const mixed = [...items, missing, broken];
  const examples = await read(mixed, { maxBadShare: 0.2 });
  assertEquals(examples.length, items.length);
  assertEquals(examples.bad.map(({ line }) => line), [13, 14]);
  assert(examples.bad[0]!.problem.includes("/nowhere/picture.jpg"));
  await assertRejects(() => read(mixed), LobitError, "2 of 14 records are bad");
  await assertRejects(() => read([]), LobitError, "none");
  const short = await read(items, { maxTokens: 40, maxBadShare: 1 });
  assert(short.length > 0 && short.length < items.length);
  assert(short.bad.every(({ problem }) => problem.includes("at most 40")));
});

Deno.test("the fingerprint changes with order, pictures and number of the examples", async () => {
  const { fingerprint } = await read(items);
  assertEquals((await read(items)).fingerprint, fingerprint);
  const [a, b, ...rest] = items;
  const others = [
    [b!, a!, ...rest],
    items.slice(1),
    items.map((item, i) => i === 0 ? { ...item, images: items[1]!.images } : item),
  ];
  const prints = await Promise.all(others.map(async (other) => (await read(other)).fingerprint));
  assertEquals(new Set([fingerprint, ...prints]).size, 4);
});

Deno.test("pictures beyond the limit are decoded again to the same pixels", async () => {
  const [kept, again] = [await read(items), await read(items, { keptBytes: 60_000 })];
  assertEquals(again.fingerprint, kept.fingerprint);
  items.forEach((_, i) => assertEquals(again.images(i), kept.images(i)));
  assert(kept.images(0) === kept.images(0), "the first examples' pixels fit");
  const last = items.length - 1;
  assert(again.images(last) !== again.images(last), "the last ones' do not");
});

Deno.test("a batch predicts every token after the first that is learnt, and no other", async () => {
  const examples = await read(items);
  const prompts = items.map((_, i) => examples.prompt(i));
  const batch = batchOf(prompts);
  let at = 0;
  prompts.forEach(({ ids, labels, images }, i) => {
    const start = batch.sequences.starts[i]!;
    assertEquals(batch.ids.slice(start, start + ids.length), ids);
    labels.forEach((label, t) => {
      if (label === -100 || t === 0) return;
      assertEquals([batch.rows[at], batch.labels[at]], [start + t - 1, label]);
      at++;
    });
    const tokens = images.reduce((sum, { count }) => sum + count, 0);
    const tiles = examples.images(i).reduce((sum, { count }) => sum + count, 0);
    assertEquals(tokens, 16 * tiles);
  });
  assertEquals(at, batch.rows.length);
  assertEquals(countValid(batch.labels), at);
  assertEquals(countValid(batch.compared), at);
  assert([...batch.at].every((row) => batch.ids[row] === 1021));
  assertEquals(batch.at.length, batch.ids.filter((id) => id === 1021).length);
});
