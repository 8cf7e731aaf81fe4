/**
 * Evaluation on VLMEvalKit items: the prompt of an item, whether an answer is right, and the table.
 * The average is the mean of the categories' accuracies in percent, so that large categories do not
 * outweigh small ones.
 */
import { badRequest } from "../base/errors.ts";
import type { Message } from "../input/prompt.ts";
import type { EvalItem, EvalOption } from "./tsv.ts";

/** An item's outcome. */
export interface Outcome {
  /** The item's category. */
  readonly category: string;
  /** Whether the answer was right. */
  readonly correct: boolean;
}

/** Accuracy per category. */
export interface ScoreTable {
  /** Mean of the category accuracies, in percent. */
  readonly average: number;
  /** Accuracy of each category in percent, in order of first appearance. */
  readonly categories: Readonly<Record<string, number>>;
  /** Number of items of each category. */
  readonly counts: Readonly<Record<string, number>>;
}

/**
 * The text asked: the question and, with options, a line `A. ...` for each and a line that asks for
 * the letter.
 */
export function questionText(question: string, options: readonly EvalOption[]): string {
  if (options.length === 0) return question;
  const lines = options.map(({ letter, text }) => `${letter}. ${text}`);
  return [question, ...lines, "Answer with the letter."].join("\n");
}

/** The conversation that asks an item: its images, then the question. */
export function itemMessages(item: EvalItem): Message[] {
  const images = item.images.map((_, image) => ({ type: "image", image }) as const);
  const text = questionText(item.question, item.options);
  return [{
    role: "user",
    content: images.length === 0 ? text : [...images, { type: "text", text }],
  }];
}

/** Whether an answer equals the reference, both stripped and in lower case. */
export function isCorrect(answer: string, reference: string): boolean {
  return answer.trim().toLowerCase() === reference.trim().toLowerCase();
}

/** Accuracy per category and their mean; at least one outcome is needed. */
export function scoreTable(outcomes: Iterable<Outcome>): ScoreTable {
  const tally = new Map<string, { right: number; count: number }>();
  for (const { category, correct } of outcomes) {
    const entry = tally.get(category) ?? { right: 0, count: 0 };
    tally.set(category, { right: entry.right + Number(correct), count: entry.count + 1 });
  }
  if (tally.size === 0) throw badRequest("There is nothing to score: no item was evaluated.");
  const percent = [...tally].map(([category, { right, count }]) =>
    [category, 100 * right / count] as const
  );
  return {
    average: percent.reduce((sum, [, value]) => sum + value, 0) / percent.length,
    categories: Object.fromEntries(percent),
    counts: Object.fromEntries([...tally].map(([category, { count }]) => [category, count])),
  };
}
