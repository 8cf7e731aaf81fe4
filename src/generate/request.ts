// From messages and pictures to what the decode loop runs: tiles, token ids, positions of image tokens.
import { badRequest } from "../base/errors.ts";
import type { RgbImage } from "../input/image/decode.ts";
import { tileImage, type TileOptions, type Tiles } from "../input/image/tiles.ts";
import { buildPrompt, type Message, type Prompt } from "../input/prompt.ts";
import type { Assets } from "../models/assets.ts";
import type { VisionInput } from "../models/vlm.ts";

/** A conversation ready for prefill. */
export interface Request {
  /** Token ids and where images go. */
  readonly prompt: Prompt;
  /** Each image's tiles. */
  readonly images: readonly Tiles[];
}

/** What may be changed about how a request is built. */
export interface RequestOptions {
  /** Most tiles per picture, thumbnail not counted; the model's own limit if not given. */
  maxTiles?: number | undefined;
  /** A system message. */
  system?: string | undefined;
}

/** How the model cuts pictures. */
export function tileOptions(input: VisionInput, maxTiles?: number): TileOptions {
  const most = maxTiles ?? input.maxTiles;
  return {
    imageSize: input.imageSize,
    maxTiles: most,
    minTiles: Math.min(input.minTiles, most),
    thumbnail: input.thumbnail,
  };
}

/** Cuts the pictures and builds the prompt. A picture that no message places goes in front of the first user message. */
export function buildRequest(
  assets: Assets,
  input: VisionInput,
  messages: readonly Message[],
  pictures: readonly RgbImage[],
  { maxTiles, system }: RequestOptions = {},
): Request {
  const images = pictures.map((picture) => tileImage(picture, tileOptions(input, maxTiles)));
  const prompt = buildPrompt(
    placeImages(messages, pictures.length),
    assets.tokenizer,
    assets.template,
    {
      tokensPerTile: input.tokensPerTile,
      tiles: images.map(({ count }) => count),
      ...(system !== undefined && { system }),
    },
  );
  return { prompt, images };
}

function placeImages(messages: readonly Message[], count: number): readonly Message[] {
  const placed = new Set(
    messages.flatMap(({ content }) =>
      typeof content === "string"
        ? []
        : content.flatMap((part) => part.type === "image" ? [part.image] : [])
    ),
  );
  const loose = Array.from({ length: count }, (_, image) => image).filter((image) =>
    !placed.has(image)
  );
  if (loose.length === 0) return messages;
  const first = messages.findIndex(({ role }) => role === "user");
  if (first < 0) throw badRequest("Pictures need a user message to go into; found none.");
  return messages.map((message, i) => {
    if (i !== first) return message;
    const text = typeof message.content === "string"
      ? [{ type: "text", text: message.content } as const]
      : message.content;
    return {
      ...message,
      content: [...loose.map((image) => ({ type: "image", image } as const)), ...text],
    };
  });
}
