import { assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { secondsText } from "../../src/base/units.ts";
import { ReportBuilder } from "../../src/report/builder.ts";

/** A builder whose clock is set by hand, in seconds. */
function start(): { builder: ReportBuilder; clock: { at: number } } {
  const clock = { at: 0 };
  const now = () => clock.at * 1000;
  return { builder: new ReportBuilder({ model: "m", lobit: "0.1.0", date: "d", now }), clock };
}

Deno.test("Stages last from their begin to the next one's, or as long as they say", () => {
  const { builder, clock } = start();
  clock.at = 2;
  builder.stage("first", "vision");
  builder.block("b", 2, 1);
  clock.at = 5;
  builder.stage("second");
  builder.step(1, { loss: 3 });
  builder.note("n");
  builder.endStage(60);
  clock.at = 9;
  builder.endStage();
  builder.stage("third");
  clock.at = 9.5;
  assertEquals(builder.finish().stages, [
    {
      name: "first",
      part: "vision",
      seconds: 3,
      blocks: [{ name: "b", errorBefore: 2, errorAfter: 1 }],
      curve: [],
      notes: [],
    },
    {
      name: "second",
      seconds: 60,
      blocks: [],
      curve: [{ step: 1, losses: { loss: 3 } }],
      notes: ["n"],
    },
    { name: "third", seconds: 0.5, blocks: [], curve: [], notes: [] },
  ]);
});

Deno.test("Blocks, steps and notes need a stage, and errors of weights a plan", () => {
  const { builder } = start();
  const calls = [
    () => builder.block("b", 1, 1),
    () => builder.step(1, {}),
    () => builder.note("n"),
    () => builder.weightErrors(new Map()),
  ];
  for (const call of calls) assertEquals(assertThrows(call, LobitError).code, "bad-request");
});

Deno.test("Pieces of the work are timed and hand their results on", async () => {
  const { builder, clock } = start();
  const work = () => {
    clock.at += 1.5;
    return Promise.resolve("result");
  };
  assertEquals(await builder.time("piece", work), "result");
  assertEquals(builder.finish().timings, [{ name: "piece", seconds: 1.5 }]);
});

Deno.test("A finished report no longer changes", () => {
  const { builder } = start();
  builder.stage("first");
  const report = builder.finish();
  const before = JSON.stringify(report);
  builder.stage("second");
  builder.warn("w");
  builder.peakMemory(1);
  builder.finish();
  assertEquals(JSON.stringify(report), before);
});

Deno.test("Times are written in the units that fit", () => {
  const seconds = [0, 0.424, 9.994, 9.996, 59.94, 59.96, 200, 3599.6, 7500, 86_399];
  assertEquals(seconds.map(secondsText), [
    "0.00 s",
    "0.42 s",
    "9.99 s",
    "10.0 s",
    "59.9 s",
    "1 min 0 s",
    "3 min 20 s",
    "1 h 0 min",
    "2 h 5 min",
    "24 h 0 min",
  ]);
});
