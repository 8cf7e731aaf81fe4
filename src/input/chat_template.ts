/**
 * Chat templates: Jinja by `@huggingface/jinja`, found beside the tokenizer or built in by the
 * config's `template` name. A template is somebody else's program, so it runs in an interpreter
 * that bounds steps, numbers and value sizes.
 */
import { badFile, LobitError } from "../base/errors.ts";
import { isObject, parseObject } from "./json.ts";
import { compileTemplate } from "./jinja.ts";

/** A message as templates see it. */
export interface TemplateMessage {
  /** `system`, `user` or `assistant`. */
  readonly role: string;
  /** Text, or text and image parts in order. */
  readonly content: string | readonly TemplatePart[];
}

/** A piece of a message's content as templates see it. */
export type TemplatePart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image" };

/** Where a chat template may be found; the first that is there wins. */
export interface TemplateFiles {
  /** What to call the model in errors. */
  readonly name: string;
  /** `chat_template.jinja`. */
  readonly jinja?: string;
  /** `tokenizer_config.json`, whose `chat_template` is a template or a list of named ones. */
  readonly tokenizerConfig?: string;
  /** `template` of an original InternVL `config.json`. */
  readonly builtIn?: string;
}

/** A chat template ready to render. */
export interface ChatTemplate {
  /** The Jinja source, for storing it in a packed file. */
  readonly source: string;
  /**
   * Whether the template understands content as a list of text and image parts, or only as one
   * string.
   */
  readonly takesParts: boolean;
  /** Renders a conversation; `variables` are extra names such as `eos_token`. */
  render(
    messages: readonly TemplateMessage[],
    openAnswer: boolean,
    variables?: Readonly<Record<string, string>>,
  ): string;
}

/**
 * The system message of InternVL's `internvl2_5` conversation (OpenGVLab/InternVL,
 * conversation.py).
 */
const INTERNVL_SYSTEM =
  "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。";

/** ChatML, with a system message always there, as `internvl2_5` has it. */
const BUILT_IN: Readonly<Record<string, string>> = {
  internvl2_5: [
    "{% if not messages or messages[0]['role'] != 'system' %}",
    `{{ '<|im_start|>system\\n${INTERNVL_SYSTEM}<|im_end|>\\n' }}`,
    "{% endif %}{% for message in messages %}",
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}",
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  ].join(""),
};

/**
 * Finds the chat template: chat_template.jinja, tokenizer_config.json, then the built-in one of the
 * given name.
 */
export function findChatTemplate(files: TemplateFiles): ChatTemplate {
  if (files.jinja !== undefined) {
    return makeTemplate(files.jinja, `${files.name} (chat_template.jinja)`);
  }
  if (files.tokenizerConfig !== undefined) {
    const file = `${files.name} (tokenizer_config.json)`;
    const source = readConfigTemplate(files.tokenizerConfig, file);
    if (source !== undefined) return makeTemplate(source, file);
  }
  if (files.builtIn !== undefined) {
    const source = Object.hasOwn(BUILT_IN, files.builtIn) ? BUILT_IN[files.builtIn] : undefined;
    if (source !== undefined) return makeTemplate(source, files.builtIn);
    throw badFile(
      files.name,
      `its config names the conversation template "${files.builtIn}"; only ${
        Object.keys(BUILT_IN).join(", ")
      } is built in. Put a chat_template.jinja beside the model.`,
    );
  }
  throw badFile(files.name, "has no chat template; put a chat_template.jinja beside the model.");
}

function readConfigTemplate(config: string, file: string): string | undefined {
  const value = parseObject(config, file)["chat_template"];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return value;
  const named: unknown[] = Array.isArray(value) ? value : [];
  const chosen = named.find((entry) => isObject(entry) && entry["name"] === "default");
  if (isObject(chosen) && typeof chosen["template"] === "string") return chosen["template"];
  throw badFile(
    file,
    'expected chat_template to be a template or a list with one named "default".',
  );
}

/** Parses a template; one that cannot be parsed is a bad file. */
export function makeTemplate(source: string, file: string): ChatTemplate {
  const compiled = guarded(file, () => compileTemplate(source));
  const run = (
    messages: readonly TemplateMessage[],
    openAnswer: boolean,
    variables: Readonly<Record<string, string>>,
  ) => {
    const inputChars = messages.reduce(
      (sum, { content }) => sum + JSON.stringify(content).length,
      0,
    );
    return compiled({ ...variables, messages, add_generation_prompt: openAnswer }, inputChars);
  };
  return {
    source,
    takesParts: probesAsParts((messages) => run(messages, false, {})),
    render: (messages, openAnswer, variables = {}) =>
      guarded(file, () => run(messages, openAnswer, variables)),
  };
}

/**
 * A template takes parts if it writes a part's text once and something for an image, without
 * printing the list itself.
 */
function probesAsParts(run: (messages: readonly TemplateMessage[]) => string): boolean {
  const text = "lobit-probe";
  const plain = { type: "text", text } as const;
  try {
    const without = run([{ role: "user", content: [plain] }]);
    const withImage = run([{ role: "user", content: [{ type: "image" }, plain] }]);
    return withImage.split(text).length === 2 && withImage.length > without.length &&
      !/["']type["']\s*:/.test(withImage);
  } catch {
    return false;
  }
}

function guarded<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof LobitError) throw cause;
    const reason = cause instanceof Error
      ? cause.message.slice(0, 300)
      : String(cause).slice(0, 300);
    throw badFile(file, `its chat template failed: ${reason}`, { cause });
  }
}
