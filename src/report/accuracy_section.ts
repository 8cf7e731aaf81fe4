// Accuracy per task before and after, what became of the single items, and sample answers side by side.
import { countText } from "../base/units.ts";
import type { ScoreTable } from "../data/score.ts";
import { bars } from "./charts.ts";
import { type Markup, numeral, percentText, sequence, tag } from "./markup.ts";
import type { ReportAccuracy, ReportAnswer, ReportOutcomes, ReportSample } from "./report.ts";
import { table } from "./table.ts";

/** Accuracy per task. */
export function accuracySection(accuracy: ReportAccuracy): Markup {
  const { data, before, after, roundToNearest, outcomes } = accuracy;
  const tasks = Object.keys(before.categories);
  const items = Object.values(before.counts).reduce((sum, count) => sum + count, 0);
  const scores: [string, ScoreTable, number][] = [
    ["full precision", before, 0],
    ...(roundToNearest
      ? [["round to nearest", roundToNearest, 2] as [string, ScoreTable, number]]
      : []),
    ["quantized", after, 1],
  ];
  const cells = (pick: (score: ScoreTable) => number | undefined) =>
    scores.map(([, score]) => numeral(pick(score), percentText));
  const average = "average of the tasks";
  return sequence(
    tag(
      "p",
      {},
      `${countText(items)} items of `,
      tag("code", {}, data),
      ".",
      outcomes && outcomeText(outcomes),
    ),
    bars({
      title: "Accuracy per task, in percent",
      labels: [average, ...tasks],
      series: scores.map(([name, score, colour]) => ({
        name,
        values: [score.average, ...tasks.map((task) => score.categories[task])],
        colour,
      })),
      most: 100,
      text: percentText,
    }),
    table(
      "Accuracy per task",
      [
        { name: "task" },
        { name: "items" },
        ...scores.map(([name]) => ({ name })),
        { name: "kept" },
      ],
      tasks.map((task) => [
        task,
        numeral(before.counts[task], countText),
        ...cells((score) => score.categories[task]),
        keptText(before.categories[task]!, after.categories[task]),
      ]),
      [
        average,
        numeral(items, countText),
        ...cells((score) => score.average),
        keptText(before.average, after.average),
      ],
    ),
  );
}

function keptText(before: number, after: number | undefined): string {
  return before > 0 && after !== undefined ? `${(100 * after / before).toFixed(1)} %` : "–";
}

function outcomeText({ kept, lost, gained, missed }: ReportOutcomes): Markup {
  return sequence(
    " Right before and after: ",
    numeral(kept, countText),
    "; right only before: ",
    numeral(lost, countText),
    "; right only after: ",
    numeral(gained, countText),
    "; wrong before and after: ",
    numeral(missed, countText),
    ".",
  );
}

/** Questions with their pictures and answers. */
export function sampleSection(samples: readonly ReportSample[]): Markup {
  return tag("div", { class: "samples" }, samples.map(sample));
}

function sample({ question, pictures, reference, before, after }: ReportSample): Markup {
  const images = pictures.map((src, i) =>
    isPicture(src)
      ? tag("img", { src, alt: `Picture ${i + 1} of this question` })
      : tag("p", { class: "small" }, "A picture that cannot be shown.")
  );
  return tag(
    "article",
    { class: "sample" },
    images.length > 0 && tag("div", {}, images),
    tag("p", {}, question),
    tag(
      "dl",
      {},
      tag("dt", {}, "reference"),
      tag("dd", {}, reference),
      tag("dt", {}, "full precision"),
      answer(before),
      tag("dt", {}, "quantized"),
      answer(after),
    ),
  );
}

function answer({ text, correct }: ReportAnswer): Markup {
  const mark = tag(
    "span",
    { class: correct ? "mark right" : "mark wrong" },
    correct ? "✓ right" : "✗ wrong",
  );
  return tag("dd", {}, text === "" ? tag("span", { class: "none" }, "(nothing)") : text, " ", mark);
}

/** Only embedded JPEG and PNG pictures: nothing is loaded from elsewhere, and nothing that could hold a script. */
function isPicture(url: string): boolean {
  return /^data:image\/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2}$/.test(url);
}
