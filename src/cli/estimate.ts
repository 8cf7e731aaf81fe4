// `lobit quantize --dry-run`: about how long the run would take here and how much memory it would need.
import { badRequest } from "../base/errors.ts";
import type { OpenModel } from "../models/open.ts";
import { missingData } from "../recipe/calibration_data.ts";
import { type Estimate, type EstimateOptions, estimateRun } from "../recipe/estimate.ts";
import type { Plan } from "../recipe/plan.ts";
import { duration } from "./progress.ts";
import { bytesText, table } from "./text.ts";

/** Tries a sample; without any data where the recipe needs some, a sentence instead. */
export async function estimateOf(
  open: OpenModel,
  plan: Plan,
  options: EstimateOptions,
  given: boolean,
): Promise<Estimate | string> {
  const missing = missingData(plan.recipe, options);
  const list = missing.map((problem) => `\n- ${problem}`).join("");
  if (missing.length > 0 && given) {
    throw badRequest(`The recipe "${plan.recipe.name}" needs data that was not given:${list}`);
  }
  if (missing.length > 0) {
    return `Time and memory are not estimated, since the recipe needs data that was not given:${list}`;
  }
  return await estimateRun(open, plan, options);
}

/** The estimate in words. */
export function estimateText(estimate: Estimate | string): string {
  if (typeof estimate === "string") return `\n${estimate}\n`;
  const { threads, stages, sampleSeconds, seconds, bytes } = estimate;
  const rows = [
    ["", "time", "memory"],
    ["loading", about(estimate.loadSeconds), ""],
    ["reading data", about(estimate.dataSeconds), ""],
    ...stages.map(({ part, method, seconds, bytes }, i) => [
      `stage ${i + 1}, ${part}, ${method}`,
      seconds === undefined ? "not known" : about(seconds),
      bytes === undefined ? "not known" : `about ${bytesText(bytes)}`,
    ]),
    ...(seconds !== undefined && bytes !== undefined
      ? [["all", about(seconds), `about ${bytesText(bytes)}`]]
      : []),
  ];
  const problems = stages.flatMap(({ problem, part }, i) =>
    problem === undefined ? [] : [`Stage ${i + 1}, ${part}: ${problem}\n`]
  );
  return `\nEstimated from a sample of the work, tried in ${
    duration(1000 * sampleSeconds)
  } on this ` +
    `machine with ${threads} threads; it may well be off by half. The program itself takes about 150 MiB more:\n\n` +
    `${table(rows, [1, 2])}${problems.length > 0 ? `\n${problems.join("")}` : ""}`;
}

/** Two digits are more than an estimate knows. */
function about(seconds: number): string {
  return seconds < 1 ? "under 1 s" : `about ${duration(1000 * Number(seconds.toPrecision(2)))}`;
}
