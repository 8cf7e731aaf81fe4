// One stage of the recipe: errors of its blocks before and after, its losses and learning rate step by step, its notes.
import { secondsText } from "../base/units.ts";
import { columns, curves } from "./charts.ts";
import { type Markup, numeral, sequence, shortNumber, tag } from "./markup.ts";
import type { ReportBlock, ReportStage, ReportStep } from "./report.ts";
import { foldedTable, table } from "./table.ts";

const TOTAL = "loss";

/** A stage; `place` counts from 1. */
export function stageSection(stage: ReportStage, place: number): Markup {
  const { name, part, seconds, blocks, curve, notes } = stage;
  return sequence(
    tag("h3", {}, `${place}. ${name}${part === undefined ? "" : ` (${part})`}`),
    tag(
      "p",
      {},
      "Took ",
      numeral(seconds, secondsText),
      blocks.length > 0 && `, ${countOf(blocks.length, "block")}`,
      curve.length > 0 && `, ${countOf(curve.length, "training step")}`,
      ".",
    ),
    notes.map((note) => tag("p", {}, note)),
    blocks.length > 0 && blockCharts(blocks),
    curve.length > 0 && curveCharts(curve),
  );
}

function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function blockCharts(blocks: readonly ReportBlock[]): Markup {
  const title = "Error of each block's output";
  const rows = blocks.map(({ name, errorBefore, errorAfter }) => {
    const known = errorBefore !== null && errorAfter !== null && errorBefore > 0;
    return [
      name,
      numeral(errorBefore, shortNumber),
      numeral(errorAfter, shortNumber),
      known ? changeText(errorAfter / errorBefore - 1) : "",
    ];
  });
  return sequence(
    columns({
      title,
      labels: blocks.map(({ name }, i) => /(\d+)\D*$/.exec(name)?.[1] ?? String(i + 1)),
      series: [
        { name: "rounded to nearest", values: blocks.map(({ errorBefore }) => errorBefore) },
        { name: "after the stage", values: blocks.map(({ errorAfter }) => errorAfter) },
      ],
    }),
    table(
      `${title}: squared, relative to full precision`,
      [{ name: "block" }, { name: "rounded to nearest" }, { name: "after" }, { name: "change" }],
      rows,
    ),
  );
}

function changeText(share: number): string {
  const percent = (100 * Math.abs(share)).toFixed(1);
  return `${share > 0 ? "+" : "−"}${percent} %`;
}

function curveCharts(curve: readonly ReportStep[]): Markup {
  const names = [...new Set(curve.flatMap(({ losses }) => Object.keys(losses)))];
  const steps = curve.map(({ step }) => step);
  // The total takes the strongest colour, whatever its place.
  const colours = new Map<string, number>();
  for (const name of [...names].sort((a, b) => Number(b === TOTAL) - Number(a === TOTAL))) {
    colours.set(name, colours.size + 1);
  }
  const rates = curve.map(({ learningRate }) => learningRate);
  const hasRates = rates.some((rate) => rate !== undefined);
  return sequence(
    curves({
      title: "Losses",
      xName: "step",
      x: steps,
      series: names.map((name) => ({
        name,
        values: curve.map(({ losses }) => losses[name]),
        colour: colours.get(name)!,
      })),
    }),
    hasRates && curves({
      title: "Learning rate",
      xName: "step",
      x: steps,
      series: [{ name: "learning rate", values: rates, colour: 1 }],
      log: false,
    }),
    foldedTable(
      `Losses of all ${curve.length} steps`,
      [
        { name: "step" },
        ...names.map((name) => ({ name })),
        ...(hasRates ? [{ name: "learning rate" }] : []),
      ],
      curve.map(({ step, losses, learningRate }) => [
        numeral(step, String),
        ...names.map((name) => numeral(losses[name], shortNumber)),
        ...(hasRates ? [numeral(learningRate, shortNumber)] : []),
      ]),
    ),
  );
}
