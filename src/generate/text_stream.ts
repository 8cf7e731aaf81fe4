/**
 * Token bytes to streaming text. Characters that several tokens share wait until they are whole;
 * text that may become a stop string waits until that is decided. The stop string that is complete
 * first ends the text, and is not part of it.
 */
import { badRequest } from "../base/errors.ts";

const MAX_STOP = 1024;

/** Turns the bytes of generated tokens into text, however they are cut. */
export class TextStream {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #stops: readonly string[];
  #pending = "";
  #stoppedBy: string | undefined;

  /** Starts a text; it ends before the first of the `stops`. */
  constructor(stops: readonly string[] = []) {
    for (const stop of stops) {
      // A lone surrogate could match half of a character.
      if (stop === "" || stop.length > MAX_STOP || /\p{Cs}/u.test(stop)) {
        throw badRequest(`A stop string must be 1 to ${MAX_STOP} characters of well-formed text.`);
      }
    }
    this.#stops = stops;
  }

  /** The stop string that ended the text, if one did. */
  get stoppedBy(): string | undefined {
    return this.#stoppedBy;
  }

  /**
   * Takes a token's bytes and returns the text that is now certain; nothing once a stop string has
   * ended the text.
   */
  push(bytes: Uint8Array): string {
    if (this.#stoppedBy !== undefined) return "";
    return this.#advance(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Ends the text and returns what was held back; unfinished characters become U+FFFD. */
  flush(): string {
    if (this.#stoppedBy !== undefined) return "";
    const text = this.#advance(this.#decoder.decode());
    const rest = this.#pending;
    this.#pending = "";
    return text + rest;
  }

  #advance(text: string): string {
    const pending = this.#pending + text;
    const match = this.#firstStop(pending);
    if (match) {
      this.#stoppedBy = match.stop;
      this.#pending = "";
      return pending.slice(0, match.start);
    }
    const certain = pending.length - this.#undecided(pending);
    this.#pending = pending.slice(certain);
    return pending.slice(0, certain);
  }

  /** The match that ends first; of several that end there, the longest. */
  #firstStop(text: string): { start: number; stop: string } | undefined {
    let first: { start: number; stop: string } | undefined;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      if (start < 0) continue;
      const sooner = first === undefined
        ? -1
        : start + stop.length - (first.start + first.stop.length);
      if (first === undefined || sooner < 0 || (sooner === 0 && start < first.start)) {
        first = { start, stop };
      }
    }
    return first;
  }

  /** Length of the longest end of the text that begins a stop string. */
  #undecided(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
