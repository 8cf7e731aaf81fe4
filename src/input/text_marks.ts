/**
 * Marks for text that passes through a chat template. A mark is a sequence of characters that
 * occurs in no input. One after each character a control token may begin with breaks names typed
 * inside the text; one where the text begins breaks a name that template text starts. Answers to
 * train on are enclosed in two further marks. All are removed before encoding.
 */

/** A piece of text without marks. */
export interface UnmarkedText {
  /** The text. */
  readonly text: string;
  /** Whether it is an answer to train on. */
  readonly answer: boolean;
}

/** A Unicode noncharacter: never part of a text, and left alone by templates' filters. */
const OPEN = "\ufdd0";
const CLOSE = "\ufdd1";

/** Marks that occur in none of the given inputs. */
export class TextMarks {
  readonly #breaker: string;
  readonly #answerStart: string;
  readonly #answerEnd: string;
  readonly #firstChars: ReadonlySet<string>;

  /**
   * `inputs` are all texts and the template; `names` the control tokens that must not be
   * recognised.
   */
  constructor(inputs: readonly string[], names: readonly string[]) {
    let next = 0;
    const fresh = () => {
      // Each input can contain only finitely many marks, so this ends.
      for (;;) {
        const mark = `${OPEN}${next++}${CLOSE}`;
        if (!inputs.some((input) => input.includes(mark))) return mark;
      }
    };
    this.#breaker = fresh();
    this.#answerStart = fresh();
    this.#answerEnd = fresh();
    this.#firstChars = new Set(names.map((name) => name[0]!));
  }

  /** Marks a text; leading white space stays in front, so that a template's trim still sees it. */
  mark(text: string, answer: boolean): string {
    const begin = text.length - text.trimStart().length;
    let marked = text.slice(0, begin) + this.#breaker;
    for (let i = begin; i < text.length; i++) {
      marked += text[i]!;
      if (this.#firstChars.has(text[i]!)) marked += this.#breaker;
    }
    return answer ? this.#answerStart + marked + this.#answerEnd : marked;
  }

  /** Removes the marks from a run of rendered text and cuts it at the borders of answers. */
  unmark(run: string): UnmarkedText[] {
    const clean = (text: string) => text.replaceAll(this.#breaker, "");
    return run.split(this.#answerStart).flatMap((piece, i) => {
      if (i === 0) return [{ text: clean(piece), answer: false }];
      const [answer = "", ...rest] = piece.split(this.#answerEnd);
      return [{ text: clean(answer), answer: true }, { text: clean(rest.join("")), answer: false }];
    }).filter((piece) => piece.text !== "" || piece.answer);
  }
}
