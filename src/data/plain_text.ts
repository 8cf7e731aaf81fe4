// Plain text as calibration data: paragraphs between blank lines.
import { badFile } from "../base/errors.ts";
import type { DataSet } from "./items.ts";

/**
 * Cuts a text into paragraphs, white space at their ends removed; `name` is the file's, for errors.
 */
export function parsePlainText(text: string, name: string): DataSet<string> {
  const paragraphs = text.replace(/^\ufeff/, "").split(/\r?\n[ \t]*\r?\n/).map((piece) =>
    piece.trim()
  );
  const items = paragraphs.filter((piece) => piece !== "");
  if (items.length === 0) throw badFile(name, "expected text, found none.");
  return { items, bad: [] };
}
