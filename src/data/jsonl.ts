/**
 * LLaVA and InternVL style JSONL: one object per line with `conversations`, a list of `{from:
 * "human" | "gpt" | "system", value}`, and `image`, a path or a list of paths relative to the file.
 * `<image>` in a human's text says where an image is.
 */
import type { Message, Piece } from "../input/prompt.ts";
import { makeDataSet } from "./bad_share.ts";
import type { BadRecord, ChatItem, DataSet } from "./items.ts";

/** Options of {@linkcode parseJsonl}. */
export interface JsonlOptions {
  /** The file's name, for messages. */
  readonly name: string;
  /** Largest share of bad records that is not fatal; 0.01 by default. */
  readonly maxBadShare?: number;
}

const MAX_LINE = 16 * 1024 * 1024;
const MAX_TURNS = 1024;
const MAX_IMAGES = 256;
const ROLES: ReadonlyMap<unknown, Message["role"]> = new Map([
  ["human", "user"],
  ["user", "user"],
  ["gpt", "assistant"],
  ["assistant", "assistant"],
  ["system", "system"],
]);

/** Reads the records; image paths stay as they are written, relative to the file. */
export function parseJsonl(text: string, options: JsonlOptions): DataSet<ChatItem> {
  const items: ChatItem[] = [];
  const bad: BadRecord[] = [];
  let line = 0;
  for (const record of linesOf(text)) {
    line++;
    if (record.trim() === "") continue;
    const item = parseRecord(record, `${options.name}, line ${line}`);
    if (typeof item === "string") bad.push({ line, problem: item });
    else items.push(item);
  }
  return makeDataSet(items, bad, options.name, options.maxBadShare);
}

function* linesOf(text: string): Generator<string> {
  let start = text.startsWith("\ufeff") ? 1 : 0;
  while (start < text.length) {
    const found = text.indexOf("\n", start);
    const end = found < 0 ? text.length : found;
    yield text.slice(start, end);
    start = end + 1;
  }
}

/** The item, or what is wrong with the record. */
function parseRecord(record: string, source: string): ChatItem | string {
  if (record.length > MAX_LINE) return `it is longer than ${MAX_LINE} characters.`;
  let value: unknown;
  try {
    value = JSON.parse(record);
  } catch {
    return "it is not JSON.";
  }
  if (!isRecord(value)) return "it is not an object.";
  const paths = readPaths(value["image"] ?? value["images"]);
  if (typeof paths === "string") return paths;
  const messages = readTurns(value["conversations"], paths.length);
  if (typeof messages === "string") return messages;
  return { source, messages, images: paths.map((path) => ({ kind: "path", path })) };
}

function readPaths(value: unknown): string[] | string {
  if (value === undefined || value === null) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (list.length > MAX_IMAGES) return `it has more than ${MAX_IMAGES} images.`;
  const paths = list.filter((path): path is string =>
    typeof path === "string" && path !== "" && !path.includes("\0")
  );
  return paths.length === list.length ? paths : '"image" is not a path or a list of paths.';
}

function readTurns(value: unknown, imageCount: number): Message[] | string {
  if (!Array.isArray(value) || value.length === 0) return '"conversations" is not a list of turns.';
  if (value.length > MAX_TURNS) return `it has more than ${MAX_TURNS} turns.`;
  const turns: { role: Message["role"]; text: string }[] = [];
  for (const turn of value as unknown[]) {
    const role = isRecord(turn) ? ROLES.get(turn["from"]) : undefined;
    const text = isRecord(turn) ? turn["value"] : undefined;
    if (!role || typeof text !== "string") {
      return 'a turn is not {"from": "human" or "gpt", "value": text}.';
    }
    turns.push({ role, text });
  }
  const spoken = turns[0]!.role === "system" ? turns.slice(1) : turns;
  if (spoken.length === 0 || spoken.length % 2 !== 0) return "its turns do not end with an answer.";
  if (spoken.some(({ role }, i) => role !== (i % 2 === 0 ? "user" : "assistant"))) {
    return "its turns do not alternate between human and gpt.";
  }
  return placeImages(turns, imageCount);
}

/** Images without any `<image>` in the text go before the first question, as InternVL does. */
function placeImages(
  turns: readonly { role: Message["role"]; text: string }[],
  imageCount: number,
): Message[] | string {
  let placed = 0;
  const messages = turns.map(({ role, text }): Message => {
    if (role !== "user" || !text.includes("<image>")) return { role, content: text };
    const content: Piece[] = [];
    text.split("<image>").forEach((piece, i) => {
      if (i > 0) content.push({ type: "image", image: placed++ });
      // Templates end an image's line themselves.
      const rest = i > 0 && piece.startsWith("\n") ? piece.slice(1) : piece;
      if (rest !== "") content.push({ type: "text", text: rest });
    });
    return { role, content };
  });
  if (placed === imageCount) return messages;
  if (placed > 0) return `its text has ${placed} <image> where it has ${imageCount} images.`;
  const first = messages.findIndex(({ role }) => role === "user");
  const images = Array.from(
    { length: imageCount },
    (_, image): Piece => ({ type: "image", image }),
  );
  const text = messages[first]!.content as string;
  messages[first] = { role: "user", content: [...images, { type: "text", text }] };
  return messages;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
