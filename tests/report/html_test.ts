import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { ReportBuilder } from "../../src/report/builder.ts";
import { reportHtml } from "../../src/report/html.ts";
import { isReportJson, reportJson, type RunReport } from "../../src/report/report.ts";
import { type Element, elements, readPage, textOf } from "./page.ts";
import { sampleReport } from "./sample_report.ts";

const HOSTILE = [
  "</script><script>alert(1)</script>",
  "</style></title><img src=x onerror=alert(1)>",
  `" onload="alert(1)" x='`,
  "javascript:alert(1)",
  "data:text/html;base64,PHNjcmlwdD4=",
  "data:image/svg+xml;base64,PHN2Zz4=",
  "&lt;b&gt; &amp; &#0; &nosuch; <!-- ]]>",
  "zero \0 bell \x07 next \x85 half \ud800 end",
  "${model} `x` $& $1 \\n",
  "__proto__",
];

/** What any page must be, whatever was put into it. */
function checkPage(source: string): Element {
  assert(source.startsWith("<!DOCTYPE html>\n"));
  const page = readPage(source);
  const all = elements(page);
  const ids = all.flatMap(({ attributes }) => attributes.get("id") ?? []);
  assertEquals(new Set(ids).size, ids.length, "an id is there twice");
  for (const { name, attributes } of all) {
    assert(!["script", "iframe", "object", "embed", "link", "base", "form"].includes(name), name);
    for (const [key, value] of attributes) {
      assert(!key.startsWith("on"), `${name} has ${key}`);
      if (key === "src") assert(/^data:image\/(png|jpeg);base64,[\w+/=]+$/.test(value), value);
      if (key === "href") assert(ids.includes(value.slice(1)) && value.startsWith("#"), value);
      if (key === "aria-labelledby") assert(ids.includes(value), value);
    }
    if (name === "img") assert(attributes.get("alt"));
    if (attributes.get("role") === "img") assert(attributes.get("aria-label"));
  }
  for (const table of elements(page, "table")) {
    assertEquals(elements(table, "caption").length, 1);
    const widths = elements(table, "tr").map((row) => row.children.length);
    assertEquals(new Set(widths).size, 1, `rows of unequal length: ${textOf(table).slice(0, 40)}`);
  }
  for (const style of elements(page, "style")) assert(!/url\(|@import|</.test(textOf(style)));
  const policy = all.find(({ attributes }) => attributes.has("http-equiv"))!;
  assertStringIncludes(policy.attributes.get("content")!, "default-src 'none'");
  return page;
}

Deno.test("Names, questions and answers stay text, whatever is in them", () => {
  const shape = (report: RunReport) =>
    elements(checkPage(reportHtml(report))).map(({ name }) => name).join(" ");
  const plain = shape(sampleReport());
  for (const name of HOSTILE) {
    assertEquals(shape(sampleReport(name)), plain, `markup changed by ${name}`);
  }
});

Deno.test("Words come out as they went in", () => {
  const name = `<b>"x" & 'y'</b>`;
  const page = readPage(reportHtml(sampleReport(name)));
  for (const place of ["h1", "li", "dd", "code", "caption", "pre", "figcaption"]) {
    const texts = elements(page, place).map(textOf);
    const expected = place === "pre" ? JSON.stringify(name) : name;
    const own = ["caption", "figcaption"].includes(place);
    assertEquals(texts.some((text) => text.includes(expected)), !own, place);
  }
  assertEquals(textOf(elements(page, "h1")[0]!), name);
});

Deno.test("Any text makes a well-formed page", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (name) => {
      checkPage(reportHtml(sampleReport(name)));
    }),
    { numRuns: 25, seed: 1 },
  );
});

/** Every number of a JSON value, with the way to it. */
function numbersOf(value: unknown, path = ""): [string, number][] {
  if (typeof value === "number") return [[path, value]];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => numbersOf(inner, `${path}.${key}`));
}

Deno.test("Every number of the JSON is on the page, exactly, beside what people read", () => {
  const report = JSON.parse(reportJson(sampleReport()));
  const page = readPage(reportHtml(report));
  const values = elements(page, "data").map(({ attributes }) => Number(attributes.get("value")));
  const shown = new Set(values);
  for (const text of elements(page, "data").map(textOf)) assert(/\d/.test(text), text);
  const { lobitReport: _, recipe, ...rest } = report;
  const missing = numbersOf(rest).filter(([, value]) => !shown.has(value));
  assertEquals(missing, []);
  const written = elements(page, "pre").map(textOf).join();
  for (const [, value] of numbersOf(recipe)) assertStringIncludes(written, String(value));
});

Deno.test("A number that is none is a dash, never NaN", () => {
  const report = sampleReport();
  assertEquals(report.stages[0]!.blocks[1], {
    name: "blocks.1",
    errorBefore: 0.053,
    errorAfter: null,
  });
  const source = reportHtml(report);
  assert(!/NaN|Infinity|undefined|null/.test(source.replace(/<pre>.*<\/pre>/s, "")));
  const dashes = elements(readPage(source), "span")
    .filter(({ attributes }) => attributes.get("class") === "none");
  // A block, a weight, two losses; the empty answer says that it is nothing.
  assertEquals(dashes.map(textOf), ["(nothing)", "–", "–", "–", "–"]);
});

Deno.test("A picture that is no embedded JPEG or PNG is not shown", () => {
  const pictures = elements(readPage(reportHtml(sampleReport("https://x.example/a.png"))), "img");
  assertEquals(pictures.length, 1);
  assertStringIncludes(reportHtml(sampleReport()), "A picture that cannot be shown.");
});

Deno.test("What a run did not have is not on its page", () => {
  const head = { model: "m", lobit: "0.1.0", date: "2026-02-03T04:05:06Z" };
  const page = checkPage(reportHtml(new ReportBuilder(head).finish()));
  assertEquals(elements(page, "h2").map(textOf), ["The run"]);
  assertEquals(elements(page, "figure"), []);
  const full = checkPage(reportHtml(sampleReport()));
  assertEquals(elements(full, "h2").map(textOf), [
    "Size",
    "Accuracy",
    "Sample answers",
    "Stages",
    "Weights",
    "The run",
  ]);
});

Deno.test("The JSON is told apart from other files by its first key, and survives reading", () => {
  const report = sampleReport();
  const text = reportJson(report);
  assert(isReportJson(text) && isReportJson(text.slice(0, 64)));
  assertEquals(JSON.parse(text), report);
  for (const other of ['{"name":"x","lobitReport":1}', "[]", "", "{}"]) {
    assert(!isReportJson(other));
  }
});
