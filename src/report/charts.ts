// Charts as inline SVG that need no script. Widths are percentages of the page and heights pixels, so that text keeps its
// size on narrow screens. Series differ in more than colour: curves in dashes, bars in order and in written values.
import { type Markup, type Part, sequence, shortNumber, tag } from "./markup.ts";
import { fittingScale, linearScale, type Scale } from "./scale.ts";

/** Numbers of one kind, for every label; null or NaN where there is none. */
export interface Series {
  /** For the legend. */
  readonly name: string;
  /** One per label. */
  readonly values: readonly (number | null | undefined)[];
  /** Which colour, 0 to 5; default its place among the series. */
  readonly colour?: number;
}

/** Bars or columns. */
export interface Chart {
  /** One line above it. */
  readonly title: string;
  /** What the bars stand for. */
  readonly labels: readonly string[];
  /** Drawn in this order. */
  readonly series: readonly Series[];
  /** How numbers are written. */
  readonly text?: (value: number) => string;
  /** What the longest bar possible stands for, if known, e.g. 100 percent. */
  readonly most?: number;
}

/** Curves over numbers that grow. */
export interface Curves {
  /** One line above it. */
  readonly title: string;
  /** What x counts. */
  readonly xName: string;
  /** One per value of each series. */
  readonly x: readonly number[];
  /** Drawn in this order. */
  readonly series: readonly Series[];
  /** Fixed instead of chosen by the values' range. */
  readonly log?: false;
}

const BAR = 14;
const LABEL = 20;
const GAP = 10;
/** Share of the width for the longest bar; its value is written after it. */
const BAR_SHARE = 0.8;
const PLOT_HEIGHT = 220;
const PAD = 8;
const BELOW = 22;
const BELOW_PLOT = { class: "tick", y: PAD + PLOT_HEIGHT + 16 };
/** Curves with more points are drawn by the extremes of so many stretches. */
const STRETCHES = 800;
const COLOURS = 6;
/** Columns are compared by length, so they leave the linear axis later than curves. */
const WIDE_COLUMNS = 200;
/** No measurement is this large, and sums of such numbers overflow. */
const BEYOND = 1e300;

/** Horizontal bars below their labels, one per series, each with its value. */
export function bars({ title, labels, series, text = shortNumber, most }: Chart): Markup {
  if (labels.length === 0) return emptyChart(title);
  const top = most ?? Math.max(0, ...finite(series));
  const height = LABEL + series.length * BAR + GAP;
  const rows = labels.map((label, row) => {
    const lines = series.map(({ values, colour }, i) => {
      const value = values[row];
      const y = LABEL + i * BAR;
      const known = isNumber(value);
      const share = known && top > 0 ? Math.min(1, Math.max(0, value / top)) * BAR_SHARE : 0;
      return [
        tag("rect", {
          class: fill(colour ?? i),
          y,
          width: percent(share),
          height: BAR - 3,
        }),
        tag(
          "text",
          { class: "value", x: percent(share), dx: 6, y: y + BAR - 4 },
          known ? text(value) : "–",
        ),
      ];
    });
    return tag(
      "svg",
      { y: row * height, width: "100%", height },
      tag("text", { y: LABEL - 6 }, label),
      lines,
    );
  });
  const size = { width: "100%", height: rows.length * height };
  const drawing = { role: "img", "aria-label": summary(title, series), ...size };
  return figure(title, series, tag("svg", drawing, rows));
}

/** Upright columns side by side, for many labels; the labels' numbers stand below. */
export function columns({ title, labels, series, text = shortNumber, most }: Chart): Markup {
  const known = finite(series);
  if (labels.length === 0 || known.length === 0) return emptyChart(title);
  const scale = most === undefined ? fittingScale(known, WIDE_COLUMNS) : linearScale([most]);
  const slot = 1 / labels.length;
  const width = 0.8 * slot / Math.max(1, series.length);
  const drawn = series.flatMap(({ values, colour }, i) =>
    labels.map((label, at) => {
      const value = values[at];
      if (!isNumber(value)) return undefined;
      // A column is at least a line, so that the smallest value of a logarithmic axis is seen.
      const high = Math.max(1.5, scale.place(value) * PLOT_HEIGHT);
      const x = (at + 0.1) * slot + i * width;
      return tag(
        "rect",
        {
          class: fill(colour ?? i),
          x: percent(x),
          y: pixels(PAD + PLOT_HEIGHT - high),
          width: percent(width * 0.94),
          height: pixels(high),
        },
        tag("title", {}, `${label}: ${text(value)}`),
      );
    })
  );
  const every = Math.ceil(labels.length / 16);
  const below = labels.map((label, at) =>
    at % every === 0 &&
    tag("text", { ...BELOW_PLOT, "text-anchor": "middle", x: percent((at + 0.5) * slot) }, label)
  );
  return figure(title, series, plot(title, series, scale, text, [drawn, below]));
}

