import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import { sampleItems } from "../../src/data/sample.ts";
import { isCorrect, questionText, scoreTable } from "../../src/data/score.ts";

Deno.test("a choice is asked with a line per option and a line for the letter", () => {
  const options = [{ letter: "A", text: "cat" }, { letter: "C", text: "dog" }];
  assertEquals(questionText("What?", options), "What?\nA. cat\nC. dog\nAnswer with the letter.");
  assertEquals(questionText("What?", []), "What?");
});

Deno.test("an answer is right when it equals the reference but for case and outer white space", () => {
  assert(isCorrect(" b\n", "B"));
  assert(!isCorrect("B.", "B"));
  assert(!isCorrect("", "B"));
});

Deno.test("the average weighs categories equally", () => {
  const outcome = (category: string, correct: boolean) => ({ category, correct });
  const table = scoreTable([
    outcome("a", true),
    outcome("b", true),
    outcome("b", false),
    outcome("b", false),
    outcome("b", false),
  ]);
  assertEquals(table, { average: 62.5, categories: { a: 100, b: 25 }, counts: { a: 1, b: 4 } });
  assertThrows(() => scoreTable([]), LobitError, "nothing to score");
});

Deno.test("a smaller sample of the same seed is part of a larger one, in the items' order", () => {
  const items = Array.from({ length: 200 }, (_, i) => i);
  const share = fc.double({ min: 0.001, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.integer(), share, share, (seed, one, other) => {
      const [small, large] = [one, other].sort((a, b) => a - b).map((share) =>
        sampleItems(items, { seed, share })
      );
      assert(small!.every((item) => large!.includes(item)));
      assertEquals(large, large!.toSorted((a, b) => a - b));
      assertEquals(small!.length, Math.max(1, Math.round(Math.min(one, other) * 200)));
    }),
    { seed: 20261123, numRuns: 100 },
  );
  assertEquals(
    sampleItems(items, { seed: 1, count: 5 }),
    sampleItems(items, { seed: 1, count: 5 }),
  );
  assert(
    String(sampleItems(items, { seed: 1, count: 5 })) !==
      String(sampleItems(items, { seed: 2, count: 5 })),
  );
  assertEquals(sampleItems([], { seed: 1 }), []);
  assertThrows(() => sampleItems(items, { seed: 1, share: 0 }), LobitError);
  assertThrows(() => sampleItems(items, { seed: 1, count: 0.5 }), LobitError);
});
