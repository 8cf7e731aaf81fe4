/** Options of {@linkcode parseArgs}: the part of @std/cli that lobit uses. */
export interface ParseOptions {
  boolean?: boolean | string | readonly string[];
  string?: string | readonly string[];
  collect?: string | readonly string[];
  alias?: Record<string, string | readonly string[]>;
  default?: Record<string, unknown>;
  negatable?: string | readonly string[];
  stopEarly?: boolean;
  "--"?: boolean;
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** Parsed flags by name; `_` holds the positional arguments. */
export type Args = { _: (string | number)[]; "--"?: string[] } & Record<string, unknown>;

/** Parses command line arguments as @std/cli does. */
export function parseArgs(args: string[], options?: ParseOptions): Args;
