// One conversation in, streaming text out.
import { Random } from "../base/random.ts";
import { badRequest } from "../base/errors.ts";
import type { RgbImage } from "../input/image/decode.ts";
import type { Message } from "../input/prompt.ts";
import { type Job, runJobs } from "./decode_loop.ts";
import type { LoadedModel } from "./model.ts";
import { buildRequest, type Request, type RequestOptions } from "./request.ts";
import { checkSamplerOptions, type SamplerOptions, sampleToken } from "./sampler.ts";
import { TextStream } from "./text_stream.ts";

/** How to answer. */
export interface GenerateOptions extends SamplerOptions, RequestOptions {
  /** Most tokens to add; default 512. */
  readonly maxTokens?: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: readonly string[];
  /** Seed of the sampler; default 0. */
  readonly seed?: number;
  /** Context length in tokens; the model's own limit if not given. */
  readonly context?: number;
  /** Stops the work. */
  readonly signal?: AbortSignal;
  /** Called with each finished piece of text. */
  readonly onText?: (text: string) => void;
}

/** A finished answer. */
export interface Answer {
  /** The whole text. */
  readonly text: string;
  /** Token ids, the stopping one not included. */
  readonly ids: readonly number[];
  /** Why it ended: a stop token or string, the token limit or a full context. */
  readonly ended: "stop" | "length";
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  /** Tiles of all pictures. */
  readonly tiles: number;
  /** Milliseconds from start to first token, and from there to the end. */
  readonly timing: { readonly firstToken: number; readonly decode: number };
}

/** Event loop gets a turn at most this often while decoding. */
const BREATH_MS = 40;

/** Answers a conversation about pictures; image parts of the messages index `pictures`. */
export async function generate(
  model: LoadedModel,
  messages: readonly Message[],
  pictures: readonly RgbImage[] = [],
  options: GenerateOptions = {},
): Promise<Answer> {
  const { maxTokens = 512, seed = 0 } = options;
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    throw badRequest(
      `The number of tokens to generate must be a whole number from 1, not ${maxTokens}.`,
    );
  }
  checkSamplerOptions(options);
  const { assets } = model.open;
  const request = buildRequest(assets, model.vlm.input, messages, pictures, options);
  const stream = new TextStream(options.stop ?? []);
  const random = new Random(seed);
  const ids: number[] = [];
  const pieces: string[] = [];
  const start = performance.now();
  let first = 0;
  let ended: Answer["ended"] = "length";
  const put = (text: string) => {
    if (text === "") return;
    pieces.push(text);
    options.onText?.(text);
  };
  const history = [...request.prompt.ids];
  const job: Job = {
    request,
    maxTokens,
    choose: (logits) => sampleToken(logits, history, options, random),
    accept(id) {
      first ||= performance.now() - start;
      if (assets.tokenizer.eosIds.includes(id)) {
        ended = "stop";
        return true;
      }
      ids.push(id);
      history.push(id);
      if (!assets.tokenizer.isSpecial(id)) put(stream.push(assets.tokenizer.tokenBytes(id)));
      if (stream.stoppedBy !== undefined) {
        ended = "stop";
        return true;
      }
      return ids.length >= maxTokens;
    },
  };
  let breath = start;
  await runJobs(model, [job], {
    context: options.context,
    signal: options.signal,
    async turn() {
      if (performance.now() - breath < BREATH_MS) return;
      await new Promise((resolve) => setTimeout(resolve));
      breath = performance.now();
    },
  });
  put(stream.flush());
  return {
    text: pieces.join(""),
    ids,
    ended,
    promptTokens: request.prompt.ids.length,
    tiles: request.images.reduce((sum, { count }) => sum + count, 0),
    timing: { firstToken: first, decode: performance.now() - start - first },
  };
}

/** Greedy answers to many requests, a batch at a time; for evaluation. */
export async function answerGreedily(
  model: LoadedModel,
  requests: readonly Request[],
  maxTokens: number,
  signal?: AbortSignal,
): Promise<string[]> {
  const { tokenizer } = model.open.assets;
  const answers: number[][] = requests.map(() => []);
  const random = new Random(0);
  await runJobs(
    model,
    requests.map((request, i): Job => ({
      request,
      maxTokens,
      choose: (logits) => sampleToken(logits, [], {}, random),
      accept(id) {
        if (tokenizer.eosIds.includes(id)) return true;
        answers[i]!.push(id);
        return answers[i]!.length >= maxTokens;
      },
    })),
    { signal },
  );
  return answers.map((ids) => tokenizer.decode(ids, { skipSpecial: true }));
}
