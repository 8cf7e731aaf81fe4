// Accuracy of a model on VLMEvalKit items: greedy answers in batches, scored per category. Items are taken in windows and
// sorted by prompt length within one, so that a batch's sequences finish together; results keep the items' order.
import { badRequest, LobitError, throwIfAborted } from "../base/errors.ts";
import { readImage } from "../data/files.ts";
import { isCorrect, itemMessages, type ScoreTable, scoreTable } from "../data/score.ts";
import type { EvalItem } from "../data/tsv.ts";
import { contextOf } from "../generate/decode_loop.ts";
import { answerGreedily } from "../generate/generate.ts";
import type { LoadedModel } from "../generate/model.ts";
import { buildRequest, type Request } from "../generate/request.ts";
import { decodeImage } from "../input/image/decode.ts";

/** How to evaluate. */
export interface EvaluateOptions {
  /** Most items answered at once; default 16. */
  readonly batch?: number | undefined;
  /** Most tokens of an answer; default 32. */
  readonly maxTokens?: number | undefined;
  /** Most tiles per picture, thumbnail not counted; the model's own limit if not given. */
  readonly maxTiles?: number | undefined;
  /** Stops the work. */
  readonly signal?: AbortSignal | undefined;
  /** Called first with 0 and then after each batch with the items done and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What the model said to one item. */
export interface EvaluatedItem {
  /** The item's index in its file. */
  readonly index: string;
  /** The model's answer. */
  readonly answer: string;
  /** Whether it equals the reference. */
  readonly correct: boolean;
}

/** Accuracy per category and their mean, in percent, with every answer. */
export interface Evaluation extends ScoreTable {
  /** In the order given. */
  readonly items: readonly EvaluatedItem[];
}

/** Batches per window: enough to find prompts of one length, few enough to hold their pixels. */
const WINDOW = 8;
/** A window ends early when its pictures take this many bytes. */
const WINDOW_BYTES = 128 << 20;
/** A batch ends early at this many prompt tokens, which bounds the memory of the pass. */
const BATCH_TOKENS = 8192;

interface Entry {
  item: EvalItem;
  at: number;
  request: Request;
}

/** Answers all items and scores them. Throws a `bad-file` or `bad-request` error naming the item at fault. */
export async function evaluate(
  model: LoadedModel,
  items: readonly EvalItem[],
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { batch = 16, maxTokens = 32, signal, onProgress } = options;
  for (const [value, what] of [[batch, "batch size"], [maxTokens, "number of tokens"]] as const) {
    if (!Number.isInteger(value) || value < 1) {
      throw badRequest(`The ${what} must be a whole number from 1, not ${value}.`);
    }
  }
  const results: EvaluatedItem[] = [];
  let done = 0;
  onProgress?.(0, items.length);
  for (let next = 0; next < items.length;) {
    const window: Entry[] = [];
    let bytes = 0;
    while (next < items.length && window.length < WINDOW * batch && bytes < WINDOW_BYTES) {
      throwIfAborted(signal);
      const item = items[next]!;
      const request = prepare(model, item, maxTokens, options.maxTiles);
      bytes += request.images.reduce((sum, { data }) => sum + data.length, 0);
      window.push({ item, at: next++, request });
    }
    for (const entries of batchesOf(window, batch)) {
      const requests = entries.map(({ request }) => request);
      const answers = await answerGreedily(model, requests, maxTokens, signal);
      entries.forEach(({ item, at }, i) => {
        const answer = answers[i]!;
        const correct = isCorrect(answer, item.answer);
        results[at] = { index: item.index, answer, correct };
      });
      done += entries.length;
      onProgress?.(done, items.length);
      // Lets signals and progress through between batches.
      await new Promise((resolve) => setTimeout(resolve));
      throwIfAborted(signal);
    }
  }
  const outcomes = results.map(({ correct }, i) => ({ category: items[i]!.category, correct }));
  return { ...scoreTable(outcomes), items: results };
}

function prepare(
  model: LoadedModel,
  item: EvalItem,
  maxTokens: number,
  maxTiles: number | undefined,
): Request {
  const { vlm, open } = model;
  try {
    const pictures = item.images.map((image) => {
      const { bytes, name } = readImage(image);
      return decodeImage(bytes, name);
    });
    const request = buildRequest(open.assets, vlm.input, itemMessages(item), pictures, {
      maxTiles,
    });
    contextOf({ request, maxTokens }, vlm.language.maxPositions);
    return request;
  } catch (error) {
    if (!(error instanceof LobitError)) throw error;
    throw new LobitError(error.code, `Item ${item.index}: ${error.message}`, { cause: error });
  }
}

/** Cuts a window into batches of like prompt length. */
function batchesOf(window: readonly Entry[], batch: number): Entry[][] {
  const lengthOf = ({ request }: Entry) => request.prompt.ids.length;
  const sorted = [...window].sort((a, b) => lengthOf(a) - lengthOf(b));
  const batches: Entry[][] = [];
  let tokens = 0;
  for (const entry of sorted) {
    const last = batches.at(-1);
    tokens += lengthOf(entry);
    if (last && last.length < batch && tokens <= BATCH_TOKENS) {
      last.push(entry);
    } else {
      batches.push([entry]);
      tokens = lengthOf(entry);
    }
  }
  return batches;
}
