/**
 * A bounded run of `@huggingface/jinja`: each evaluation step is counted, and no value may grow
 * beyond a limit, so that a hostile template ends in an error instead of a hang or exhausted
 * memory. The clock is not offered: prompts are reproducible.
 */
import { Environment, Interpreter, parse, tokenize } from "npm:@huggingface/jinja@0.5.11";

type Statement = Parameters<Interpreter["evaluate"]>[0];
type Value = ReturnType<Interpreter["evaluate"]>;

/** Characters of a template; the longest in use have about 20,000. */
const MAX_SOURCE = 256 * 1024;
const MAX_STEPS = 200_000;
const MAX_NUMBER = 100_000;
const MAX_SIZE = 1024 * 1024;

/**
 * Parses a template with the white space rules that transformers uses. The result renders it with
 * the given variables; `inputChars`, the length of what they hold, raises the limit on size. Both
 * throw ordinary errors.
 */
export function compileTemplate(
  source: string,
): (variables: Readonly<Record<string, unknown>>, inputChars: number) => string {
  if (source.length > MAX_SOURCE) {
    throw new Error(`it has ${source.length} characters, more than ${MAX_SOURCE}.`);
  }
  const program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  return (variables, inputChars) => {
    const interpreter = new BoundedInterpreter(makeScope(variables), MAX_SIZE + 4 * inputChars);
    return String(interpreter.run(program).value);
  };
}

function makeScope(variables: Readonly<Record<string, unknown>>): Environment {
  const scope = new Environment();
  for (const [name, value] of [["true", true], ["false", false], ["none", null]] as const) {
    scope.set(name, value);
    scope.set(name[0]!.toUpperCase() + name.slice(1), value);
  }
  scope.set("raise_exception", (message: unknown) => {
    throw new Error(String(message));
  });
  scope.set("range", boundedRange);
  for (const [name, value] of Object.entries(variables)) scope.set(name, value);
  return scope;
}

/** Python's range, at most MAX_NUMBER long. */
function boundedRange(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= MAX_NUMBER)) throw new Error(`range() is longer than ${MAX_NUMBER} items.`);
  return Array.from({ length: count }, (_, i) => from + i * step);
}

class BoundedInterpreter extends Interpreter {
  readonly #maxSize: number;
  readonly #sizes = new WeakMap<object, number>();
  #steps = 0;

  constructor(scope: Environment, maxSize: number) {
    super(scope);
    this.#maxSize = maxSize;
  }

  override evaluate(statement: Statement, environment: Environment): Value {
    if (++this.#steps > MAX_STEPS) throw new Error(`it takes more than ${MAX_STEPS} steps.`);
    const value = super.evaluate(statement, environment);
    if (typeof value.value === "number" && Math.abs(value.value) > MAX_NUMBER) {
      throw new Error(`it uses a number larger than ${MAX_NUMBER}.`);
    }
    if (this.#sizeOf(value) > this.#maxSize) {
      throw new Error(`it makes a value longer than ${this.#maxSize} characters.`);
    }
    return value;
  }

  /**
   * Lists can share their items, so a small program can name an exponentially large one: this
   * counts what printing would.
   */
  #sizeOf(value: Value): number {
    const content: unknown = value.value;
    if (typeof content === "string") return 1 + content.length;
    if (!Array.isArray(content) && !(content instanceof Map)) return 1;
    const known = this.#sizes.get(content);
    if (known !== undefined) return known;
    // Set before descending: a namespace may contain itself.
    this.#sizes.set(content, 1);
    let size = 1;
    for (const item of content.values() as Iterable<Value>) size += this.#sizeOf(item);
    // A namespace may change later, so its size is not remembered.
    if (value.type === "NamespaceValue") this.#sizes.delete(content);
    else this.#sizes.set(content, size);
    return size;
  }
}
