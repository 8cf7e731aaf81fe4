import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { type SamplerOptions, sampleToken } from "../../src/generate/sampler.ts";

const SEED = 20261123;
const logitsOf = (...values: number[]) => Float32Array.from(values);

/** Which ids are ever drawn, and how often, in many draws. */
function counts(
  logits: Float32Array,
  options: SamplerOptions,
  draws = 4000,
  history: number[] = [],
): Map<number, number> {
  const random = new Random(9);
  const seen = new Map<number, number>();
  for (let i = 0; i < draws; i++) {
    const id = sampleToken(logits, history, options, random);
    seen.set(id, (seen.get(id) ?? 0) + 1);
  }
  return seen;
}

const drawn = (logits: Float32Array, options: SamplerOptions, history: number[] = []) =>
  [...counts(logits, options, 4000, history).keys()].sort((a, b) => a - b);

/** Probabilities after all filters, by sorting everything: the definition written plainly. */
function reference(logits: Float32Array, options: SamplerOptions): Map<number, number> {
  const { temperature = 0, topK = 0, topP = 1, minP = 0 } = options;
  const top = Math.max(...logits);
  let ranked = [...logits].map((logit, id) => ({ id, p: Math.exp((logit - top) / temperature) }))
    .sort((a, b) => b.p - a.p || a.id - b.id);
  if (topK > 0) ranked = ranked.slice(0, topK);
  const total = ranked.reduce((sum, { p }) => sum + p, 0);
  let before = 0;
  ranked = ranked.filter(({ p }) => {
    const keep = topP === 1 || before < topP * total;
    before += p;
    return keep;
  }).filter(({ p }) => p >= minP);
  const mass = ranked.reduce((sum, { p }) => sum + p, 0);
  return new Map(ranked.map(({ id, p }) => [id, p / mass]));
}

Deno.test("without a temperature the most likely token is taken, the lowest id of equals", () => {
  const random = new Random(1);
  assertEquals(sampleToken(logitsOf(1, 3, 3, 2), [], {}, random), 1);
  assertEquals(sampleToken(logitsOf(-Infinity, -5), [], { topK: 1 }, random), 1);
  assertEquals(random.save(), new Random(1).save());
});

Deno.test("equal seeds draw equal tokens, and logits stay as they are", () => {
  const logits = Float32Array.from({ length: 500 }, (_, i) => Math.sin(i * 7) * 4);
  const before = logits.slice();
  const options = { temperature: 1, topK: 50, topP: 0.9, minP: 0.02, repetitionPenalty: 1.3 };
  const run = (seed: number) => {
    const random = new Random(seed);
    const history = [1, 2, 3];
    for (let i = 0; i < 30; i++) history.push(sampleToken(logits, history, options, random));
    return history;
  };
  assertEquals(run(5), run(5));
  assert(String(run(5)) !== String(run(6)));
  assertEquals(logits, before);
});

Deno.test("each filter keeps what its definition says", () => {
  const logits = logitsOf(Math.log(0.4), Math.log(0.1), Math.log(0.3), Math.log(0.2));
  assertEquals(drawn(logits, { temperature: 1 }), [0, 1, 2, 3]);
  assertEquals(drawn(logits, { temperature: 1, topK: 2 }), [0, 2]);
  assertEquals(drawn(logits, { temperature: 1, topP: 0.65 }), [0, 2]);
  assertEquals(drawn(logits, { temperature: 1, topP: 0.75 }), [0, 2, 3]);
  assertEquals(drawn(logits, { temperature: 1, topP: 1e-9 }), [0]);
  assertEquals(drawn(logits, { temperature: 1, minP: 0.6 }), [0, 2]);
  assertEquals(drawn(logits, { temperature: 1, minP: 1 }), [0]);
  // Temperature comes first: flattened probabilities let more tokens pass min-p.
  assertEquals(drawn(logits, { temperature: 4, minP: 0.6 }), [0, 1, 2, 3]);
  assertEquals(drawn(logitsOf(0, -Infinity, 0), { temperature: 1 }), [0, 2]);
});

Deno.test("the repetition penalty pushes seen tokens down whatever their sign", () => {
  const random = new Random(1);
  assertEquals(sampleToken(logitsOf(2, 1.5), [0], { repetitionPenalty: 2 }, random), 1);
  assertEquals(
    sampleToken(logitsOf(-1, -1.5), [0, 0, -1, 99], { repetitionPenalty: 2 }, random),
    1,
  );
  assertEquals(sampleToken(logitsOf(-1, -2.5), [0, 0], { repetitionPenalty: 2 }, random), 0);
  assertEquals(
    drawn(logitsOf(1, 0.5, 0.4), { temperature: 1, topK: 2, repetitionPenalty: 100 }, [1]),
    [
      0,
      2,
    ],
  );
});

Deno.test("the unlikely tokens of a vocabulary are ranked too when a filter reaches them", () => {
  const logits = Float32Array.from(
    { length: 300 },
    (_, id) => id % 100 === 7 ? 0 : -8.4 - (id % 3) / 100,
  );
  const ranked = reference(logits, { temperature: 1, topK: 150 });
  const seen = drawn(logits, { temperature: 1, topK: 150 });
  assert(seen.every((id) => ranked.has(id)), `${seen}`);
  assert(seen.length > 15, `only ${seen} were drawn`);
});

Deno.test("draws follow the filtered probabilities", () => {
  const logits = fc.array(fc.double({ min: -3, max: 3, noNaN: true }), {
    minLength: 2,
    maxLength: 12,
  });
  const options = fc.record({
    temperature: fc.double({ min: 0.3, max: 2, noNaN: true }),
    topK: fc.integer({ min: 0, max: 14 }),
    topP: fc.double({ min: 0.2, max: 1, noNaN: true }),
    minP: fc.double({ min: 0, max: 0.5, noNaN: true }),
  });
  fc.assert(
    fc.property(logits, options, (values, options) => {
      const logits = Float32Array.from(values);
      const expected = reference(logits, options);
      const seen = counts(logits, options, 2000);
      for (const id of seen.keys()) assert(expected.has(id), `${id} should have been filtered out`);
      for (const [id, p] of expected) {
        // Five standard deviations of 2,000 draws.
        const slack = 5 * Math.sqrt(p * (1 - p) / 2000) + 0.001;
        assert(
          Math.abs((seen.get(id) ?? 0) / 2000 - p) <= slack,
          `${id}: ${seen.get(id)} of 2000 for ${p}`,
        );
      }
    }),
    { seed: SEED, numRuns: 60 },
  );
});

Deno.test("broken logits and impossible options are said, not drawn from", () => {
  const random = new Random(1);
  for (
    const bad of [
      logitsOf(1, NaN),
      logitsOf(NaN, NaN),
      logitsOf(1, Infinity),
      logitsOf(-Infinity),
      logitsOf(),
    ]
  ) {
    assertEquals(assertThrows(() => sampleToken(bad, [], {}, random), LobitError).code, "internal");
  }
  const options = { temperature: -1, topK: 0.5, topP: 0, minP: 2, repetitionPenalty: 0 };
  const error = assertThrows(() => sampleToken(logitsOf(1), [], options, random), LobitError);
  for (const part of ["temperature", "top-k", "top-p", "min-p", "repetition penalty"]) {
    assert(error.message.includes(part), error.message);
  }
});
