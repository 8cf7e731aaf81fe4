// A run's report as one page: no script, no font, no picture from elsewhere, which its content security policy also
// forbids. What a run did not have, the page does not mention.
import { bytesText, secondsText } from "../base/units.ts";
import { accuracySection, sampleSection } from "./accuracy_section.ts";
import { Markup, numeral, type Part, percentText, sequence, tag } from "./markup.ts";
import type { RunReport } from "./report.ts";
import { sizeSection, weightSection } from "./size_section.ts";
import { stageSection } from "./stage_section.ts";
import { STYLE } from "./style.ts";
import { table } from "./table.ts";

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

interface Section {
  id: string;
  title: string;
  body: Markup;
}

/** The page, as the text of an HTML file. */
export function reportHtml(report: RunReport): string {
  const { model, recipe, warnings } = report;
  const title = `${model}${recipe ? `, quantized by ${recipe.name}` : ""}`;
  const sections = sectionsOf(report);
  const page = tag(
    "html",
    { lang: "en" },
    "\n",
    tag(
      "head",
      {},
      tag("meta", { charset: "utf-8" }),
      tag("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }),
      tag("meta", { "http-equiv": "Content-Security-Policy", content: POLICY }),
      tag("meta", { name: "generator", content: `lobit ${report.lobit}` }),
      tag("title", {}, title),
      tag("style", {}, new Markup(STYLE)),
    ),
    tag(
      "body",
      {},
      tag(
        "header",
        {},
        tag("h1", {}, model),
        tag(
          "p",
          { class: "small" },
          recipe && `Recipe ${recipe.name}, `,
          `lobit ${report.lobit}, `,
          dateText(report.date),
        ),
        facts(report),
        warnings.length > 0 && tag(
          "aside",
          { class: "warnings", "aria-label": "Warnings" },
          tag("ul", {}, warnings.map((warning) => tag("li", {}, warning))),
        ),
        tag(
          "nav",
          { "aria-label": "Sections" },
          sections.map(({ id, title }) => [tag("a", { href: `#${id}` }, title), " "]),
        ),
      ),
      tag("main", {}, sections.map(sectionElement)),
      tag(
        "footer",
        { class: "small" },
        `Made by lobit ${report.lobit}. The same numbers are in the JSON file beside this page.`,
      ),
    ),
  );
  return `<!DOCTYPE html>\n${page.text}\n`;
}

function sectionElement({ id, title, body }: Section): Markup {
  return tag("section", { "aria-labelledby": id }, tag("h2", { id }, title), body);
}

function sectionsOf(report: RunReport): Section[] {
  const { plan, accuracy, samples, stages } = report;
  const sections: Section[] = [];
  if (plan) sections.push({ id: "size", title: "Size", body: sizeSection(plan) });
  if (accuracy) {
    sections.push({ id: "accuracy", title: "Accuracy", body: accuracySection(accuracy) });
  }
  if (samples.length > 0) {
    sections.push({ id: "samples", title: "Sample answers", body: sampleSection(samples) });
  }
  if (stages.length > 0) {
    const body = sequence(stages.map((stage, i) => stageSection(stage, i + 1)));
    sections.push({ id: "stages", title: "Stages", body });
  }
  if (plan) sections.push({ id: "weights", title: "Weights", body: weightSection(plan) });
  sections.push({ id: "run", title: "The run", body: runSection(report) });
  return sections;
}

/** The figures that one looks for first. */
function facts({ plan, accuracy, timings, stages, peakMemory }: RunReport): Markup {
  const list: { name: string; value: Part; more?: Part }[] = [];
  if (plan) {
    const { bytes, bytesBefore, bitsPerWeight } = plan;
    list.push({
      name: "Size",
      value: sequence(numeral(bytesBefore, bytesText), " → ", numeral(bytes, bytesText)),
      more: bytes > 0 && `${(bytesBefore / bytes).toFixed(1)} times smaller`,
    }, {
      name: "Bits per weight",
      value: numeral(bitsPerWeight, (value) => value.toFixed(2)),
      more: "linears, with their scales",
    });
  }
  if (accuracy) {
    const { before, after } = accuracy;
    list.push({
      name: "Accuracy",
      value: sequence(
        numeral(before.average, percentText),
        " → ",
        numeral(after.average, percentText),
      ),
      more: before.average > 0 && `${(100 * after.average / before.average).toFixed(1)} % kept`,
    });
  }
  const seconds = (pieces: readonly { seconds: number }[]) =>
    pieces.reduce((sum, piece) => sum + piece.seconds, 0);
  if (timings.length + stages.length > 0) {
    const whole = timings.length > 0;
    list.push({
      name: "Time",
      value: numeral(seconds(whole ? timings : stages), secondsText),
      more: whole && stages.length > 0 && `${secondsText(seconds(stages))} in the recipe's stages`,
    });
  }
  if (peakMemory !== undefined) {
    list.push({
      name: "Memory",
      value: numeral(peakMemory, bytesText),
      more: "for weights and activations, at its peak",
    });
  }
  return tag(
    "dl",
    { class: "facts" },
    list.map(({ name, value, more }) =>
      tag(
        "div",
        {},
        tag("dt", {}, name),
        tag("dd", {}, value, more && [" ", tag("small", {}, more)]),
      )
    ),
  );
}

function runSection(report: RunReport): Markup {
  const { machine, recipe, timings, peakMemory, file } = report;
  const rows: Part[][] = [["begun", dateText(report.date)], ["lobit", report.lobit]];
  if (machine) {
    rows.push(["threads", numeral(machine.threads, String)], ["kernels", machine.build]);
    if (machine.host !== undefined) rows.push(["host", machine.host]);
  }
  for (const { name, seconds } of timings) rows.push([name, numeral(seconds, secondsText)]);
  if (peakMemory !== undefined) {
    rows.push(["most memory for weights and activations", numeral(peakMemory, bytesText)]);
  }
  if (file) rows.push(["file", file.name], ["file's size", numeral(file.bytes, bytesText)]);
  return sequence(
    table("Circumstances", [{ name: "what" }, { name: "value", left: true }], rows),
    recipe && tag(
      "details",
      {},
      tag("summary", {}, "The recipe as data"),
      tag("pre", {}, JSON.stringify(recipe, undefined, 2)),
    ),
  );
}

function dateText(date: string): Markup {
  const readable = /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(date)
    ? `${date.slice(0, 10)} ${date.slice(11, 16)}${date.endsWith("Z") ? " UTC" : ""}`
    : date;
  return tag("time", { datetime: date }, readable);
}
