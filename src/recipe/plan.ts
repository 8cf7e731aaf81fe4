// What a recipe will do to a model, worked out from names and shapes before any work: formats, sizes, and everything
// that is wrong, all at once.
import { badRequest, LobitError } from "../base/errors.ts";
import { fitFormat, type Format, formatName } from "../formats/format.ts";
import { bitsPerWeight, layoutOf } from "../formats/layout.ts";
import type { StoredTensor } from "../models/open.ts";
import type { PartName } from "../models/vlm.ts";
import { formatFor, matches, type Recipe, rulesOf } from "./recipe.ts";
import { settingsProblems } from "./stages/settings.ts";

/** What becomes of one weight. */
export interface PlannedWeight {
  /** Linear name. */
  readonly name: string;
  /** The part it belongs to. */
  readonly part: PartName;
  /** Outputs. */
  readonly rows: number;
  /** Inputs. */
  readonly columns: number;
  /** What it will be stored as; nothing means unchanged. */
  readonly format?: Format;
  /** What the recipe asked for, where groups had to be made smaller to divide the shape. */
  readonly wanted?: Format;
  /** Bytes in the packed file. */
  readonly bytes: number;
  /** Bits per weight in the packed file. */
  readonly bits: number;
}

/** A whole plan. */
export interface Plan {
  /** The recipe. */
  readonly recipe: Recipe;
  /** Every linear, in the order of the model. */
  readonly weights: readonly PlannedWeight[];
  /** Bytes of norms, biases and other vectors. */
  readonly vectorBytes: number;
  /** Bytes of all tensors in the packed file. */
  readonly bytes: number;
  /** Bytes of all tensors now. */
  readonly bytesBefore: number;
}

/** Plans a recipe for a model. Throws one error listing every mistake. */
export function planRecipe(recipe: Recipe, tensors: readonly StoredTensor[]): Plan {
  const problems: string[] = [];
  const weights: PlannedWeight[] = [];
  let vectorBytes = 0;
  const ruled = recipe.stages.flatMap(rulesOf);
  for (const { name, part, shape, bytes, stored } of tensors) {
    const linear = linearName(name, shape);
    if (!linear) {
      vectorBytes += shape.reduce((product, size) => product * size, 4);
      continue;
    }
    const rows = shape[0]!;
    const columns = shape.slice(1).reduce((product, size) => product * size, 1);
    if (typeof stored !== "string") {
      problems.push(
        `${linear} is packed already (${formatName(stored)}); start from the original folder`,
      );
      continue;
    }
    try {
      const wanted = ruled.filter((stage) => stage.part === part)
        .map((stage) => formatFor(stage, linear)).findLast((format) => format !== undefined);
      weights.push(planWeight(linear, part, rows, columns, bytes, wanted));
    } catch (error) {
      if (!(error instanceof LobitError)) throw error;
      problems.push(`${linear}: ${error.message}`);
    }
  }
  for (const rule of ruled.flatMap(({ rules }) => rules)) {
    if (!weights.some(({ name }) => matches(rule.layers, name))) {
      problems.push(`no linear matches the rule "${rule.layers}"`);
    }
  }
  for (const { part, method, training, calibrate } of recipe.stages) {
    if (calibrate === "text" && part !== "language") {
      problems.push(`the ${part} stage cannot be calibrated on text; the language stage can`);
    }
    if (method !== "train") continue;
    if (!training) problems.push(`the ${part} stage trains but has no settings for it`);
    else problems.push(...settingsProblems(training).map((problem) => `${part} stage: ${problem}`));
    if (part === "vision") {
      problems.push("the vision part cannot be trained end to end; use ada-round or sign-round");
    }
  }
  problems.push(...alongProblems(recipe));
  if (problems.length > 0) {
    const list = [...new Set(problems)].map((problem) => `\n- ${problem}`).join("");
    throw badRequest(`The recipe "${recipe.name}" cannot be carried out:${list}`);
  }
  const bytesBefore = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const bytes = vectorBytes + weights.reduce((sum, { bytes }) => sum + bytes, 0);
  return { recipe, weights, vectorBytes, bytes, bytesBefore };
}

/** What is wrong about parts that learn along with another. */
function alongProblems({ stages }: Recipe): string[] {
  const problems: string[] = [];
  for (const { part, method, along = [] } of stages) {
    if (along.length > 0 && (method !== "train" || part !== "language")) {
      problems.push(
        `parts learn along only where the language part trains, not in ${part}, ${method}`,
      );
    }
  }
  return problems;
}

function planWeight(
  name: string,
  part: PartName,
  rows: number,
  columns: number,
  bytes: number,
  wanted: Format | undefined,
): PlannedWeight {
  if (!wanted) return { name, part, rows, columns, bytes, bits: bytes * 8 / (rows * columns) };
  const format = fitFormat(wanted, rows, columns);
  const layout = layoutOf(format, rows, columns);
  return {
    name,
    part,
    rows,
    columns,
    format,
    ...(formatName(format) !== formatName(wanted) && { wanted }),
    bytes: layout.bytes,
    bits: bitsPerWeight(layout),
  };
}

/** A linear's name if this tensor is its weight matrix, else nothing. */
function linearName(name: string, shape: readonly number[]): string | undefined {
  return name.endsWith(".weight") && shape.length >= 2
    ? name.slice(0, -".weight".length)
    : undefined;
}
