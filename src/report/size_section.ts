// Sizes and weights: bytes of each part before and after, then every weight with its format and error.
import { bytesText, countText } from "../base/units.ts";
import { bars, columns } from "./charts.ts";
import { type Markup, numeral, percentText, sequence, shortNumber, tag } from "./markup.ts";
import type { ReportPlan, ReportWeight } from "./report.ts";
import { foldedTable, table } from "./table.ts";

/** Parts before and after, as bars and as a table. */
export function sizeSection(plan: ReportPlan): Markup {
  const { parts, vectorBytes, bytes, bytesBefore, bitsPerWeight } = plan;
  const vectorsBefore = bytesBefore - parts.reduce((sum, part) => sum + part.bytesBefore, 0);
  const rows = parts.map((part) => [
    part.name,
    numeral(part.linears, countText),
    numeral(part.weights, countText),
    numeral(part.bytesBefore, bytesText),
    numeral(part.bytes, bytesText),
    numeral(part.bitsPerWeight, bits),
    part.formats.join(", "),
  ]);
  const vectors = "norms, biases";
  const sums = [numeral(vectorsBefore, bytesText), numeral(vectorBytes, bytesText)];
  rows.push([vectors, "", "", ...sums, "", "f32"]);
  const linears = parts.reduce((sum, part) => sum + part.linears, 0);
  const weights = parts.reduce((sum, part) => sum + part.weights, 0);
  return sequence(
    bars({
      title: "Bytes before and after",
      labels: [...parts.map(({ name }) => name), vectors],
      series: [
        { name: "before", values: [...parts.map((part) => part.bytesBefore), vectorsBefore] },
        { name: "after", values: [...parts.map((part) => part.bytes), vectorBytes] },
      ],
      text: bytesText,
    }),
    table(
      "Sizes of the parts",
      [
        { name: "part" },
        { name: "linears" },
        { name: "weights" },
        { name: "before" },
        { name: "after" },
        { name: "bits per weight" },
        { name: "formats", left: true },
      ],
      rows,
      [
        "all",
        numeral(linears, countText),
        numeral(weights, countText),
        numeral(bytesBefore, bytesText),
        numeral(bytes, bytesText),
        numeral(bitsPerWeight, bits),
        "",
      ],
    ),
  );
}

/** Every weight; with measured errors, a chart for each part. */
export function weightSection(plan: ReportPlan): Markup {
  const charts = plan.parts.map(({ name }) => {
    const measured = plan.weights.filter(({ part, error }) => part === name && error !== undefined);
    return measured.length > 0 && columns({
      title: `Error of each weight, by its number in the table: ${name}`,
      labels: measured.map((weight) => String(1 + plan.weights.indexOf(weight))),
      series: [{ name: "error", values: measured.map(({ error }) => error), colour: 1 }],
    });
  });
  const worst = plan.weights.filter(({ error }) => typeof error === "number" && error > 0)
    .sort((a, b) => b.error! - a.error!)[0];
  const rows = plan.weights.map((weight, i) => rowOf(weight, i + 1));
  return sequence(
    worst && tag(
      "p",
      {},
      "The error of a weight is its squared difference from what it was made of, relative to its " +
        "squares. The largest is ",
      numeral(worst.error, errorText),
      ", of ",
      tag("code", {}, worst.name),
      ".",
    ),
    charts,
    foldedTable(
      `All ${plan.weights.length} weights`,
      [
        { name: "weight" },
        { name: "number" },
        { name: "part", left: true },
        { name: "rows" },
        { name: "columns" },
        { name: "format", left: true },
        { name: "bits" },
        { name: "size" },
        { name: "error" },
      ],
      rows,
    ),
  );
}

function rowOf(weight: ReportWeight, place: number): (Markup | string)[] {
  return [
    weight.name,
    String(place),
    weight.part,
    numeral(weight.rows, countText),
    numeral(weight.columns, countText),
    weight.format,
    numeral(weight.bits, bits),
    numeral(weight.bytes, bytesText),
    weight.error === undefined ? "" : numeral(weight.error, shortNumber),
  ];
}

function bits(value: number): string {
  return value.toFixed(2);
}

function errorText(value: number): string {
  return percentText(100 * value);
}
