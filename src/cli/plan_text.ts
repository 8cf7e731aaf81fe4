// What a plan comes to, part by part: as a table, as JSON and for a report.
import { formatName } from "../formats/format.ts";
import type { StoredTensor } from "../models/open.ts";
import type { Plan } from "../recipe/plan.ts";
import type { ReportPart, ReportPlan } from "../report/report.ts";
import { bytesText, countText, table } from "./text.ts";

/** Sums of the linears of each part; norms, biases and other vectors are a row of their own. */
function partsOf(plan: Plan, tensors: readonly StoredTensor[]): ReportPart[] {
  const before = new Map(tensors.map(({ name, bytes }) => [name, bytes]));
  return [...new Set(plan.weights.map(({ part }) => part))].map((part): ReportPart => {
    const own = plan.weights.filter((weight) => weight.part === part);
    const weights = own.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
    const bytes = own.reduce((sum, { bytes }) => sum + bytes, 0);
    return {
      name: part,
      linears: own.length,
      weights,
      bitsPerWeight: 8 * bytes / weights,
      formats: [...new Set(own.map(({ format }) => format ? formatName(format) : "kept"))],
      bytes,
      bytesBefore: own.reduce((sum, { name }) => sum + (before.get(`${name}.weight`) ?? 0), 0),
    };
  });
}

/** Linears whose groups had to be made smaller, by what was wanted and what was taken. */
function adjustedOf(plan: Plan): { wanted: string; format: string; linears: string[] }[] {
  const groups = new Map<string, { wanted: string; format: string; linears: string[] }>();
  for (const { name, wanted, format } of plan.weights) {
    if (!wanted || !format) continue;
    const [from, to] = [formatName(wanted), formatName(format)];
    const group = groups.get(`${from} ${to}`) ?? { wanted: from, format: to, linears: [] };
    group.linears.push(name);
    groups.set(`${from} ${to}`, group);
  }
  return [...groups.values()];
}

/** What the plan had to change about the recipe's formats, in words. */
export function adjustedTexts(plan: Plan): string[] {
  return adjustedOf(plan).map(({ wanted, format, linears }) =>
    `${linears.length} linears take ${format} instead of ${wanted}, since groups must divide ` +
    `their shape (${linears[0]}${linears.length > 1 ? ", …" : ""}).`
  );
}

/** The plan as a report has it. */
export function reportPlan(plan: Plan, tensors: readonly StoredTensor[]): ReportPlan {
  const { weights, bytes } = linearSums(plan);
  return {
    bytesBefore: plan.bytesBefore,
    bytes: plan.bytes,
    vectorBytes: plan.vectorBytes,
    bitsPerWeight: 8 * bytes / weights,
    parts: partsOf(plan, tensors),
    weights: plan.weights.map(({ format, wanted: _, ...weight }) => ({
      ...weight,
      format: format ? formatName(format) : "kept",
    })),
  };
}

/** The plan's sums, for `--json`. */
export function planJson(plan: Plan, tensors: readonly StoredTensor[]): Record<string, unknown> {
  const { weights, bytes } = linearSums(plan);
  return {
    recipe: plan.recipe,
    bytes: plan.bytes,
    bytesBefore: plan.bytesBefore,
    bitsPerWeight: 8 * bytes / weights,
    vectorBytes: plan.vectorBytes,
    parts: partsOf(plan, tensors),
    adjusted: adjustedOf(plan),
  };
}

function linearSums(plan: Plan): { weights: number; bytes: number } {
  return {
    weights: plan.weights.reduce((sum, { rows, columns }) => sum + rows * columns, 0),
    bytes: plan.weights.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

/** The plan as a table. */
export function planText(model: string, plan: Plan, tensors: readonly StoredTensor[]): string {
  const parts = partsOf(plan, tensors);
  const vectorsBefore = plan.bytesBefore - parts.reduce((sum, part) => sum + part.bytesBefore, 0);
  const { weights, bytes } = linearSums(plan);
  const rows = [["part", "linears", "weights", "bits/weight", "before", "after", "formats"]];
  for (const part of parts) {
    rows.push([
      part.name,
      countText(part.linears),
      countText(part.weights),
      part.bitsPerWeight.toFixed(2),
      bytesText(part.bytesBefore),
      bytesText(part.bytes),
      part.formats.join(", "),
    ]);
  }
  rows.push(
    ["norms, biases", "", "", "", bytesText(vectorsBefore), bytesText(plan.vectorBytes), "f32"],
    [
      "all",
      countText(plan.weights.length),
      countText(weights),
      (8 * bytes / weights).toFixed(2),
      bytesText(plan.bytesBefore),
      bytesText(plan.bytes),
      "",
    ],
  );
  const adjusted = adjustedTexts(plan).map((text) => `${text}\n`);
  return `${model}, recipe ${plan.recipe.name}\n\n${table(rows, [1, 2, 3, 4, 5])}` +
    (adjusted.length > 0 ? `\n${adjusted.join("")}` : "");
}
