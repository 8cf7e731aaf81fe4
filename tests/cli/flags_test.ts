import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { type Flag, nearest, readArguments } from "../../src/cli/flags.ts";

const FLAGS: readonly Flag[] = [
  { name: "output", letter: "o", kind: "text", value: "FILE", help: "" },
  { name: "bits", kind: "number", value: "N", choices: ["2", "4"], help: "" },
  { name: "ratio", kind: "number", value: "X", help: "" },
  { name: "room", kind: "size", value: "SIZE", help: "" },
  { name: "image", letter: "i", kind: "list", value: "PATH", help: "" },
  { name: "json", kind: "switch", help: "" },
];
const read = (...args: string[]) => readArguments(FLAGS, args);

function refusal(...args: string[]): string {
  const error = assertThrows(() => read(...args), LobitError);
  assertEquals(error.code, "bad-request");
  return error.message;
}

Deno.test("Flags of every kind are read, wherever they stand", () => {
  const args = read("model", "-o", "a b", "--image=x.png", "--json", "question", "-i", "y.png");
  assertEquals(args.positional, ["model", "question"]);
  assertEquals(args.text("output"), "a b");
  assertEquals(args.list("image"), ["x.png", "y.png"]);
  assertEquals(args.has("json"), true);
  assertEquals(args.text("bits"), undefined);
  assertEquals(read("a").list("image"), []);
  assertEquals(read("a").has("json"), false);
});

Deno.test("Positional arguments stay as they were typed", () => {
  assertEquals(read("007", "1e3", "0x10").positional, ["007", "1e3", "0x10"]);
  assertEquals(read("file", "--", "--json", "-5").positional, ["file", "--json", "-5"]);
  assertEquals(read("file", "--", "--json").has("json"), false);
});

Deno.test("Numbers and sizes are read strictly", () => {
  assertEquals(read("--ratio", "0.5").number("ratio"), 0.5);
  assertEquals(read("--ratio", ".5").number("ratio"), 0.5);
  assertEquals(read("--ratio=-1").number("ratio"), -1);
  assertEquals(read("--room", "4G").bytes("room"), 2 ** 32);
  assertEquals(read("--room", "1.5MiB").bytes("room"), 1.5 * 2 ** 20);
  assertEquals(read("--room", "900").bytes("room"), 900);
  for (const text of ["five", "1,5", "0x10", "1e", "Infinity"]) {
    assertThrows(() => read("--ratio", text).number("ratio"), LobitError, text);
  }
  for (const text of ["4T", "-4G", "G"]) {
    assertThrows(() => read(`--room=${text}`).bytes("room"), LobitError, text);
  }
  assertThrows(() => read("--ratio", "1.5").integer("ratio", 0), LobitError, "whole number from 0");
  assertThrows(() => read("--ratio", "0").integer("ratio", 1), LobitError, "whole number from 1");
});

Deno.test("Unknown flags are refused with the flag that was likely meant", () => {
  assertStringIncludes(refusal("--bitz", "2"), "--bitz (did you mean --bits?)");
  assertStringIncludes(refusal("--ouput=x"), "did you mean --output?");
  assertEquals(refusal("--frobnicate").includes("did you mean"), false);
  assertStringIncludes(refusal("-x"), "-x");
  assertStringIncludes(refusal("--__proto__", "1"), "--__proto__");
  assertStringIncludes(refusal("--no-json"), "--no-json");
});

Deno.test("All mistakes are listed at once", () => {
  const message = refusal("--bitz", "2", "--bits", "5", "-o");
  for (const part of ["--bitz", 'found "5"', "--output needs a value"]) {
    assertStringIncludes(message, part);
  }
});

Deno.test("The nearest word is found only if it is near", () => {
  assertEquals(nearest("inspekt", ["inspect", "eval"]), "inspect");
  assertEquals(nearest("x", ["inspect", "eval"]), undefined);
  assertEquals(nearest("y".repeat(100_000), ["eval"]), undefined);
});
