// Data that calibration looks at, by kind: conversations serve every part; pictures alone, where given, take their place
// for the vision part and the projector's fit; plain text serves the language part, alone or where a stage says so. And
// how much of the conversations training reads.
import { badRequest, LobitError, throwIfAborted } from "../base/errors.ts";
import { makeDataSet } from "../data/bad_share.ts";
import { readImage } from "../data/files.ts";
import type { BadRecord, ChatItem, ImageRef } from "../data/items.ts";
import { sampleItems } from "../data/sample.ts";
import { type Request, tileOptions } from "../generate/request.ts";
import { decodeImage } from "../input/image/decode.ts";
import { tileImage } from "../input/image/tiles.ts";
import type { Assets } from "../models/assets.ts";
import type { Vlm } from "../models/vlm.ts";
import { calibrationRequests } from "./feed.ts";
import { needsData, type Recipe, type Stage } from "./recipe.ts";

/** What a run is given to look at. */
export interface GivenData {
  /** Conversations with pictures; see openChatData. */
  readonly data?: readonly ChatItem[] | undefined;
  /** Pictures without words, for the vision part; see openImageFolder. */
  readonly pictures?: readonly ImageRef[] | undefined;
  /** Plain texts, for the language part; see openPlainText. */
  readonly texts?: readonly string[] | undefined;
}

/** Calibration data as the model reads it. */
export interface CalibrationRequests {
  /** Conversations with pictures. */
  readonly requests: readonly Request[];
  /** What vision part and projector look at, if not the conversations' pictures: requests without words. */
  readonly pictures?: readonly Request[] | undefined;
  /** Plain text as tokens, without a template. */
  readonly texts?: readonly Request[] | undefined;
}

/** Says which records were left out of how many, and what they are. */
export type LeftOut = (what: string, bad: readonly BadRecord[], total: number) => void;

/** How to prepare calibration data. */
export interface CalibrationOptions {
  /** Records of each kind that are looked at, drawn by the seed. */
  readonly count: number;
  /** Any integer. */
  readonly seed: number;
  /** Largest share of bad records that is not fatal. */
  readonly maxBadShare?: number | undefined;
  /** Told about records that were left out. */
  readonly onLeftOut?: LeftOut | undefined;
  /** Stops the work. */
  readonly signal?: AbortSignal | undefined;
}

/** Records of each kind where nothing is said: enough for the quality, or for a first look. */
const ITEMS = { usual: 320, quick: 96 };

/** How many records of each kind calibration looks at. */
export function itemsToCalibrate(
  { calibrationItems, quick = false }: {
    calibrationItems?: number | undefined;
    quick?: boolean | undefined;
  },
): number {
  return calibrationItems ?? (quick ? ITEMS.quick : ITEMS.usual);
}

/** No more conversations than the longest training reads: the others need not be prepared. */
export function everRead(
  recipe: Recipe,
  data: readonly ChatItem[],
  seed: number,
): readonly ChatItem[] {
  const read = recipe.stages.map(({ training }) => training ? training.steps * training.batch : 0);
  const count = Math.max(1, ...read);
  return count < data.length ? sampleItems(data, { seed, count }) : data;
}

/** Tokens of one text; longer paragraphs are cut. */
const TEXT_TOKENS = 512;

/** Whether a stage looks at the language part's calibration data, and at which. */
function languageKind(stage: Stage): "prompts" | "text" | undefined {
  if (stage.part !== "language" || !(needsData(stage.method) || stage.clip)) return undefined;
  return stage.calibrate ?? "prompts";
}

function seesPictures({ part, method }: Stage): boolean {
  return needsData(method) && part !== "language";
}

