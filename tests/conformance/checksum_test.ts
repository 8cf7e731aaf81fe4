import { assertEquals } from "@std/assert";
import { kernels } from "../../wasm/mod.ts";
import { onEveryEngine } from "./engines.ts";

Deno.test("checksums are XXH32, as the published test vectors have it", async () => {
  const vectors: [string, number][] = [
    ["", 0x02cc5d05],
    ["a", 0x550d7456],
    ["abc", 0x32d153ff],
    ["Nobody inspects the spammish repetition", 0xe2293b2f],
  ];
  await onEveryEngine(({ name, engine }) => {
    const spans = vectors.map(([text]) => {
      const bytes = new TextEncoder().encode(text);
      const ptr = engine.memory.allocate(bytes.length);
      engine.memory.u8(ptr, bytes.length).set(bytes);
      return { ptr, bytes: bytes.length };
    });
    assertEquals([...kernels.checksums(engine, spans)], vectors.map(([, hash]) => hash), name);
  });
});
