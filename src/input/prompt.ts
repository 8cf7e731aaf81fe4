/**
 * From messages to token ids. Control tokens come from the template alone: text that a user types
 * is marked before the template is rendered, so that no control token's name in it, or across its
 * borders, can be recognised. Between control tokens, template text and user text are encoded as
 * one piece, so merges are those of the plainly rendered prompt.
 */
import { badFile, badRequest } from "../base/errors.ts";
import type { ChatTemplate, TemplateMessage } from "./chat_template.ts";
import { TextMarks } from "./text_marks.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A piece of a message: text, or the image with this index among the prompt's images. */
export type Piece =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image"; readonly image: number };

/** One turn of a conversation. */
export interface Message {
  /** Who speaks. */
  readonly role: "system" | "user" | "assistant";
  /** What is said, in order. */
  readonly content: string | readonly Piece[];
}

/** What a model needs besides the messages. */
export interface PromptOptions {
  /** Tokens that one tile becomes: 256 in InternVL3, 16 in the pocket model. */
  readonly tokensPerTile: number;
  /** Tiles of each image, thumbnail included. Every image must be used by a message. */
  readonly tiles: readonly number[];
  /** A system message, if the messages have none. */
  readonly system?: string;
  /** Names of the tokens before, in and after an image; InternVL's by default. */
  readonly imageTokens?: ImageTokens;
}

/** Names of the control tokens an image is written with. */
export interface ImageTokens {
  /** Before an image. */
  readonly start: string;
  /** Once per image token; its embedding is replaced. */
  readonly context: string;
  /** After an image. */
  readonly end: string;
}

/** Where an image's embeddings go. */
export interface ImageSpan {
  /** Index of the image. */
  readonly image: number;
  /** Position of its first context token in the prompt. */
  readonly start: number;
  /** Number of its context tokens. */
  readonly count: number;
}

/** A prompt ready for prefill. */
export interface Prompt {
  /** Token ids. */
  readonly ids: Int32Array;
  /** Images in the order they appear. */
  readonly images: readonly ImageSpan[];
}

/** A conversation to train on. */
export interface TrainingPrompt extends Prompt {
  /** The id to learn at each position, -100 where nothing is learnt; not shifted. */
  readonly labels: Int32Array;
}

/** InternVL's image tokens. */
const INTERNVL_IMAGE: ImageTokens = { start: "<img>", context: "<IMG_CONTEXT>", end: "</img>" };

const ROLES: ReadonlySet<string> = new Set(["system", "user", "assistant"]);

/** The label of a position that is not learnt, as in PyTorch's cross entropy. */
export const IGNORED_LABEL: number = -100;

/** Builds the prompt that asks for the next answer. */
export function buildPrompt(
  messages: readonly Message[],
  tokenizer: Tokenizer,
  template: ChatTemplate,
  options: PromptOptions,
): Prompt {
  const { ids, images } = assemble(messages, tokenizer, template, options, false);
  return { ids, images };
}

/**
 * Builds a whole conversation with labels: the assistant's answers and the control token that
 * closes each. The text before an answer is encoded apart from it, since that is how an answer
 * begins when it is generated; what follows the last closing token is left off.
 */
export function buildTrainingPrompt(
  messages: readonly Message[],
  tokenizer: Tokenizer,
  template: ChatTemplate,
  options: PromptOptions,
): TrainingPrompt {
  if (!messages.some((message) => message.role === "assistant")) {
    throw badRequest(
      "A conversation to train on needs at least one answer of the assistant; found none.",
    );
  }
  const { ids, labels, images } = assemble(messages, tokenizer, template, options, true);
  const lastImage = images.at(-1);
  const imageEnd = lastImage ? lastImage.start + lastImage.count + 1 : 0;
  const end = Math.max(imageEnd, labels.findLastIndex((label) => label !== IGNORED_LABEL) + 1);
  return { ids: ids.slice(0, end), labels: labels.slice(0, end), images };
}

