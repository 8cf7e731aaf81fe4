// The rule for bad records: counted, reported, and fatal only above a stated share.
import { badFile, badRequest } from "../base/errors.ts";
import { type BadRecord, type DataSet, DEFAULT_BAD_SHARE } from "./items.ts";

/**
 * Makes a data set, unless too many records are bad (a bad-file error that names the first few) or
 * none is left.
 */
export function makeDataSet<Item>(
  items: readonly Item[],
  bad: readonly BadRecord[],
  file: string,
  maxBadShare: number = DEFAULT_BAD_SHARE,
): DataSet<Item> {
  if (!(maxBadShare >= 0 && maxBadShare <= 1)) {
    throw badRequest(`The share of bad records must be from 0 to 1, found ${maxBadShare}.`);
  }
  const total = items.length + bad.length;
  if (total === 0) throw badFile(file, "expected records, found none.");
  if (items.length === 0 || bad.length > maxBadShare * total) {
    const first = bad.slice(0, 5).map(({ line, problem }) => `line ${line}: ${problem}`).join(" ");
    throw badFile(
      file,
      `${bad.length} of ${total} records are bad, more than the allowed share of ${maxBadShare}. ${first}`,
    );
  }
  return { items, bad };
}
