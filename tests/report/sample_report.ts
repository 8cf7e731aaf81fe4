// A run in which everything is there that a report can hold, all its numbers different from each other.
import { ReportBuilder } from "../../src/report/builder.ts";
import type { RunReport } from "../../src/report/report.ts";

const PIXEL = "data:image/png;base64,iVBORw0KGgo=";

/** The run; `name` goes wherever a report takes somebody else's words. */
export function sampleReport(name: string = "pocket"): RunReport {
  let clock = 0;
  const builder = new ReportBuilder({
    model: name,
    lobit: "0.1.0",
    date: "2026-02-03T04:05:06Z",
    now: () => clock += 1234.5,
  });
  builder.machine({ threads: 7, build: name, host: name });
  const recipe = { name, stages: [{ part: "vision", share: 0.375 }] };
  builder.recipe(recipe);
  builder.plan({
    bytesBefore: 987654,
    bytes: 123456,
    vectorBytes: 4321,
    bitsPerWeight: 2.8125,
    parts: [{
      name: "vision",
      linears: 61,
      weights: 456789,
      bitsPerWeight: 2.625,
      formats: [name, "kept"],
      bytesBefore: 913578,
      bytes: 119135,
    }],
    weights: [
      [name, 1152, 0.0123],
      ["second", 1088, 4.5e-7],
      ["third", 1024, Infinity],
      ["kept", 992, undefined],
    ].map(([name, rows]) => ({
      name: String(name),
      part: "vision",
      rows: Number(rows),
      columns: Number(rows) - 17,
      format: "w2g16q16",
      bits: Number(rows) / 371,
      bytes: Number(rows) * 3,
    })),
  });
  builder.weightErrors(new Map([[name, 0.0123], ["second", 4.5e-7], ["third", Infinity]]));
  builder.stage(name, name);
  builder.block(`${name}.0`, 0.51, 0.052);
  builder.block("blocks.1", 0.053, NaN);
  builder.note(name);
  builder.stage("training", "language");
  builder.step(1001, { [name]: 5.5, loss: 7.25 }, 1.5e-4);
  builder.step(1002, { [name]: -Infinity, loss: 0.03125 }, 1.25e-4);
  builder.step(1003, { [name]: 3.75, loss: NaN }, 0);
  builder.endStage(4567.5);
  builder.file(name, 131313);
  builder.peakMemory(242424);
  const score = (average: number, photo: number, other: number) => ({
    average,
    categories: { photo, [name]: other },
    counts: { photo: 41, [name]: 43 },
  });
  builder.accuracy({
    data: name,
    before: score(57.25, 61.5, 53),
    after: score(48.125, 47.75, 48.5),
    roundToNearest: score(14.875, 0, 29.75),
    outcomes: { kept: 31, lost: 13, gained: 5, missed: 35 },
  });
  builder.sample({
    question: name,
    pictures: [PIXEL, name],
    reference: name,
    before: { text: name, correct: true },
    after: { text: "", correct: false },
  });
  builder.warn(name);
  return builder.finish();
}
