/**
 * Rows of a tab-separated file, from chunks of bytes: a field that begins with a quote runs to the
 * next single quote and may hold tabs, line ends and doubled quotes, as in pandas' and VLMEvalKit's
 * files. Fields, columns and rows are limited.
 */
import { badFile } from "../base/errors.ts";

/** Limits that a hostile file runs into. */
export interface TsvLimits {
  /** Characters of one field. */
  readonly field: number;
  /** Fields of one row. */
  readonly columns: number;
  /** Rows, the header included. */
  readonly rows: number;
}

/** Room for a list of several large images in one field. */
export const TSV_LIMITS: TsvLimits = { field: 64 * 1024 * 1024, columns: 256, rows: 2_000_000 };

/** A row and where it begins. */
export interface TsvRow {
  /** Line of the row's first character, from 1. */
  readonly line: number;
  /** Its fields, unquoted. */
  readonly fields: readonly string[];
}

/**
 * Yields the rows; blank lines are skipped. Text that is not UTF-8 or breaks a limit is a bad file.
 */
export async function* readTsvRows(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name: string,
  limits: TsvLimits = TSV_LIMITS,
): AsyncGenerator<TsvRow> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const parser = new RowParser(name, limits);
  const decode = (chunk?: Uint8Array) => {
    try {
      // A view of shared memory is no valid input for a decoder, hence the copy.
      return chunk ? decoder.decode(new Uint8Array(chunk), { stream: true }) : decoder.decode();
    } catch (cause) {
      throw badFile(name, `expected UTF-8 text near line ${parser.line}.`, { cause });
    }
  };
  for await (const chunk of chunks) yield* parser.push(decode(chunk));
  yield* parser.push(decode());
  yield* parser.finish();
}

/**
 * What the parser is inside of: `quoteEnd` has seen a quote that either ends the field or is the
 * first of two.
 */
type State = "start" | "plain" | "quoted" | "quoteEnd";

class RowParser {
  line = 1;
  readonly #name: string;
  readonly #limits: TsvLimits;
  #state: State = "start";
  #rowLine = 1;
  #rows = 0;
  #fields: string[] = [];
  #pieces: string[] = [];
  #length = 0;

  constructor(name: string, limits: TsvLimits) {
    this.#name = name;
    this.#limits = limits;
  }

  *push(text: string): Generator<TsvRow> {
    let at = 0;
    while (at < text.length) {
      if (this.#state === "quoted") {
        const quote = text.indexOf('"', at);
        const end = quote < 0 ? text.length : quote;
        this.#take(text.slice(at, end));
        at = end + 1;
        if (quote >= 0) this.#state = "quoteEnd";
        continue;
      }
      const char = text[at]!;
      if (char === '"' && this.#state !== "plain") {
        // At a field's start it opens the field; after a quote the two stand for one.
        if (this.#state === "quoteEnd") this.#take('"');
        this.#state = "quoted";
        at++;
      } else if (char === "\t") {
        this.#endField();
        at++;
      } else if (char === "\n") {
        const row = this.#endRow();
        this.line++;
        this.#rowLine = this.line;
        if (row) yield row;
        at++;
      } else {
        const end = this.#plainEnd(text, at);
        this.#take(text.slice(at, end));
        this.#state = "plain";
        at = end;
      }
    }
  }

  *finish(): Generator<TsvRow> {
    if (this.#state === "quoted") {
      throw badFile(this.#name, `the quoted field in the row of line ${this.#rowLine} never ends.`);
    }
    const row = this.#endRow();
    if (row) yield row;
  }

  #plainEnd(text: string, from: number): number {
    for (let i = from; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code === 9 || code === 10) return i;
    }
    return text.length;
  }

  #take(piece: string): void {
    this.#length += piece.length;
    if (this.#length > this.#limits.field) {
      throw badFile(
        this.#name,
        `line ${this.#rowLine} has a field of more than ${this.#limits.field} characters.`,
      );
    }
    if (this.#state === "quoted") {
      for (let i = piece.indexOf("\n"); i >= 0; i = piece.indexOf("\n", i + 1)) this.line++;
    }
    this.#pieces.push(piece);
  }

  #endField(): void {
    this.#fields.push(this.#pieces.join(""));
    if (this.#fields.length > this.#limits.columns) {
      throw badFile(
        this.#name,
        `line ${this.#rowLine} has more than ${this.#limits.columns} columns.`,
      );
    }
    this.#pieces = [];
    this.#length = 0;
    this.#state = "start";
  }

  #endRow(): TsvRow | undefined {
    const quoted = this.#state === "quoteEnd";
    this.#endField();
    const fields = this.#fields;
    this.#fields = [];
    const last = fields.length - 1;
    if (!quoted && fields[last]!.endsWith("\r")) fields[last] = fields[last]!.slice(0, -1);
    if (last === 0 && fields[0] === "") return undefined;
    if (++this.#rows > this.#limits.rows) {
      throw badFile(this.#name, `it has more than ${this.#limits.rows} rows.`);
    }
    return { line: this.#rowLine, fields };
  }
}
