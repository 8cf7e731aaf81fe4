// A strict reader of the pages that reports are: every element is closed, every attribute quoted, every entity known.
// Browsers forgive what this refuses.
import { assert } from "@std/assert";

/** An element. */
export interface Element {
  name: string;
  attributes: Map<string, string>;
  children: (Element | string)[];
}

const VOID = new Set(["img", "meta"]);
const ENTITIES = new Map([["amp", "&"], ["lt", "<"], ["gt", ">"], ["quot", '"'], ["#39", "'"]]);

/** Reads a fragment or page; throws at the first thing that is not well formed. */
export function readPage(source: string): Element {
  const root: Element = { name: "#root", attributes: new Map(), children: [] };
  const open = [root];
  const text = source.replace(/^<!DOCTYPE html>\n/, "");
  for (let at = 0; at < text.length;) {
    const top = open.at(-1)!;
    if (text[at] !== "<") {
      const end = text.indexOf("<", at) < 0 ? text.length : text.indexOf("<", at);
      top.children.push(plain(text.slice(at, end)));
      at = end;
      continue;
    }
    const close = /^<\/([a-zA-Z][a-zA-Z0-9]*)>/.exec(text.slice(at, at + 40));
    if (close) {
      assert(top.name === close[1], `</${close[1]}> closes <${top.name}> at ${at}`);
      open.pop();
      at += close[0].length;
      continue;
    }
    const start = /<([a-zA-Z][a-zA-Z0-9]*)((?: [a-zA-Z][a-zA-Z0-9-]*="[^"<>]*")*)(\/?)>/y;
    start.lastIndex = at;
    const found = start.exec(text);
    assert(found, `no tag: ${text.slice(at, at + 60)}`);
    const [whole, name, list, empty] = found as unknown as [string, string, string, string];
    assert(VOID.has(name) === (empty === "/"), `<${name}> is wrongly empty`);
    const attributes = new Map<string, string>();
    for (const [, key, value] of list.matchAll(/ ([a-zA-Z][a-zA-Z0-9-]*)="([^"]*)"/g)) {
      assert(!attributes.has(key!), `<${name}> has ${key} twice`);
      attributes.set(key!, plain(value!));
    }
    const element: Element = { name, attributes, children: [] };
    top.children.push(element);
    at += whole.length;
    if (name === "style") {
      const end = text.indexOf("</style>", at);
      element.children.push(text.slice(at, end));
      at = end + "</style>".length;
    } else if (empty === "") open.push(element);
  }
  assert(open.length === 1, `<${open.at(-1)!.name}> is not closed`);
  return root;
}

function plain(text: string): string {
  assert(!text.includes(">"), `a bare > in "${text.slice(0, 60)}"`);
  // deno-lint-ignore no-control-regex
  assert(!/[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/.test(text) && text.isWellFormed());
  return text.replace(/&([^;]{0,8};)?/g, (whole, name: string | undefined) => {
    const character = name && ENTITIES.get(name.slice(0, -1));
    assert(character, `the entity ${whole} is not known`);
    return character;
  });
}

/** All elements below one, in order, that have the name (or any). */
export function elements(below: Element, name?: string): Element[] {
  return below.children.flatMap((child) =>
    typeof child === "string"
      ? []
      : [...(name === undefined || child.name === name ? [child] : []), ...elements(child, name)]
  );
}

/** The text of an element and those below. */
export function textOf(element: Element): string {
  return element.children.map((child) => typeof child === "string" ? child : textOf(child)).join(
    "",
  );
}