/** Curves on a logarithmic axis where their range is wide; breaks where a value is no number. */
export function curves({ title, xName, x, series, log }: Curves): Markup {
  const known = finite(series);
  const steps = x.filter(isNumber);
  if (known.length === 0 || steps.length === 0) return emptyChart(title);
  const scale = log === false ? linearScale(known) : fittingScale(known);
  const from = steps.reduce((a, b) => Math.min(a, b));
  const to = steps.reduce((a, b) => Math.max(a, b));
  const across = (value: number) => to > from ? (value - from) / (to - from) : 0.5;
  const drawn = series.map(({ values, colour }, i) => {
    const points = x.map((at, p): Point | undefined => {
      const value = values[p];
      return isNumber(value) && isNumber(at)
        ? { x: across(at), y: 1 - scale.place(value) }
        : undefined;
    });
    const path = pathOf(points);
    const lone = points.filter((point, p) => point && !points[p - 1] && !points[p + 1]) as Point[];
    const stretched = { viewBox: "0 0 1000 1000", preserveAspectRatio: "none" };
    return [
      path !== "" && tag(
        "svg",
        { y: PAD, width: "100%", height: PLOT_HEIGHT, ...stretched },
        tag("path", { class: line(colour ?? i), "vector-effect": "non-scaling-stroke", d: path }),
      ),
      lone.map(({ x, y }) => {
        const centre = { cx: percent(x), cy: pixels(PAD + y * PLOT_HEIGHT) };
        return tag("circle", { class: fill(colour ?? i), ...centre, r: 3 });
      }),
    ];
  });
  const ends = from === to
    ? tag("text", { ...BELOW_PLOT, "text-anchor": "middle", x: "50%" }, `${xName} ${from}`)
    : [
      tag("text", BELOW_PLOT, `${xName} ${from}`),
      tag("text", { ...BELOW_PLOT, "text-anchor": "end", x: "100%" }, to),
    ];
  return figure(title, series, plot(title, series, scale, shortNumber, [drawn, ends]), line);
}

interface Point {
  x: number;
  y: number;
}

function pathOf(points: readonly (Point | undefined)[]): string {
  let path = "";
  let open = false;
  for (const point of thinned(points)) {
    if (point) path += `${open ? "L" : "M"}${thousandths(point.x)} ${thousandths(point.y)}`;
    open = point !== undefined;
  }
  // A lone point is no line; it is drawn as a dot.
  return path.replace(/M[^ML]*(?=M|$)/g, "");
}

/** Long curves by the first, lowest, highest and last point of each stretch; gaps stay. */
function thinned(points: readonly (Point | undefined)[]): readonly (Point | undefined)[] {
  if (points.length <= 4 * STRETCHES) return points;
  const size = points.length / STRETCHES;
  return Array.from({ length: STRETCHES }, (_, s) => {
    const stretch = points.slice(Math.floor(s * size), Math.floor((s + 1) * size));
    if (stretch.includes(undefined)) return stretch;
    const all = stretch as Point[];
    const low = all.reduce((a, b) => b.y > a.y ? b : a);
    const high = all.reduce((a, b) => b.y < a.y ? b : a);
    const keep = new Set([all[0], low, high, all.at(-1)]);
    return all.filter((point) => keep.has(point));
  }).flat();
}

function plot(
  title: string,
  series: readonly Series[],
  scale: Scale,
  text: (value: number) => string,
  inside: Part,
): Markup {
  const height = PAD + PLOT_HEIGHT + BELOW;
  const at = (tick: number) => PAD + (1 - scale.place(tick)) * PLOT_HEIGHT;
  const marks = scale.ticks.map((tick) => {
    const place = { "text-anchor": "end", x: "100%", dx: -6, y: pixels(at(tick) + 4) };
    return tag("text", { class: "tick", ...place }, text(tick));
  });
  const grid = scale.ticks.map((tick) => {
    const y = pixels(at(tick));
    return tag("line", { class: "grid", x1: 0, x2: "100%", y1: y, y2: y });
  });
  return sequence(
    tag(
      "div",
      { class: "plot", role: "img", "aria-label": summary(title, series) },
      tag("svg", { class: "axis", height }, marks),
      tag("svg", { class: "area", width: "100%", height }, grid, inside),
    ),
    scale.log && tag("p", { class: "small" }, "Logarithmic scale."),
  );
}

function figure(
  title: string,
  series: readonly Series[],
  body: Markup,
  mark: (colour: number) => string = fill,
): Markup {
  const entries = series.map(({ name, colour }, i) => {
    const number = colour ?? i;
    const sample = mark === fill
      ? tag("rect", { class: fill(number), width: 22, height: 10 })
      : tag("line", { class: line(number), x1: 0, x2: 22, y1: 5, y2: 5 });
    const size = { width: 22, height: 10, "aria-hidden": "true" };
    return tag("li", {}, tag("svg", size, sample), name);
  });
  const legend = series.length > 1 && tag("ul", { class: "legend" }, entries);
  return tag("figure", {}, tag("figcaption", {}, title), legend, body);
}

function emptyChart(title: string): Markup {
  const nothing = tag("p", { class: "small" }, "Nothing was measured.");
  return tag("figure", {}, tag("figcaption", {}, title), nothing);
}

function summary(title: string, series: readonly Series[]): string {
  return `${title}: ${
    series.map(({ name }) => name).join(", ")
  }. The numbers are in the table below.`;
}

function finite(series: readonly Series[]): number[] {
  return series.flatMap(({ values }) => values.filter(isNumber));
}

function isNumber(value: number | null | undefined): value is number {
  return typeof value === "number" && Math.abs(value) < BEYOND;
}

function fill(colour: number): string {
  return `f${colour % COLOURS}`;
}

function line(colour: number): string {
  return `l${colour % COLOURS}`;
}

function percent(share: number): string {
  return `${Number((100 * share).toFixed(3))}%`;
}

function pixels(value: number): string {
  return String(Number(value.toFixed(2)));
}

function thousandths(share: number): string {
  return String(Number((1000 * share).toFixed(1)));
}
