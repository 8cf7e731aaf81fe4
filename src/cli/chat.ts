// The chat of `lobit run` on a terminal. Ctrl-C stops an answer; at the prompt it ends the chat.
import { LobitError, throwIfAborted } from "../base/errors.ts";
import { generate, type GenerateOptions } from "../generate/generate.ts";
import type { LoadedModel } from "../generate/model.ts";
import type { RgbImage } from "../input/image/decode.ts";
import type { Message } from "../input/prompt.ts";
import type { Console } from "./console.ts";
import { openPicture, questionMessage, speaker, timingText } from "./question.ts";

const HELP = "/image PATH adds a picture to the next question, /clear forgets the conversation, " +
  "/quit ends.\n";

/** Talks until the input ends. The given pictures belong to the first question. */
export async function chat(
  model: LoadedModel,
  given: readonly RgbImage[],
  options: GenerateOptions,
  console: Console,
  verbose: boolean,
): Promise<void> {
  const show = speaker(console);
  let messages: Message[] = [];
  let pictures: RgbImage[] = [...given];
  let waiting = pictures.length;
  console.err(HELP);
  for (;;) {
    console.err("> ");
    const signal = console.interrupt();
    const line = await console.readLine(signal);
    throwIfAborted(signal);
    if (line === undefined || /^\/(quit|exit)\s*$/.test(line)) return;
    const [, command, rest = ""] = /^\/(\w+)(?:\s+(.*))?$/.exec(line.trim()) ?? [];
    try {
      if (line.trim() === "") continue;
      if (command === "image") {
        pictures.push(openPicture(rest.trim()));
        waiting++;
      } else if (command === "clear") {
        messages = [];
        pictures = [];
        waiting = 0;
      } else if (command !== undefined) {
        console.err(HELP);
      } else {
        const question = questionMessage(line, waiting, pictures.length - waiting);
        const answer = await generate(model, [...messages, question], pictures, {
          ...options,
          signal: console.interrupt(),
          onText: (text) => console.out(show(text)),
        });
        console.out("\n");
        if (verbose) console.err(timingText(answer));
        messages.push(question, { role: "assistant", content: answer.text });
        waiting = 0;
      }
    } catch (error) {
      // A wrong path or a stopped answer is no reason to lose the conversation.
      if (!(error instanceof LobitError) || error.code === "internal") throw error;
      console.err(error.code === "aborted" ? "\n(stopped)\n" : `${error.message}\n`);
    }
  }
}