function assemble(
  messages: readonly Message[],
  tokenizer: Tokenizer,
  template: ChatTemplate,
  options: PromptOptions,
  training: boolean,
): TrainingPrompt {
  const conversation = withSystem(messages, options.system);
  const order = imageOrder(conversation, options.tiles.length);
  const names = options.imageTokens ?? INTERNVL_IMAGE;
  const image = order.length === 0 ? undefined : imageIds(names, tokenizer, options);
  const texts = conversation.flatMap(({ content }) =>
    typeof content === "string"
      ? [content]
      : content.map((part) => part.type === "text" ? part.text : "")
  );
  const marks = new TextMarks([...texts, template.source], tokenizer.specialNames);
  const rendered = template.render(
    conversation.map((message) => toTemplate(message, marks, names, template.takesParts, training)),
    !training,
    tokenizer.namedTokens,
  );

  const ids: number[] = [];
  const labels: number[] = [];
  const images: ImageSpan[] = [];
  const emit = (tokens: readonly number[], learnt: boolean) => {
    for (const token of tokens) {
      ids.push(token);
      labels.push(learnt ? token : IGNORED_LABEL);
    }
  };
  const contextId = tokenizer.special(names.context);
  let closing = false;
  for (const run of tokenizer.splitSpecial(rendered)) {
    if (typeof run === "string") {
      for (const { text, answer } of marks.unmark(run)) {
        emit(tokenizer.encode(text), answer);
        closing = answer;
      }
    } else if (run === contextId) {
      const index = order[images.length];
      if (!image || index === undefined) {
        throw badFile(
          "The chat template",
          `writes more images than the ${order.length} of the messages.`,
        );
      }
      const count = options.tiles[index]! * options.tokensPerTile;
      images.push({ image: index, start: ids.length + 1, count });
      emit([image.start, ...new Array<number>(count).fill(image.context), image.end], false);
      closing = false;
    } else {
      emit([run], closing);
      closing = false;
    }
  }
  if (images.length !== order.length) {
    throw badFile(
      "The chat template",
      `writes ${images.length} images where the messages have ${order.length}.`,
    );
  }
  return { ids: Int32Array.from(ids), labels: Int32Array.from(labels), images };
}

function withSystem(messages: readonly Message[], system: string | undefined): readonly Message[] {
  if (messages.length === 0) throw badRequest("A prompt needs at least one message; found none.");
  for (const { role } of messages) {
    // Roles become template text, where control tokens are recognised.
    if (!ROLES.has(role)) {
      throw badRequest(`Expected a role of ${[...ROLES].join(", ")}, found ${role}.`);
    }
  }
  if (system === undefined) return messages;
  if (messages.some((message) => message.role === "system")) {
    throw badRequest("The messages have a system message already; give only one.");
  }
  return [{ role: "system", content: system }, ...messages];
}

/** The images' indices in the order the messages show them. */
function imageOrder(messages: readonly Message[], count: number): number[] {
  const order = messages.flatMap(({ content }) =>
    typeof content === "string"
      ? []
      : content.flatMap((part) => part.type === "image" ? [part.image] : [])
  );
  const used = new Set(order);
  for (const index of used) {
    if (!Number.isInteger(index) || index < 0 || index >= count) {
      throw badRequest(`A message shows image ${index}, but ${count} images were given.`);
    }
  }
  if (used.size < count) {
    throw badRequest(`${count} images were given, but the messages show ${used.size}.`);
  }
  return order;
}

function imageIds(
  names: ImageTokens,
  tokenizer: Tokenizer,
  options: PromptOptions,
): { start: number; context: number; end: number } {
  for (const value of [options.tokensPerTile, ...options.tiles]) {
    if (!Number.isInteger(value) || value < 1 || value > 1 << 20) {
      throw badRequest(
        `Expected tiles and tokens per tile to be positive integers, found ${value}.`,
      );
    }
  }
  const find = (name: string) => {
    const id = tokenizer.special(name);
    if (id === undefined) {
      throw badFile("The tokenizer", `has no token ${name}; it cannot take images.`);
    }
    return id;
  };
  return { start: find(names.start), context: find(names.context), end: find(names.end) };
}

/**
 * A template that takes no parts gets one string, each image as its context token and a line end
 * (InternVL's `<image>\n`).
 */
function toTemplate(
  { role, content }: Message,
  marks: TextMarks,
  names: ImageTokens,
  takesParts: boolean,
  training: boolean,
): TemplateMessage {
  const answer = training && role === "assistant";
  if (typeof content === "string") return { role, content: marks.mark(content, answer) };
  const hasImage = content.some((part) => part.type === "image");
  if (answer && (hasImage || content.length !== 1)) {
    throw badRequest("An answer to train on must be one text.");
  }
  if (takesParts) {
    return {
      role,
      content: content.map((part) =>
        part.type === "image"
          ? { type: "image" }
          : { type: "text", text: marks.mark(part.text, answer) }
      ),
    };
  }
  return {
    role,
    content: content.map((part) =>
      part.type === "image" ? `${names.context}\n` : marks.mark(part.text, answer)
    )
      .join(""),
  };
}
