// The flags of `lobit quantize --report`: what they ask for, checked before the run begins, so that hours of work never
// end in a report that cannot be written.
import { badRequest } from "../base/errors.ts";
import { openEvalData } from "../data/files.ts";
import type { EvalItem } from "../data/tsv.ts";
import { folderOf, kindOf, openFile, writeAside } from "../io/host.ts";
import { isSameFile } from "../io/host_folder.ts";
import { isReportJson } from "../report/report.ts";
import { spread } from "./eval.ts";
import type { Arguments, Flag } from "./flags.ts";

/** Flags of the verbs that report. */
export const REPORT_FLAGS: readonly Flag[] = [
  {
    name: "report",
    kind: "text",
    value: "FILE.html",
    help: "write a page about the run, and FILE.json with its numbers",
  },
  {
    name: "eval",
    kind: "text",
    value: "DATA.tsv",
    help: "with --report: measure accuracy before and after on these questions",
  },
  {
    name: "eval-limit",
    kind: "number",
    value: "N",
    help: "with --eval: take N items, evenly spread over the file (default: all)",
  },
];

/** What the flags ask for. */
export interface ReportWanted {
  /** The page. */
  readonly html: string;
  /** Its numbers. */
  readonly json: string;
  /** Questions to measure accuracy on. */
  readonly questions?: { readonly data: string; readonly items: readonly EvalItem[] } | undefined;
  /** What is to be said about them. */
  readonly warnings: readonly string[];
}

/** Reads the flags and the questions, and finds out whether the report can be written. */
export async function reportWanted(
  args: Arguments,
  output: string | undefined,
): Promise<ReportWanted | undefined> {
  const html = args.text("report");
  const data = args.text("eval");
  const limit = args.integer("eval-limit", 1);
  if (html === undefined) {
    if (data !== undefined) {
      throw badRequest("--eval belongs to --report FILE.html, which is missing.");
    }
    if (limit !== undefined) throw badRequest("--eval-limit belongs to --eval, which is missing.");
    return undefined;
  }
  if (output === undefined) {
    throw badRequest("--report needs a run to report on; leave --dry-run out.");
  }
  if (limit !== undefined && data === undefined) {
    throw badRequest("--eval-limit belongs to --eval, which is missing.");
  }
  if (!/\.html?$/i.test(html)) {
    throw badRequest(`--report takes a file name that ends in .html, found "${html}".`);
  }
  const json = html.replace(/\.html?$/i, ".json");
  for (const path of [html, json]) {
    for (const other of [output, ...(data === undefined ? [] : [data])]) {
      if (samePlace(path, other)) {
        throw badRequest(`The report would replace ${other}; give it another name.`);
      }
    }
  }
  await checkJson(json);
  for (const path of [html, json]) writeAside(path).abort();
  if (data === undefined) return { html, json, warnings: [] };
  const { items, bad } = await openEvalData(data);
  const questions = { data, items: spread(items, limit ?? items.length) };
  const warnings = bad.slice(0, 1).map(({ line, problem }) =>
    `${data}: ${bad.length} bad rows left out, e.g. line ${line}: ${problem}`
  );
  return { html, json, questions, warnings };
}

/** Whether two paths lead to one file, be it there or not. */
function samePlace(a: string, b: string): boolean {
  const nameOf = (path: string) => path.split(/[/\\]/).at(-1);
  return isSameFile(a, b) || (nameOf(a) === nameOf(b) && isSameFile(folderOf(a), folderOf(b)));
}

/** The JSON's name is not the user's own words: it may replace an older report, and nothing else. */
async function checkJson(path: string): Promise<void> {
  const kind = kindOf(path);
  if (kind === "none") return;
  if (kind === "file") {
    const source = openFile(path);
    try {
      const begin = new Uint8Array(Math.min(64, source.size));
      await source.read(0, begin);
      if (isReportJson(new TextDecoder().decode(begin))) return;
    } finally {
      source.close();
    }
  }
  throw badRequest(`${path}, which goes with the report, exists and is none; give another name.`);
}
