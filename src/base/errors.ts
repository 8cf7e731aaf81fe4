/** What went wrong, for programs; the message says it for people. */
export type ErrorCode =
  /** A file or its content is damaged, unsupported or inconsistent. */
  | "bad-file"
  /** The caller asked for something impossible: wrong option, shape or size. */
  | "bad-request"
  /** The work does not fit into the memory that is available or was allowed. */
  | "no-memory"
  /** An AbortSignal or the user stopped the work. */
  | "aborted"
  /** A worker died or an invariant broke: a bug in lobit. */
  | "internal";

/**
 * The only error lobit throws on purpose. The message is a plain sentence: what was expected, what was found, in
 * which file or tensor, and what to do.
 */
export class LobitError extends Error {
  /** What went wrong, for programs. */
  readonly code: ErrorCode;

  /** Makes an error of the given code. */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "LobitError";
    this.code = code;
  }
}

/** An error about a file's content. */
export function badFile(file: string, problem: string, options?: ErrorOptions): LobitError {
  return new LobitError("bad-file", `${file}: ${problem}`, options);
}

/** An error about what the caller asked for. */
export function badRequest(problem: string, options?: ErrorOptions): LobitError {
  return new LobitError("bad-request", problem, options);
}

/** Throws if the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new LobitError("aborted", "The work was stopped before it finished.");
}
