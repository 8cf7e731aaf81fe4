// A few thousand rows of a part's calibration data, to try work on before a run.
import type { Format } from "../formats/format.ts";
import type { Request } from "../generate/request.ts";
import type { Vlm } from "../models/vlm.ts";
import type { Infer } from "../ops/infer.ts";
import type { Engine } from "../../wasm/mod.ts";
import { type Feed, languageFeed, languageStates, visionFeed, visionStates } from "./feed.ts";

/** A model to try things on. */
export interface Trial {
  /** Kernels, memory, threads. */
  readonly engine: Engine;
  /** Where blocks run; its memory stays in use, as in a run. */
  readonly ops: Infer;
  /** Its weights may change. */
  readonly vlm: Vlm;
  /** What the plan makes of each linear. */
  readonly formats: ReadonlyMap<string, Format>;
  /** Stops the work. */
  readonly signal?: AbortSignal | undefined;
}

/** Some of a part's calibration data, and how much there will be. */
export interface SampleData {
  /** A few records. */
  readonly requests: readonly Request[];
  /** How many times as many the run will look at. */
  readonly times: number;
}

/** Some of a part's data on its way to a block. */
export interface Fed {
  /** Contexts of its chunks. */
  readonly feed: Feed;
  /** Hidden states of its chunks. */
  readonly states: (ops: Infer) => Float32Array[];
  /** Rows of the feed. */
  readonly rows: number;
  /** Rows of all the requests, of which the feed has some. */
  readonly all: number;
}

/** At least so many rows, where the data has them; the language part's without its pictures' rows being looked at. */
export function feedOf(
  trial: Trial,
  part: "vision" | "language",
  requests: readonly Request[],
  least: number,
): Fed {
  const { vlm } = trial;
  if (part === "vision") {
    const { feed, rows, all } = visionFed(trial, requests, least);
    return { feed, states: (ops) => visionStates(ops, vlm, feed), rows, all };
  }
  const chosen: Request[] = [];
  let rows = 0;
  for (const { prompt: { ids } } of requests) {
    if (rows >= least) break;
    chosen.push({ prompt: { ids, images: [] }, images: [] });
    rows += ids.length;
  }
  const feed = languageFeed(vlm, chosen);
  const all = requests.reduce((sum, { prompt }) => sum + prompt.ids.length, 0);
  return { feed, states: (ops) => languageStates(ops, vlm, feed), rows, all };
}

/** Tiles that have at least so many rows, where the data has them. */
export function visionFed(
  { vlm }: Trial,
  requests: readonly Request[],
  least: number,
): { feed: ReturnType<typeof visionFeed>; rows: number; all: number } {
  const perTile = vlm.vision.context(1).sequences.total;
  const bytes = 3 * vlm.input.imageSize ** 2;
  let left = Math.ceil(least / perTile);
  const chosen = requests.map((request): Request => ({
    ...request,
    images: request.images.map((tiles) => {
      const count = Math.min(left, tiles.count);
      left -= count;
      return { ...tiles, count, data: tiles.data.subarray(0, count * bytes) };
    }),
  }));
  return {
    feed: visionFeed(vlm, chosen),
    rows: tilesOf(chosen) * perTile,
    all: tilesOf(requests) * perTile,
  };
}

function tilesOf(requests: readonly Request[]): number {
  return requests.flatMap(({ images }) => images).reduce((sum, { count }) => sum + count, 0);
}
