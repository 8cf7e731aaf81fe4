// Chat data as examples to train on. Every picture is decoded once at the start, which finds the bad ones and how many tiles
// the others have. Pixels are kept up to a limit; beyond it they are decoded again when they are needed, so that a large
// data set never lies in memory as pixels.
import { LobitError, throwIfAborted } from "../../base/errors.ts";
import { readImage } from "../../data/files.ts";
import { makeDataSet } from "../../data/bad_share.ts";
import type { BadRecord, ChatItem } from "../../data/items.ts";
import { tileOptions } from "../../generate/request.ts";
import { decodeImage } from "../../input/image/decode.ts";
import { tileImage, type Tiles } from "../../input/image/tiles.ts";
import { buildTrainingPrompt, type TrainingPrompt } from "../../input/prompt.ts";
import type { Assets } from "../../models/assets.ts";
import type { VisionInput } from "../../models/vlm.ts";
import type { ExampleSource } from "../../train/batch.ts";
import { Fingerprint } from "../../train/fingerprint.ts";

/** How to read the data. */
export interface ExampleOptions {
  /** Most tiles per picture, thumbnail not counted; the model's own limit if not given. */
  readonly maxTiles?: number | undefined;
  /** Longer conversations are left out as bad; the model's longest context if not given. */
  readonly maxTokens?: number | undefined;
  /** Largest share of bad records that is not fatal. */
  readonly maxBadShare?: number | undefined;
  /** Most bytes of pixels that are kept; 256 MiB by default. */
  readonly keptBytes?: number | undefined;
  /** Stops the work. */
  readonly signal?: AbortSignal | undefined;
}

/** Most bytes of pixels that are kept, unless told otherwise. */
export const PIXEL_BYTES: number = 2 ** 28;

/** Examples and the records that could not become one. */
export interface Examples extends ExampleSource {
  /** Records left out, by their position in the items. */
  readonly bad: readonly BadRecord[];
}

/** Prepares conversations. A picture or conversation that cannot be used is left out and reported, up to a share. */
export async function openExamples(
  items: readonly ChatItem[],
  assets: Assets,
  input: VisionInput,
  options: ExampleOptions = {},
): Promise<Examples> {
  const cut = (files: readonly ReturnType<typeof readImage>[]): Tiles[] =>
    files.map(({ bytes, name }) =>
      tileImage(decodeImage(bytes, name), tileOptions(input, options.maxTiles))
    );
  const good: { item: ChatItem; prompt: TrainingPrompt; tiles?: Tiles[] }[] = [];
  let room = options.keptBytes ?? PIXEL_BYTES;
  const bad: BadRecord[] = [];
  const fingerprint = new Fingerprint();
  for (const [i, item] of items.entries()) {
    try {
      const files = item.images.map(readImage);
      const tiles = cut(files);
      const prompt = buildTrainingPrompt(item.messages, assets.tokenizer, assets.template, {
        tokensPerTile: input.tokensPerTile,
        tiles: tiles.map(({ count }) => count),
      });
      const problem = unusable(prompt, options.maxTokens);
      if (problem) {
        bad.push({ line: i + 1, problem });
        continue;
      }
      fingerprint.add(prompt.ids).add(prompt.labels);
      for (const { bytes } of files) fingerprint.add(bytes);
      const size = tiles.reduce((sum, { data }) => sum + data.length, 0);
      const keep = size <= room;
      if (keep) room -= size;
      good.push({ item, prompt, ...(keep && { tiles }) });
    } catch (error) {
      if (!(error instanceof LobitError)) throw error;
      bad.push({ line: i + 1, problem: error.message });
    }
    if (i % 64 === 63) {
      // Lets signals through.
      await new Promise((resolve) => setTimeout(resolve));
      throwIfAborted(options.signal);
    }
  }
  makeDataSet(good, bad, "The training data", options.maxBadShare);
  return {
    length: good.length,
    fingerprint: fingerprint.text,
    bad,
    prompt: (index) => good[index]!.prompt,
    images: (index) => {
      const { item, tiles } = good[index]!;
      return tiles ?? cut(item.images.map(readImage));
    },
  };
}

function unusable({ ids, labels }: TrainingPrompt, maxTokens = Infinity): string | undefined {
  if (ids.length > maxTokens) return `it has ${ids.length} tokens; at most ${maxTokens} fit.`;
  return labels.some((label) => label >= 0) ? undefined : "its answer has no token to learn.";
}
