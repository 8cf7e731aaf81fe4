import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { bars, columns, curves } from "../../src/report/charts.ts";
import type { Markup } from "../../src/report/markup.ts";
import { fittingScale, linearScale, logScale } from "../../src/report/scale.ts";
import { elements, readPage, textOf } from "./page.ts";

type Values = (number | null | undefined)[];

const numbersIn = (markup: Markup) => {
  const all = elements(readPage(markup.text));
  const names = ["x", "y", "width", "height", "cx", "cy", "x1", "x2", "y1", "y2"];
  return all.flatMap(({ attributes }) =>
    names.flatMap((name) => attributes.get(name) ?? []).map((value) =>
      Number(value.replace("%", ""))
    )
  );
};
const line = (x: number[], values: Values) =>
  curves({ title: "t", xName: "step", x, series: [{ name: "s", values }] });
const pathOf = (markup: Markup) =>
  elements(readPage(markup.text), "path").map(({ attributes }) => attributes.get("d"));

Deno.test("Charts of nothing say so", () => {
  const nothing = [
    bars({ title: "t", labels: [], series: [] }),
    columns({ title: "t", labels: ["a"], series: [{ name: "s", values: [NaN] }] }),
    columns({ title: "t", labels: [], series: [{ name: "s", values: [] }] }),
    line([], []),
    line([1, 2], [NaN, null]),
    line([NaN], [1]),
  ];
  for (const chart of nothing) {
    assertEquals(elements(readPage(chart.text), "svg"), []);
    assert(textOf(readPage(chart.text)).includes("Nothing was measured."));
  }
});

Deno.test("One point is a dot in the middle, and no line", () => {
  const chart = line([5], [2]);
  assertEquals(pathOf(chart), []);
  const [dot] = elements(readPage(chart.text), "circle");
  assertEquals(dot!.attributes.get("cx"), "50%");
});

Deno.test("A curve breaks where there is no number, and lone points are dots", () => {
  const chart = line([0, 1, 2, 3, 4, 5, 6], [0, 4, NaN, 2, Infinity, 4, 0]);
  // The axis goes from 0 to 4: a 4 lies at the top, y = 0.
  assertEquals(pathOf(chart), ["M0 1000L166.7 0M833.3 0L1000 1000"]);
  const dots = elements(readPage(chart.text), "circle").map(({ attributes }) =>
    attributes.get("cx")
  );
  assertEquals(dots, ["50%"]);
});

Deno.test("A bar is as long as its value, and its number stands beside it", () => {
  const chart = bars({
    title: "t",
    labels: ["a", "b", "c", "d"],
    series: [{ name: "s", values: [100, 25, 0, undefined] }],
    most: 100,
  });
  const page = readPage(chart.text);
  const widths = elements(page, "rect").map(({ attributes }) => attributes.get("width"));
  assertEquals(widths, ["80%", "20%", "0%", "0%"]);
  assertEquals(elements(page, "text").map(textOf), ["a", "100", "b", "25", "c", "0", "d", "–"]);
});

Deno.test("Columns rise with their values, and one is missing where there is no number", () => {
  const chart = columns({
    title: "t",
    labels: ["a", "b"],
    series: [{ name: "before", values: [4, 2] }, { name: "after", values: [1, NaN] }],
  });
  const heights = elements(readPage(chart.text), "rect")
    .filter(({ attributes }) => attributes.has("x"))
    .map(({ attributes }) => Number(attributes.get("height")));
  assertEquals(heights, [220, 110, 55]);
});

Deno.test("Long curves keep their extremes", () => {
  const x = Array.from({ length: 20_000 }, (_, i) => i);
  const values = x.map((i) => i === 12_345 ? 10 : i === 777 ? 0 : 5);
  const [path] = pathOf(line(x, values));
  const heights = path!.match(/ [\d.]+/g)!.map(Number);
  assert(heights.length < 4000 && heights.includes(0) && heights.includes(1000));
});

Deno.test("Whatever the values, everything drawn has finite places", () => {
  const value = fc.oneof(
    fc.double(),
    fc.constantFrom(null, undefined, 0, -0, 5e-324, 1e308, -1e308, 1e-5, 12),
  );
  fc.assert(
    fc.property(fc.array(value, { maxLength: 6 }), fc.array(value, { maxLength: 6 }), (a, b) => {
      const labels = a.map((_, i) => `l${i}`);
      const series = [{ name: "a", values: a }, { name: "b", values: b }];
      const x = a.map((value, i) => i % 2 ? i : value ?? NaN);
      const charts = [
        bars({ title: "t", labels, series }),
        columns({ title: "t", labels, series }),
        curves({ title: "t", xName: "x", x, series }),
      ];
      for (const chart of charts) {
        assert(numbersIn(chart).every(Number.isFinite), chart.text);
        assert(!/NaN|Infinity/.test(chart.text.replace(/<text.*?<\/text>/g, "")), chart.text);
      }
    }),
    { numRuns: 500, seed: 2 },
  );
});

Deno.test("Axes hold all values between round numbers", () => {
  assertEquals(linearScale([0.088, 0.01]).ticks, [0, 0.05, 0.1]);
  assertEquals(logScale([0.08, 6]).ticks, [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]);
  assertEquals(logScale([0.0012, 2.3]).ticks, [0.001, 0.01, 0.1, 1, 10]);
  assertEquals(logScale([0.01, 100]).place(1), 0.5);
  assertEquals(linearScale([8]).place(2), 0.25);
  const positive = fc.double({ min: 1e-12, max: 1e12, noNaN: true });
  fc.assert(
    fc.property(fc.array(positive, { minLength: 1, maxLength: 8 }), (values) => {
      const scale = fittingScale(values);
      const places = values.map(scale.place);
      assert(places.every((place) => place >= 0 && place <= 1), String(places));
      const sorted = [...values].sort((a, b) => a - b).map(scale.place);
      assertEquals(sorted, [...sorted].sort((a, b) => a - b));
      assertEquals(scale.log, Math.max(...values) / Math.min(...values) > 25);
      const ticks = scale.ticks.map(scale.place);
      assert(ticks.every((place, i) => i === 0 || place > ticks[i - 1]!), String(scale.ticks));
    }),
    { numRuns: 300, seed: 3 },
  );
});
