// What one question and a chat have in common: pictures, the message that asks, how answers and timing are shown.
import { badRequest } from "../base/errors.ts";
import { readFile } from "../io/host.ts";
import { decodeImage, type RgbImage } from "../input/image/decode.ts";
import type { Message, Piece } from "../input/prompt.ts";
import type { Console } from "./console.ts";

/** Reads and decodes a picture. */
export function openPicture(path: string): RgbImage {
  return decodeImage(readFile(path), path);
}

/** A user message; each `<image>` in the text is the next picture's place, without any they come first. */
export function questionMessage(question: string, pictures: number, first = 0): Message {
  const pieces = question.split("<image>");
  const places = pieces.length - 1;
  const image = (i: number): Piece => ({ type: "image", image: first + i });
  if (pictures === 0) return { role: "user", content: question };
  if (places === 0) {
    const parts = Array.from({ length: pictures }, (_, i) => image(i));
    return { role: "user", content: [...parts, { type: "text", text: question }] };
  }
  if (places !== pictures) {
    throw badRequest(
      `The question has ${places} <image> where ${pictures} --image are given; ` +
        "give as many, or leave <image> out.",
    );
  }
  const content = pieces.flatMap((text, i): Piece[] => [
    ...(i > 0 ? [image(i - 1)] : []),
    ...(text === "" ? [] : [{ type: "text", text } as const]),
  ]);
  return { role: "user", content };
}

/** Text for this console: a terminal must not obey control characters that a model writes. */
export function speaker(console: Console): (text: string) => string {
  if (!console.outIsTerminal) return (text) => text;
  return (text) => text.replace(/[^\P{Cc}\n\t]/gu, "");
}

/** One line about prompt, first token and speed. */
export function timingText(answer: Timed, load?: number): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
  const { firstToken } = answer.timing;
  return `${load === undefined ? "" : `loaded in ${seconds(load)}; `}` +
    `prompt ${answer.promptTokens} tokens, ${answer.tiles} tiles; ` +
    `first token after ${seconds(firstToken)}; ` +
    `${answer.ids.length} tokens, ${rateOf(answer).toFixed(1)} tokens/s\n`;
}

/** The parts of an answer that timing needs. */
export interface Timed {
  readonly ids: readonly number[];
  readonly promptTokens: number;
  readonly tiles: number;
  readonly timing: { readonly firstToken: number; readonly decode: number };
}

/** Tokens per second after the first; 0 if there is none. */
export function rateOf({ ids, timing }: Timed): number {
  return ids.length > 1 && timing.decode > 0 ? 1000 * (ids.length - 1) / timing.decode : 0;
}
