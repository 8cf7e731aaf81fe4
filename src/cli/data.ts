// Data and recipes that a command line names. What a path holds is told by its kind: a folder has pictures, `.txt` plain
// text, `.tsv` questions with answers, anything else conversations as JSONL.
import { badRequest, LobitError } from "../base/errors.ts";
import { openChatData, openEvalData, openImageFolder, openPlainText } from "../data/files.ts";
import type { BadRecord, ChatItem, DataSet, ImageRef } from "../data/items.ts";
import { itemMessages } from "../data/score.ts";
import { kindOf, readTextFile } from "../io/host.ts";
import { parseJson } from "../io/bytes.ts";
import type { GivenData } from "../recipe/calibration_data.ts";
import { readRecipe } from "../recipe/read.ts";
import type { Recipe } from "../recipe/recipe.ts";

/**
 * Reads everything that `--data` names, in order, and puts together what is of one kind; says how many records were left
 * out. All files at fault are told at once.
 */
export async function readData(
  paths: readonly string[],
  say: (text: string) => void,
  maxBadShare?: number,
): Promise<GivenData> {
  const data: ChatItem[] = [];
  const pictures: ImageRef[] = [];
  const texts: string[] = [];
  const faults: LobitError[] = [];
  const take = <Item>(path: string, into: Item[], { items, bad }: DataSet<Item>) => {
    for (const item of items) into.push(item);
    tellBad(path, bad, items.length + bad.length, say);
  };
  for (const [i, path] of paths.entries()) {
    try {
      if (paths.indexOf(path) !== i) throw badRequest(`${path}: --data names it twice.`);
      if (kindOf(path) === "folder") take(path, pictures, openImageFolder(path));
      else if (path.endsWith(".txt")) take(path, texts, openPlainText(path));
      else if (path.endsWith(".tsv")) take(path, data, await answered(path, maxBadShare));
      else take(path, data, openChatData(path, maxBadShare));
    } catch (error) {
      if (!(error instanceof LobitError)) throw error;
      faults.push(error);
    }
  }
  if (faults.length === 1) throw faults[0]!;
  if (faults.length > 1) {
    const list = faults.map(({ message }) => `\n- ${message}`).join("");
    throw new LobitError(faults[0]!.code, `${faults.length} of the data cannot be used:${list}`);
  }
  return {
    ...(data.length > 0 && { data }),
    ...(pictures.length > 0 && { pictures }),
    ...(texts.length > 0 && { texts }),
  };
}

/** The questions of a TSV as conversations that end with the answer. */
async function answered(path: string, maxBadShare?: number): Promise<DataSet<ChatItem>> {
  const { items, bad } = await openEvalData(path, maxBadShare);
  const conversations = items.map((item): ChatItem => ({
    source: `${path}, item ${item.index}`,
    messages: [...itemMessages(item), { role: "assistant", content: item.answer }],
    images: item.images,
  }));
  return { items: conversations, bad };
}

/** Says how many records were left out of how many, and why the first. */
export function tellBad(
  what: string,
  bad: readonly BadRecord[],
  total: number,
  say: (text: string) => void,
): void {
  if (bad.length === 0) return;
  const { line, problem } = bad[0]!;
  say(
    `${what}: ${bad.length} of ${total} records left out, the first in place ${line}: ${problem}\n`,
  );
}

/** The name of a recipe, or the recipe that a JSON file holds. */
export function ownRecipe(text: string | undefined): string | Recipe | undefined {
  if (text === undefined || !text.endsWith(".json")) return text;
  const recipe = readRecipe(parseJson(readTextFile(text), text), text);
  if (recipe.stages.length === 0) throw badRequest(`${text}: the recipe has no stages.`);
  return recipe;
}