/** Everything that a recipe needs and was not given, as sentences. */
export function missingData(recipe: Recipe, given: GivenData): string[] {
  const { data = [], pictures = [], texts = [] } = given;
  const shown = data.some(({ images }) => images.length > 0);
  const wordsOnly = data.some(({ images }) => images.length === 0);
  const problems = recipe.stages.flatMap((stage) => {
    const kind = languageKind(stage);
    const trains = stage.method === "train" && data.length === 0;
    const blind = seesPictures(stage) && pictures.length === 0 && !shown;
    const mute = kind === "text" && texts.length === 0 && !wordsOnly;
    const unasked = kind === "prompts" && data.length + texts.length === 0 && !trains;
    const { part, method } = stage;
    return [
      ...(trains ? ["trains on conversations with pictures (--data FILE.jsonl)"] : []),
      ...(blind ? ["looks at data: pictures (--data FOLDER) or conversations with pictures"] : []),
      ...(mute ? ["looks at text: --data FILE.txt, or conversations without pictures"] : []),
      ...(unasked ? ["looks at data: conversations (--data FILE.jsonl) or text (FILE.txt)"] : []),
    ].map((problem) => `the ${part} stage (${method}) ${problem}`);
  });
  return [...new Set(problems)];
}

/** Reads, cuts and encodes as much of each kind as a recipe's stages look at. */
export function openCalibration(
  recipe: Recipe,
  given: GivenData,
  assets: Assets,
  { input, language }: Pick<Vlm, "input" | "language">,
  options: CalibrationOptions,
): CalibrationRequests | undefined {
  const { count, seed, signal } = options;
  const kinds = new Set(recipe.stages.map(languageKind));
  const looks = recipe.stages.some(seesPictures);
  if (!looks && !kinds.has("prompts") && !kinds.has("text")) return undefined;
  const { data = [], pictures = [], texts = [] } = given;
  const draw = <Item>(items: readonly Item[]) => sampleItems(items, { seed, count });

  const own = looks && pictures.length > 0;
  const asked = (looks && !own) || (kinds.has("prompts") && data.length > 0);
  const wantsText = kinds.has("text") || (kinds.has("prompts") && data.length === 0);
  const requests = asked
    ? keep(
      "conversations",
      draw(data),
      options,
      (item) => calibrationRequests(assets, input, [item], signal),
    )
    : [];
  const shown = own
    ? keep("pictures", draw(pictures), options, (picture) => [pictureRequest(picture, input)])
    : undefined;
  const length = Math.min(TEXT_TOKENS, language.maxPositions);
  const encode = (text: string) => textRequests(assets.tokenizer.encode(text), length);
  const read = !wantsText
    ? undefined
    : texts.length > 0
    ? keep("texts", draw(texts), options, encode)
    : keep(
      "conversations without pictures",
      draw(data.filter(({ images }) => images.length === 0)),
      options,
      (item) => calibrationRequests(assets, input, [item], signal),
    );
  return { requests, ...(shown && { pictures: shown }), ...(read && { texts: read }) };
}

function pictureRequest(picture: ImageRef, input: Vlm["input"]): Request {
  const { bytes, name } = readImage(picture);
  const tiles = tileImage(decodeImage(bytes, name), tileOptions(input));
  return { prompt: { ids: new Int32Array(), images: [] }, images: [tiles] };
}

function textRequests(ids: readonly number[], length: number): Request[] {
  return Array.from({ length: Math.ceil(ids.length / length) }, (_, i): Request => ({
    prompt: { ids: Int32Array.from(ids.slice(i * length, (i + 1) * length)), images: [] },
    images: [],
  }));
}

/** Prepares records; those that cannot be used are left out and told, up to a share. */
function keep<Item>(
  what: string,
  items: readonly Item[],
  { maxBadShare, onLeftOut, signal }: CalibrationOptions,
  prepare: (item: Item) => Request[],
): Request[] {
  const good: Request[][] = [];
  const bad: BadRecord[] = [];
  for (const [i, item] of items.entries()) {
    throwIfAborted(signal);
    try {
      good.push(prepare(item));
    } catch (error) {
      if (!(error instanceof LobitError) || error.code === "aborted") throw error;
      bad.push({ line: i + 1, problem: error.message });
    }
  }
  const { items: kept } = makeDataSet(good, bad, `The ${what} to calibrate on`, maxBadShare);
  if (bad.length > 0) onLeftOut?.(`${what} to calibrate on`, bad, items.length);
  const requests = kept.flat();
  if (requests.length === 0) throw badRequest(`The ${what} to calibrate on are empty.`);
  return requests;
}
