// Tables: a caption, a heading row, a first column of names, and cells that scroll sideways on narrow screens.
import { type Markup, type Part, tag } from "./markup.ts";

/** A column. */
export interface Column {
  /** Heading. */
  readonly name: string;
  /** Texts stand on the left, numbers (the default) on the right. */
  readonly left?: boolean;
}

/** A table whose rows begin with their name; `foot` is a last row of sums. */
export function table(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly Part[])[],
  foot?: readonly Part[],
): Markup {
  const cells = ([name, ...others]: readonly Part[]) =>
    tag(
      "tr",
      {},
      tag("th", { scope: "row" }, name),
      others.map((cell, i) => tag("td", alignment(columns[i + 1]!), cell)),
    );
  const head = columns.map((column) =>
    tag("th", { scope: "col", ...alignment(column) }, column.name)
  );
  return tag(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    tag(
      "table",
      {},
      tag("caption", {}, caption),
      tag("thead", {}, tag("tr", {}, head)),
      tag("tbody", {}, rows.map(cells)),
      foot && tag("tfoot", {}, cells(foot)),
    ),
  );
}

function alignment({ left }: Column): { class?: string } {
  return left ? { class: "left" } : {};
}

/** A table that opens on demand; it prints open. */
export function foldedTable(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly Part[])[],
): Markup {
  return tag("details", {}, tag("summary", {}, caption), table(caption, columns, rows));
}
