import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import { TextStream } from "../../src/generate/text_stream.ts";

const SEED = 20261123;

/** Sends bytes in pieces that end at the cuts. */
function stream(
  bytes: Uint8Array,
  cuts: readonly number[],
  stops: readonly string[],
): { text: string; stream: TextStream } {
  const stream = new TextStream(stops);
  const edges = [
    0,
    ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ];
  let text = "";
  for (let i = 1; i < edges.length; i++) {
    text += stream.push(bytes.subarray(edges[i - 1], edges[i]));
  }
  return { text: text + stream.flush(), stream };
}

Deno.test("any bytes cut anywhere give the text of the whole", () => {
  const bytes = fc.oneof(
    fc.string({ unit: "grapheme" }).map((text) => new TextEncoder().encode(text)),
    fc.uint8Array(),
  );
  fc.assert(
    fc.property(bytes, fc.array(fc.nat()), (bytes, cuts) => {
      assertEquals(
        stream(bytes, cuts, []).text,
        new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes),
      );
    }),
    { seed: SEED, numRuns: 500 },
  );
});

Deno.test("stop strings end the text at the same place however it is cut", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "é", "🦊"), maxLength: 30 });
  const stops = fc.array(
    fc.string({ unit: fc.constantFrom("a", "b", "é", "🦊"), minLength: 1, maxLength: 4 }),
    { maxLength: 3 },
  );
  fc.assert(
    fc.property(letters, stops, fc.array(fc.nat(), { maxLength: 20 }), (text, stops, cuts) => {
      // The definition: the shortest beginning that ends in a stop string, without the longest such.
      let expected = text;
      for (let end = 0; end <= text.length; end++) {
        const hit = stops.filter((stop) =>
          text.slice(0, end).endsWith(stop)
        ).sort((a, b) => b.length - a.length)[0];
        if (hit === undefined) {
          continue;
        }
        expected = text.slice(0, end - hit.length);
        break;
      }
      const result = stream(new TextEncoder().encode(text), cuts, stops);
      assertEquals(result.text, expected);
      assertEquals(
        result.stream.stoppedBy === undefined,
        !stops.some((stop) => text.includes(stop)),
      );
    }),
    { seed: SEED, numRuns: 1000 },
  );
});

Deno.test("text comes as soon as it is certain, and nothing comes after a stop", () => {
  const encode = (text: string) => new TextEncoder().encode(text);
  const one = new TextStream(["\nUser:"]);
  assertEquals(one.push(encode("Hi")), "Hi");
  assertEquals(one.push(encode("!\nUse")), "!");
  assertEquals(one.push(encode("d\n")), "\nUsed");
  assertEquals(one.push(encode("User: x")), "");
  assertEquals(one.stoppedBy, "\nUser:");
  assertEquals(one.push(encode("more")) + one.flush(), "");
  const fox = encode("🦊");
  const other = new TextStream();
  assertEquals([other.push(fox.subarray(0, 2)), other.push(fox.subarray(2)), other.flush()], [
    "",
    "🦊",
    "",
  ]);
  assertEquals(other.push(fox.subarray(0, 3)) + other.flush(), "\ufffd");
  const held = new TextStream(["ab"]);
  assertEquals([held.push(encode("xa")), held.flush()], ["x", "a"]);
  assert(held.stoppedBy === undefined);
});

Deno.test("stop strings that could match half a character are refused", () => {
  for (const stop of ["", "\ud83e", "x".repeat(2000)]) {
    assertThrows(() => new TextStream([stop]), LobitError);
  }
});
