// The quality table from made-up runs: every number is worked out by hand.
import { assertEquals } from "@std/assert";
import type { Making } from "./records.ts";
import type { Row } from "./rows.ts";
import { categoryTable, type Entry, qualityTable } from "./table.ts";

const making: Making = {
  ...{ done: true, sittings: 1, wall: 90, cpu: 120, resident: 250e6, fileBytes: 4.5e6 },
};

function row(id: string, more: Partial<Row> = {}): Row {
  return { id, name: id, section: "methods", seeded: false, ...more };
}

function entry(row: Row, hits: Record<string, string>[], how: Making = making): Entry {
  return { row, runs: hits.map((hits) => ({ hits, making: how })) };
}

const none: Making = { done: true, sittings: 1, wall: 0, cpu: 0, fileBytes: 24e6 };
const shared: Making = {
  ...making,
  stages: [{ part: "vision", method: "ada-round", seconds: 3, shared: true }],
};
const entries: Entry[] = [
  entry(row("full"), [{ a: "1111", b: "1100" }], none),
  entry(row("rtn-2", { bits: 2, control: "control-2" }), [{ a: "1000", b: "0000" }]),
  entry(row("speed-q-2", { bits: 2, seeded: true, control: "control-2" }), [
    { a: "1111", b: "0000" },
    { a: "1111", b: "1100" },
  ], shared),
  entry(row("waiting", { bits: 2 }), []),
  entry(row("control-2", { section: "control" }), [{ a: "1100", b: "1100" }]),
];

/** Cells of the lines after the head. */
function cells(table: string): string[][] {
  return table.trim().split("\n").slice(2).map((line) =>
    line.slice(2, -2).split(" | ").map((cell) => cell.trim())
  );
}

Deno.test("the table has means, spreads, shares kept and costs, and leaves out rows without runs", () => {
  const lines = cells(qualityTable(entries, 50));
  assertEquals(lines.map(([name]) => name), [
    "**methods**",
    "full",
    "rtn-2",
    "speed-q-2",
    "**control: full precision trained on labels, same data and steps**",
    "control-2",
  ]);
  const find = (name: string) => lines.find(([own]) => own === name)!;
  assertEquals(find("full"), [
    "full",
    "",
    "1",
    "75.00",
    "",
    "100.0",
    "",
    "",
    "",
    "",
    "",
    "",
    "24.00",
  ]);
  const rtn = find("rtn-2");
  assertEquals(rtn.slice(0, 7), ["rtn-2", "2", "1", "12.50", "", "16.7", "25.0"]);
  assertEquals(rtn.slice(8), ["", "1.50", "2.00", "250", "4.50"]);
  const trained = find("speed-q-2");
  assertEquals(trained.slice(0, 7), ["speed-q-2", "2", "2", "62.50", "17.68", "83.3", "125.0"]);
  assertEquals(trained.slice(9), ["1.50", "2.00+", "250", "4.50"]);
});

Deno.test("differences are to full precision and to rounding of the same bits", () => {
  const lines = cells(qualityTable(entries, 50));
  const [, , , , , , , full, rtn] = lines.find(([name]) => name === "speed-q-2")!;
  assertEquals([full!.split(" ")[0], rtn!.split(" ")[0]], ["−12.5", "+50.0"]);
  // Without the rows to compare with there is nothing to say.
  const alone = cells(qualityTable([entries[2]!], 50)).at(-1)!;
  assertEquals(alone.slice(4, 9), ["17.68", "", "", "", ""]);
});

Deno.test("categories are means over runs, and no runs make no table", () => {
  const lines = cells(categoryTable(entries));
  assertEquals(lines[2], ["speed-q-2", "2", "100.0", "25.0"]);
  assertEquals([qualityTable([]), categoryTable([entries[3]!])], ["", ""]);
});
