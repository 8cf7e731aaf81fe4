/**
 * VLMEvalKit evaluation files: columns `index`, `image` (base64, a list of base64, the index of an
 * earlier row whose image is meant, or nothing), `question`, `answer`, optionally `hint`, options
 * `A` to `Z`, `category`, `l2-category`.
 */
import { badFile, LobitError } from "../base/errors.ts";
import { decodeBase64 } from "./base64.ts";
import { makeDataSet } from "./bad_share.ts";
import type { BadRecord, DataSet, ImageRef } from "./items.ts";
import { readTsvRows, TSV_LIMITS, type TsvLimits, type TsvRow } from "./tsv_rows.ts";

/** One answer to choose. */
export interface EvalOption {
  /** `A` to `Z`. */
  readonly letter: string;
  /** What it stands for. */
  readonly text: string;
}

/** A question with its right answer. */
export interface EvalItem {
  /** The row's `index`. */
  readonly index: string;
  /** Its images, encoded. */
  readonly images: readonly ImageRef[];
  /** The question, after the hint if there is one. */
  readonly question: string;
  /** Options that have a text; none for an open question. */
  readonly options: readonly EvalOption[];
  /** The right answer: an option's letter or a text. */
  readonly answer: string;
  /** The task, `all` where the file names none. */
  readonly category: string;
  /** The finer task, if the file names it. */
  readonly l2Category: string | undefined;
}

/** Options of {@linkcode readEvalTsv}. */
export interface TsvOptions {
  /** The file's name, for messages. */
  readonly name: string;
  /** Largest share of bad rows that is not fatal; 0.01 by default. */
  readonly maxBadShare?: number;
  /** Limits on fields, columns and rows. */
  readonly limits?: TsvLimits;
}

/** VLMEvalKit takes a shorter image cell for the index of another row. */
const MAX_INDEX = 64;
const MAX_IMAGES = 256;
const LETTERS = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];

/** Reads an evaluation file from chunks of bytes. */
export async function readEvalTsv(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: TsvOptions,
): Promise<DataSet<EvalItem>> {
  const { name } = options;
  const items: EvalItem[] = [];
  const bad: BadRecord[] = [];
  const imagesByIndex = new Map<string, readonly ImageRef[]>();
  let columns: ReadonlyMap<string, number> | undefined;
  for await (const row of readTsvRows(chunks, name, options.limits ?? TSV_LIMITS)) {
    if (!columns) {
      columns = readHeader(row, name);
      continue;
    }
    const item = readItem(row, columns, imagesByIndex, name);
    if (typeof item === "string") {
      bad.push({ line: row.line, problem: item });
      continue;
    }
    if (!imagesByIndex.has(item.index)) imagesByIndex.set(item.index, item.images);
    items.push(item);
  }
  return makeDataSet(items, bad, name, options.maxBadShare);
}

function readHeader(row: TsvRow, name: string): Map<string, number> {
  const columns = new Map<string, number>();
  row.fields.forEach((column, i) => {
    if (columns.has(column)) {
      throw badFile(name, `the header names the column "${brief(column)}" twice.`);
    }
    columns.set(column, i);
  });
  const missing = ["index", "question", "answer"].filter((column) => !columns.has(column));
  if (missing.length > 0) {
    throw badFile(name, `expected VLMEvalKit columns; the header lacks ${missing.join(", ")}.`);
  }
  return columns;
}

/** The item, or what is wrong with the row. */
function readItem(
  row: TsvRow,
  columns: ReadonlyMap<string, number>,
  imagesByIndex: ReadonlyMap<string, readonly ImageRef[]>,
  name: string,
): EvalItem | string {
  if (row.fields.length !== columns.size) {
    return `it has ${row.fields.length} fields where the header has ${columns.size}.`;
  }
  const cell = (column: string) => {
    const at = columns.get(column);
    return at === undefined ? "" : row.fields[at]!;
  };
  const index = cell("index");
  const question = cell("question");
  const answer = cell("answer");
  if (index === "" || question === "" || answer.trim() === "") {
    return "its index, question or answer is empty.";
  }
  const images = readImages(cell("image").trim(), imagesByIndex, `${name}, line ${row.line}`);
  if (typeof images === "string") return images;
  const hint = cell("hint");
  return {
    index,
    images,
    question: hint === "" ? question : `${hint}\n${question}`,
    options: LETTERS.map((letter) => ({ letter, text: cell(letter) })).filter(({ text }) =>
      text !== ""
    ),
    answer,
    category: cell("category") || "all",
    l2Category: cell("l2-category") || undefined,
  };
}

function readImages(
  cell: string,
  imagesByIndex: ReadonlyMap<string, readonly ImageRef[]>,
  source: string,
): readonly ImageRef[] | string {
  if (cell === "") return [];
  if (cell.length <= MAX_INDEX && /^[\w.-]+$/.test(cell)) {
    return imagesByIndex.get(cell) ?? `its image "${cell}" is no earlier row's index.`;
  }
  const codes = cell.startsWith("[") ? splitList(cell) : [cell];
  if (codes === undefined) return "its image is a list that cannot be read.";
  if (codes.length > MAX_IMAGES) return `it has more than ${MAX_IMAGES} images.`;
  try {
    return codes.map((code, i) => ({
      kind: "bytes",
      bytes: decodeBase64(code),
      name: codes.length === 1 ? source : `${source}, image ${i + 1}`,
    }));
  } catch (error) {
    if (error instanceof LobitError) return "its image is not base64.";
    throw error;
  }
}

/**
 * A list as Python or JSON prints it: `['...', "..."]`. Base64 has no quotes or commas, so cutting
 * at commas is exact.
 */
function splitList(cell: string): string[] | undefined {
  if (!cell.endsWith("]")) return undefined;
  const codes: string[] = [];
  for (const entry of cell.slice(1, -1).split(",")) {
    const code = entry.trim();
    const quote = code[0];
    if (code.length < 2 || (quote !== "'" && quote !== '"') || code.at(-1) !== quote) {
      return undefined;
    }
    codes.push(code.slice(1, -1));
  }
  return codes;
}

function brief(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}
