// The small files beside the weights: config, tokenizer, chat template, preprocessor, generation settings. A packed file
// carries their texts unchanged, so both kinds of model are understood by the same code.
import { badFile } from "../base/errors.ts";
import { parseJson } from "../io/bytes.ts";
import type { Checkpoint } from "../io/checkpoint.ts";
import { type ChatTemplate, findChatTemplate } from "../input/chat_template.ts";
import { loadTokenizer, type Tokenizer, type TokenizerFiles } from "../input/tokenizer.ts";
import { type Architecture, readArchitecture } from "./registry.ts";

/** Texts by file name. */
export type Texts = ReadonlyMap<string, string>;

/** Everything about a model but its weights. */
export interface Assets {
  /** What the weights must look like, and how to build the model from them. */
  readonly architecture: Architecture;
  /** Text to tokens and back. */
  readonly tokenizer: Tokenizer;
  /** Conversation to prompt. */
  readonly template: ChatTemplate;
  /** The texts all this was read from. */
  readonly texts: Texts;
}

const ALWAYS = [
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "tokenizer_config.json",
  "chat_template.jinja",
];
const PLAIN_TOKENIZER = [
  "vocab.json",
  "merges.txt",
  "added_tokens.json",
  "special_tokens_map.json",
];

/** Reads the small files of a Hugging Face folder. */
export async function readTexts(checkpoint: Checkpoint): Promise<Texts> {
  const tokenizer = checkpoint.has("tokenizer.json") ? ["tokenizer.json"] : PLAIN_TOKENIZER;
  const texts = new Map<string, string>();
  for (const file of [...ALWAYS, ...tokenizer]) {
    if (checkpoint.has(file)) texts.set(file, await checkpoint.readText(file));
  }
  return texts;
}

/** Makes sense of the texts. `name` is the folder or file they come from. */
export function readAssets(texts: Texts, name: string): Assets {
  const config = texts.get("config.json");
  if (config === undefined) throw badFile(name, "has no config.json, so the model is unknown.");
  const preprocessor = texts.get("preprocessor_config.json");
  const architecture = readArchitecture(
    parseJson(config, `${name} (config.json)`),
    `${name} (config.json)`,
    preprocessor === undefined
      ? undefined
      : parseJson(preprocessor, `${name} (preprocessor_config.json)`),
  );
  const files: [keyof TokenizerFiles, string][] = [
    ["json", "tokenizer.json"],
    ["config", "tokenizer_config.json"],
    ["vocab", "vocab.json"],
    ["merges", "merges.txt"],
    ["addedTokens", "added_tokens.json"],
    ["specialTokensMap", "special_tokens_map.json"],
    ["generationConfig", "generation_config.json"],
  ];
  const present = files.filter(([, file]) => texts.has(file));
  const tokenizer = loadTokenizer({
    name,
    ...Object.fromEntries(present.map(([key, file]) => [key, texts.get(file)!])),
  });
  const jinja = texts.get("chat_template.jinja");
  const tokenizerConfig = texts.get("tokenizer_config.json");
  const builtIn = architecture.template;
  const template = findChatTemplate({
    name,
    ...(jinja !== undefined && { jinja }),
    ...(tokenizerConfig !== undefined && { tokenizerConfig }),
    ...(builtIn !== null && { builtIn }),
  });
  return { architecture, tokenizer, template, texts };
}
