// `lobit run`: one question about pictures, or a chat.
import { badRequest } from "../base/errors.ts";
import { generate, type GenerateOptions } from "../generate/generate.ts";
import { loadModel } from "../generate/model.ts";
import { chat } from "./chat.ts";
import type { Console } from "./console.ts";
import { type Arguments, ENGINE_FLAGS, MODEL_FLAGS } from "./flags.ts";
import { openPicture, questionMessage, rateOf, speaker, timingText } from "./question.ts";
import { loadOptions, type Verb } from "./verb.ts";

/** The verb. */
export const run: Verb = {
  name: "run",
  summary: "answer a question about pictures, or chat",
  usage: 'FILE|MODEL [--image PATH ...] ["question"]',
  positional: [1, 2],
  flags: [
    {
      name: "image",
      letter: "i",
      kind: "list",
      value: "PATH",
      help: "a JPEG or PNG picture; may be repeated",
    },
    { name: "system", kind: "text", value: "TEXT", help: "a system message" },
    { name: "max-tokens", kind: "number", value: "N", help: "longest answer (default 512)" },
    { name: "temperature", kind: "number", value: "X", help: "0 takes the likeliest (default 0)" },
    { name: "top-k", kind: "number", value: "N", help: "choose among the N likeliest (0: all)" },
    { name: "top-p", kind: "number", value: "X", help: "choose among the likeliest of sum X" },
    { name: "min-p", kind: "number", value: "X", help: "least likelihood, relative to the best" },
    {
      name: "repetition-penalty",
      kind: "number",
      value: "X",
      help: "above 1 makes what was said less likely",
    },
    { name: "seed", kind: "number", value: "N", help: "of the choices (default 0)" },
    { name: "stop", kind: "list", value: "TEXT", help: "ends the answer; may be repeated" },
    { name: "ctx", kind: "number", value: "N", help: "context in tokens (default: the model's)" },
    ...MODEL_FLAGS,
    { name: "verbose", letter: "v", kind: "switch", help: "print timing afterwards" },
    ...ENGINE_FLAGS,
  ],
  examples: [
    ['lobit run model.lobit --image cat.jpg "What is this?"', "one question, one picture"],
    [
      'lobit run model.lobit -i a.png -i b.png "Is <image> older than <image>?"',
      "pictures placed in the text; without <image> they come first",
    ],
    ['echo "What is 2 + 3?" | lobit run model.lobit', "the question from standard input"],
    ["lobit run model.lobit", "a chat on the terminal"],
    [
      'lobit run model.lobit -i cat.jpg "Tell a story." --temperature 0.8 --top-p 0.95 --seed 7',
      "sampled instead of greedy, and the same again with the same seed",
    ],
  ],
  async run({ args, console, say }) {
    const [from, typed] = args.positional as [string, string | undefined];
    const options = generateOptions(args);
    const interactive = typed === undefined && console.inIsTerminal;
    if (interactive && args.has("json")) throw badRequest("--json needs a question.");
    const signal = console.interrupt();
    const question = typed ?? (interactive ? undefined : await readAll(console, signal));
    if (question?.trim() === "") {
      throw badRequest('There is no question: give one in quotes, "What is this?", or pipe it in.');
    }
    const images = args.list("image");
    const pictures = images.map(openPicture);
    const messages = question === undefined ? [] : [questionMessage(question, pictures.length)];
    const start = performance.now();
    const model = await loadModel(from, loadOptions(args));
    const load = performance.now() - start;
    try {
      if (question === undefined) {
        await chat(model, pictures, options, console, args.has("verbose"));
        return {};
      }
      const show = speaker(console);
      const answer = await generate(model, messages, pictures, {
        ...options,
        signal,
        onText: (text) => say(show(text)),
      });
      say("\n");
      if (args.has("verbose")) console.err(timingText(answer, load));
      return {
        text: answer.text,
        tokens: answer.ids,
        ended: answer.ended,
        promptTokens: answer.promptTokens,
        tiles: answer.tiles,
        timing: { load, ...answer.timing, tokensPerSecond: rateOf(answer) },
      };
    } finally {
      model.close();
    }
  },
};

function generateOptions(args: Arguments): GenerateOptions {
  const numbers = {
    maxTokens: args.integer("max-tokens", 1),
    temperature: args.number("temperature"),
    topK: args.integer("top-k", 0),
    topP: args.number("top-p"),
    minP: args.number("min-p"),
    repetitionPenalty: args.number("repetition-penalty"),
    seed: args.integer("seed", 0),
    context: args.integer("ctx", 1),
    maxTiles: args.integer("max-tiles", 1),
  };
  const given = Object.entries(numbers).filter(([, value]) => value !== undefined);
  const system = args.text("system");
  return {
    ...Object.fromEntries(given) as { [key in keyof typeof numbers]: number },
    ...(system !== undefined && { system }),
    stop: args.list("stop"),
  };
}

async function readAll(console: Console, signal: AbortSignal): Promise<string> {
  const lines: string[] = [];
  for (;;) {
    const line = await console.readLine(signal);
    if (line === undefined) return lines.join("\n");
    lines.push(line);
  }
}
