// Recipes that people write as JSON. Every mistake is told at once; what is left out is SPEED-Q's.
import { Fields } from "../io/fields.ts";
import { LobitError } from "../base/errors.ts";
import { parseFormat } from "../formats/format.ts";
import type { PartName } from "../models/vlm.ts";
import { CALIBRATED } from "../quant/methods.ts";
import type { Along, Method, Recipe, Rule, Stage } from "./recipe.ts";
import {
  LANGUAGE_TRAINING,
  PROJECTOR_TRAINING,
  settingsProblems,
  type TrainingSettings,
} from "./stages/settings.ts";

const METHODS: readonly string[] = [
  "rtn",
  "rtn-clip",
  "refit",
  "train",
  ...Object.keys(CALIBRATED),
];
const PARTS: readonly string[] = ["vision", "projector", "language"];
const STAGE_KEYS = [
  "part",
  "method",
  "rules",
  "equalize",
  "steps",
  "training",
  "clip",
  "calibrate",
  "along",
];

/** Training settings without a value of their own. */
const OPTIONAL = ["projectorLr", "visionLr"];

/** Checks a parsed recipe. Throws one `bad-file` error that lists every mistake. */
export function readRecipe(json: unknown, file: string): Recipe {
  const problems: string[] = [];
  const fields = new Fields(json, "", problems);
  const name = fields.text("name") ?? "own";
  const list = fields.get("stages");
  if (!Array.isArray(list)) fields.problem("stages", "expected a list of stages");
  const stages = (Array.isArray(list) ? list : []).map((value, i) =>
    readStage(
      new Fields(value, `stages[${i}]`, problems),
      value,
      (key, inner) => new Fields(inner, `stages[${i}].${key}`, problems),
    )
  );
  fields.done(file);
  return { name, stages };
}

function readStage(
  fields: Fields,
  value: unknown,
  inside: (key: string, value: unknown) => Fields,
): Stage {
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
  for (const key of keys.filter((key) => !STAGE_KEYS.includes(key))) {
    fields.problem(key, `is not known; a stage has ${STAGE_KEYS.join(", ")}`);
  }
  fields.demand("part", PARTS, undefined);
  fields.demand("method", METHODS, undefined);
  const part = fields.get("part") as PartName;
  const method = fields.get("method") as Method;
  const training = method === "train" ? readTraining(fields, part) : undefined;
  fields.demand("calibrate", ["prompts", "text"], "prompts");
  const calibrate = fields.get("calibrate") as Stage["calibrate"];
  const clip = fields.get("clip");
  if (
    clip !== undefined && !(Array.isArray(clip) && clip.every((name) => typeof name === "string"))
  ) {
    fields.problem("clip", "expected a list of name patterns");
  }
  return {
    part,
    method,
    rules: readRules(fields),
    ...(fields.has("along") && { along: readAlong(fields, inside) }),
    ...(fields.has("equalize") && { equalize: fields.flag("equalize", false) }),
    ...(fields.has("steps") && { steps: fields.integer("steps", 1, 1e6) }),
    ...(training && { training }),
    ...(clip !== undefined && { clip: clip as string[] }),
    ...(calibrate !== undefined && { calibrate }),
  };
}

function readAlong(stage: Fields, inside: (key: string, value: unknown) => Fields): Along[] {
  const list = stage.get("along");
  if (!Array.isArray(list)) {
    stage.problem("along", "expected a list of parts with their rules");
    return [];
  }
  return list.map((value: unknown, i) => {
    const fields = inside(`along[${i}]`, value);
    fields.demand("part", ["vision"], undefined);
    return { part: "vision", rules: readRules(fields) };
  });
}

function readRules(fields: Fields): Rule[] {
  const list = fields.get("rules") ?? [];
  if (!Array.isArray(list)) {
    fields.problem("rules", "expected a list of rules");
    return [];
  }
  return list.map((rule: unknown, i) => {
    const { layers, format } = (rule ?? {}) as Partial<Record<string, unknown>>;
    if (typeof layers !== "string") fields.problem(`rules[${i}].layers`, "expected a name pattern");
    if (typeof format !== "string") {
      fields.problem(`rules[${i}].format`, "expected a format or keep");
    } else if (format !== "keep") {
      try {
        parseFormat(format);
      } catch (error) {
        if (!(error instanceof LobitError)) throw error;
        fields.problem(`rules[${i}].format`, error.message);
      }
    }
    return { layers: String(layers), format: String(format) };
  });
}

function readTraining(fields: Fields, part: PartName): TrainingSettings {
  const usual = part === "projector" ? PROJECTOR_TRAINING : LANGUAGE_TRAINING;
  const given = fields.get("training") ?? {};
  if (typeof given !== "object" || Array.isArray(given)) {
    fields.problem("training", "expected an object of settings");
    return usual;
  }
  for (const key of Object.keys(given)) {
    if (!(key in LANGUAGE_TRAINING) && !OPTIONAL.includes(key)) {
      const known = [...Object.keys(LANGUAGE_TRAINING), ...OPTIONAL].join(", ");
      fields.problem(`training.${key}`, `is not known; settings are ${known}`);
    }
  }
  const settings = { ...usual, ...given } as TrainingSettings;
  for (const problem of settingsProblems(settings)) {
    fields.problem("training", problem);
  }
  return settings;
}
