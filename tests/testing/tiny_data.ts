// Made-up conversations for the tiny model, two of three with a picture.
import type { ChatItem } from "../../src/data/items.ts";
import { testPath } from "./folders.ts";

/** The same conversations for equal counts. */
export function tinyChat(count: number): ChatItem[] {
  const name = "chroma_411.png";
  const bytes = Deno.readFileSync(testPath(`input/image/fixtures/${name}`));
  return Array.from({ length: count }, (_, i): ChatItem => ({
    source: `item ${i}`,
    messages: [
      {
        role: "user",
        content: i % 3 === 0
          ? [{ type: "text", text: `hello ${i}` }]
          : [{ type: "image", image: 0 }, { type: "text", text: `hell ${i}` }],
      },
      { role: "assistant", content: `he ${i}` },
    ],
    images: i % 3 === 0 ? [] : [{ kind: "bytes", bytes, name }],
  }));
}
