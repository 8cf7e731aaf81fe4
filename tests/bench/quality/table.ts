// The quality table as Markdown: means over seeds, what is kept of full precision and of its control, differences with
// their intervals, cost. Everything is worked out from the records, so that it can be printed again at any time.
import type { Making } from "./records.ts";
import { ABLATION_STEPS, type Row } from "./rows.ts";
import {
  averageOf,
  categoriesOf,
  type Hits,
  type Interval,
  intervalsOf,
  meanOf,
  spreadOf,
} from "./statistics.ts";

/** A row with the runs that there are. */
export interface Entry {
  readonly row: Row;
  readonly runs: readonly { readonly hits: Hits; readonly making: Making }[];
}

const SECTIONS: Readonly<Record<Row["section"], string>> = {
  methods: "methods",
  equalized: "with channel equalization",
  control: "control: full precision trained on labels, same data and steps",
  ablations: `ablations, ${ABLATION_STEPS} steps in the language stage`,
  own: "own",
};

/** Accuracy and cost, one line per row; sections in bold. Empty if there is no run yet. */
export function qualityTable(entries: readonly Entry[], resamples = 10_000): string {
  const shown = entries.filter(({ runs }) => runs.length > 0);
  const find = (fits: (row: Row) => boolean) => shown.find(({ row }) => fits(row));
  const full = find(({ id }) => id === "full");
  const hitsOf = ({ runs }: Entry) => runs.map(({ hits }) => hits);
  const compared: { entry: Entry; to: Entry; which: "full" | "rtn" }[] = [];
  for (const entry of shown) {
    const { id, bits } = entry.row;
    const rounded = bits && find((row) => row.id === `rtn-${bits}`);
    if (full && id !== "full") compared.push({ entry, to: full, which: "full" });
    if (rounded && rounded !== entry) compared.push({ entry, to: rounded, which: "rtn" });
  }
  const intervals = intervalsOf(
    compared.map(({ entry, to }) => ({ of: hitsOf(entry), to: hitsOf(to) })),
    { resamples },
  );
  const intervalFor = (entry: Entry, which: "full" | "rtn"): string => {
    const at = compared.findIndex((one) => one.entry === entry && one.which === which);
    return at < 0 ? "" : intervalText(intervals[at]!);
  };
  const accuracy = (entry: Entry) => meanOf(hitsOf(entry).map(averageOf));
  const kept = (entry: Entry, of: Entry | undefined) =>
    of ? (100 * accuracy(entry) / accuracy(of)).toFixed(1) : "";
  const lines = [[
    ...["row", "bits", "runs", "accuracy %", "±", "kept %", "kept of control %"],
    ...["− full [95 %]", "− rtn [95 %]", "min", "CPU min", "MB", "file MB"],
  ]];
  let section: Row["section"] | undefined;
  for (const entry of shown) {
    const { row, runs } = entry;
    if (row.section !== section) {
      section = row.section;
      lines.push([`**${SECTIONS[section]}**`, ...lines[0]!.slice(1).map(() => "")]);
    }
    const control = find(({ id }) => id === row.control);
    lines.push([
      row.name,
      row.bits === undefined ? "" : String(row.bits),
      String(runs.length),
      accuracy(entry).toFixed(2),
      spreadOf(hitsOf(entry).map(averageOf))?.toFixed(2) ?? "",
      kept(entry, full),
      control ? kept(entry, control) : "",
      intervalFor(entry, "full"),
      intervalFor(entry, "rtn"),
      ...costs(runs.map(({ making }) => making)),
    ]);
  }
  return shown.length === 0 ? "" : markdown(lines);
}

/** Accuracy per category in percent, means over seeds. */
export function categoryTable(entries: readonly Entry[]): string {
  const shown = entries.filter(({ runs }) => runs.length > 0);
  if (shown.length === 0) return "";
  const names = Object.keys(shown[0]!.runs[0]!.hits);
  return markdown([
    ["row", "bits", ...names],
    ...shown.map(({ row, runs }) => [
      row.name,
      row.bits === undefined ? "" : String(row.bits),
      ...names.map((name) => meanOf(runs.map(({ hits }) => categoriesOf(hits)[name]!)).toFixed(1)),
    ]),
  ]);
}

/** Minutes on the clock and of the processors, peak and file size; a plus says that shared stages are not counted. */
function costs(makings: readonly Making[]): string[] {
  const mean = (of: (making: Making) => number | undefined, unit: number, digits: number) => {
    const values = makings.flatMap((making) => of(making) ?? []);
    return values.length === 0 ? "" : (meanOf(values) / unit).toFixed(digits);
  };
  const shares = makings.some(({ stages }) => stages?.some(({ shared }) => shared));
  const worked = makings.some(({ wall }) => wall > 0);
  return [
    worked ? mean(({ wall }) => wall, 60, 2) : "",
    worked ? mean(({ cpu }) => cpu, 60, 2) + (shares ? "+" : "") : "",
    mean(({ resident, kernels }) => resident ?? kernels, 1e6, 0),
    mean(({ fileBytes }) => fileBytes, 1e6, 2),
  ];
}

function intervalText({ difference, low, high }: Interval): string {
  const text = (value: number) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
  return `${text(difference)} [${text(low)}, ${text(high)}]`;
}

function markdown([head, ...lines]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  const rule = line(head!.map((_, i) => i === 0 ? "---" : "--:"));
  return line(head!) + rule + lines.map(line).join("");
}
