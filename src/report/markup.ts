// HTML and SVG by construction: elements close, attributes are quoted, and every text put into them is escaped unless it is
// markup already, so that no name, question or answer can become markup.

/** Text that is markup already. */
export class Markup {
  /** Wraps what needs no escaping; outside this file only the page's own style is. */
  constructor(readonly text: string) {}
}

/** What an element may hold; nothing and `false` leave nothing behind. */
export type Part = Markup | string | number | undefined | false | readonly Part[];

/** Attributes by name; what is undefined is left out. */
export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** HTML elements that have no content and no end. */
const VOID: ReadonlySet<string> = new Set(["img", "meta"]);
/** Elements after which the file's text has a line end. */
const LINES: ReadonlySet<string> = new Set(
  ["article", "caption", "dd", "figure", "footer", "h1", "h2", "h3", "head", "header", "li"]
    .concat(["main", "meta", "p", "section", "summary", "svg", "title", "tr"]),
);

/** An element. */
export function tag(name: string, attributes: Attributes, ...content: readonly Part[]): Markup {
  let text = `<${name}`;
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) text += ` ${key}="${escapeText(String(value))}"`;
  }
  text += VOID.has(name) ? "/>" : `>${textOf(content)}</${name}>`;
  return new Markup(LINES.has(name) ? `${text}\n` : text);
}

/** Parts one after the other. */
export function sequence(...parts: readonly Part[]): Markup {
  return new Markup(textOf(parts));
}

function textOf(part: Part): string {
  if (part instanceof Markup) return part.text;
  if (part === undefined || part === false) return "";
  if (typeof part === "object") return part.map(textOf).join("");
  return escapeText(String(part));
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text for elements and quoted attributes. What HTML cannot hold (controls, half surrogates) becomes U+FFFD. */
export function escapeText(text: string): string {
  return text
    // deno-lint-ignore no-control-regex
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]|\p{Surrogate}/gu, "\ufffd")
    .replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

/** A number as people read it, with the whole of it for programs; a dash where there is none. */
export function numeral(value: number | null | undefined, text: (value: number) => string): Markup {
  return value === null || value === undefined || !Number.isFinite(value)
    ? tag("span", { class: "none" }, "–")
    : tag("data", { value }, text(value));
}

/** Three significant digits: `0.0123`, `1.23e-7`, `12300`. */
export function shortNumber(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e6) return Number(value.toPrecision(3)).toExponential();
  return size >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** Percent with two decimals. */
export function percentText(value: number): string {
  return `${value.toFixed(2)} %`;
}
