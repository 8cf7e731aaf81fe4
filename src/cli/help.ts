// Help that teaches by examples: the overview, and one page per verb made from its tables.
import { COMMON_FLAGS, type Flag } from "./flags.ts";
import { table } from "./text.ts";
import type { Verb } from "./verb.ts";
import { VERSION } from "./version.ts";

/** What `lobit help` prints. */
export function overview(verbs: readonly Verb[]): string {
  const rows = verbs.map(({ name, summary }) => [`  lobit ${name}`, summary]);
  return `lobit ${VERSION}: quantizes vision-language models to 2-4 bits and runs them on CPUs.\n\n` +
    table(rows) +
    `
A first session:
  lobit quantize ./InternVL3-1B -o model.lobit --bits 4
  lobit run model.lobit --image cat.jpg "What is this?"
  lobit eval model.lobit dev.tsv

lobit VERB --help shows a verb's flags and examples. Exit codes: 0 done, 1 failed, 2 wrong usage,
130 stopped by Ctrl-C.
`;
}

/** What `lobit VERB --help` prints. */
export function verbHelp(verb: Verb): string {
  const rows = [...verb.flags, ...COMMON_FLAGS].map((flag) => [`  ${flagText(flag)}`, flag.help]);
  const examples = verb.examples.map(([command, meaning]) => `  # ${meaning}\n  ${command}\n`);
  return `lobit ${verb.name}: ${verb.summary}\n\n  lobit ${verb.name} ${verb.usage}`.trimEnd() +
    `\n\nExamples:\n${examples.join("\n")}\nFlags:\n${table(rows)}`;
}

/** The same for programs. */
export function helpJson(verb: Verb): Record<string, unknown> {
  const { name, summary, usage, examples } = verb;
  return { name, summary, usage, examples, flags: [...verb.flags, ...COMMON_FLAGS] };
}

function flagText({ name, letter, value }: Flag): string {
  return `${letter ? `-${letter}, ` : ""}--${name}${value ? ` ${value}` : ""}`;
}
