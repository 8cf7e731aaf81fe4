// Data and recipes that a command line names.
import { badRequest } from "../base/errors.ts";
import { openChatData, openEvalData } from "../data/files.ts";
import type { ChatItem } from "../data/items.ts";
import { itemMessages } from "../data/score.ts";
import { readTextFile } from "../io/host.ts";
import { parseJson } from "../io/bytes.ts";
import { readRecipe } from "../recipe/read.ts";
import type { Recipe } from "../recipe/recipe.ts";

/** Conversations of a JSONL, or the questions of a TSV with their answers; says how many records were left out. */
export async function readData(
  path: string,
  say: (text: string) => void,
): Promise<readonly ChatItem[]> {
  if (!path.endsWith(".tsv")) {
    const { items, bad } = openChatData(path);
    tellBad(path, bad, say);
    return items;
  }
  const { items, bad } = await openEvalData(path);
  tellBad(path, bad, say);
  return items.map((item): ChatItem => ({
    source: `${path}, item ${item.index}`,
    messages: [...itemMessages(item), { role: "assistant", content: item.answer }],
    images: item.images,
  }));
}

function tellBad(
  path: string,
  bad: readonly { line: number; problem: string }[],
  say: (text: string) => void,
): void {
  if (bad.length === 0) return;
  const [first] = bad;
  say(
    `${path}: ${bad.length} records left out, the first in line ${first!.line}: ${
      first!.problem
    }\n`,
  );
}

/** The name of a recipe, or the recipe that a JSON file holds. */
export function ownRecipe(text: string | undefined): string | Recipe | undefined {
  if (text === undefined || !text.endsWith(".json")) return text;
  const recipe = readRecipe(parseJson(readTextFile(text), text), text);
  if (recipe.stages.length === 0) throw badRequest(`${text}: the recipe has no stages.`);
  return recipe;
}
