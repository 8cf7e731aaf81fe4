// The statistics behind the quality table, against values worked out by hand and against what is known of the bootstrap.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../../src/base/random.ts";
import { averageOf, type Hits, intervalsOf, meanOf, spreadOf } from "./statistics.ts";

/** Answers of which a share is right. */
function answers(random: Random, share: number, items: number): string {
  return Array.from({ length: items }, () => random.uniform() < share ? "1" : "0").join("");
}

Deno.test("an average weighs categories equally, whatever their sizes", () => {
  assertEquals(averageOf({ a: "1100", b: "1" }), 75);
  assertEquals(averageOf({ a: "0" }), 0);
});

Deno.test("a spread is the sample's standard deviation, and one run has none", () => {
  assertEquals(meanOf([2, 4, 9]), 5);
  assertAlmostEquals(spreadOf([2, 4, 9])!, Math.sqrt(13));
  assertEquals(spreadOf([7]), undefined);
});

Deno.test("a comparison with itself is zero, and one that is always better lies above zero", () => {
  const hits: Hits = { a: "0101", b: "110010" };
  const [same] = intervalsOf([{ of: [hits], to: [hits, hits] }], { resamples: 100 });
  assertEquals(same, { difference: 0, low: 0, high: 0 });
  const none = { a: "0000", b: "000000" }, all = { a: "1111", b: "111111" };
  const [best] = intervalsOf([{ of: [all], to: [none] }], { resamples: 100 });
  for (const value of Object.values(best!)) assertAlmostEquals(value, 100, 1e-9);
});

Deno.test("seeds are averaged per item before items are drawn", () => {
  // The second seed answers exactly what the first does not, so every item has the same mean and nothing varies.
  const [pair] = intervalsOf([
    { of: [{ a: "0110" }, { a: "1001" }], to: [{ a: "0000" }] },
  ], { resamples: 200 });
  for (const value of Object.values(pair!)) assertAlmostEquals(value, 50, 1e-9);
});

Deno.test("the interval is as wide as theory says, and pairing narrows it", () => {
  const random = new Random(4);
  const items = 400;
  const base = answers(random, 0.6, items);
  // Every tenth answer changes.
  const near = [...base].map((digit, i) => i % 10 === 0 ? String(1 - Number(digit)) : digit).join(
    "",
  );
  const far = answers(random, 0.6, items);
  const [close, wide] = intervalsOf([
    { of: [{ a: near }], to: [{ a: base }] },
    { of: [{ a: far }], to: [{ a: base }] },
  ]);
  const deviation = (one: string, other: string): number => {
    const gaps = [...one].map((digit, i) => Number(digit) - Number(other[i]));
    const mean = meanOf(gaps);
    return 100 * Math.sqrt(meanOf(gaps.map((gap) => (gap - mean) ** 2)) / items);
  };
  for (const [interval, other] of [[close!, near], [wide!, far]] as const) {
    const { difference, low, high } = interval;
    assertAlmostEquals(difference, averageOf({ a: other }) - averageOf({ a: base }), 1e-9);
    assert(low <= difference && difference <= high);
    assertAlmostEquals((high - low) / (2 * 1.96 * deviation(other, base)), 1, 0.06);
  }
  assert(close!.high - close!.low < 0.6 * (wide!.high - wide!.low));
});

Deno.test("intervals are the same for the same seed, and differ a little for another", () => {
  const random = new Random(9);
  const pair = {
    of: [{ a: answers(random, 0.7, 60), b: answers(random, 0.2, 30) }],
    to: [{ a: answers(random, 0.5, 60), b: answers(random, 0.2, 30) }],
  };
  const at = (seed: number) => intervalsOf([pair], { resamples: 500, seed })[0]!;
  assertEquals(at(1), at(1));
  assert(at(1).low !== at(2).low || at(1).high !== at(2).high);
  assertAlmostEquals(at(1).low, at(2).low, 4);
});

Deno.test("runs of different items are refused", () => {
  const pair = (other: Hits) => () => intervalsOf([{ of: [{ a: "01" }], to: [other] }]);
  assertThrows(pair({ a: "011" }), Error, "same items of a");
  assertThrows(pair({ b: "01" }), Error, "same items of a");
});
