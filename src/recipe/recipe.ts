// A recipe says, as plain data, what happens to which part. It can be read aloud, written as JSON, and is stored in the
// packed file it made.
import { badRequest } from "../base/errors.ts";
import {
  bilevelFormat,
  type Format,
  formatName,
  parseFormat,
  symmetricFormat,
} from "../formats/format.ts";
import type { PartName } from "../models/vlm.ts";
import type { TrainingSettings } from "./stages/settings.ts";
import { CALIBRATED, type CalibratedMethod } from "../quant/methods.ts";

/** How a linear's weight becomes codes. */
export type Method =
  /** Round to nearest. */
  | "rtn"
  /** Round to nearest after shrinking each group's range to the least weight error. */
  | "rtn-clip"
  /** Closed-form fit of the projector's last linear to the full-precision projector; formats do not change. */
  | "refit"
  /** Trains the part end to end, with its linears on the grid of their formats; see Stage.training. */
  | "train"
  /** Methods that look at calibration data, block by block. Linears outside blocks are rounded to nearest. */
  | CalibratedMethod;

/** Format for the linears whose name matches; the last matching rule wins. `keep` leaves them at 16 bits. */
export interface Rule {
  /** Linear names, `*` standing for any characters. */
  readonly layers: string;
  /** A format's short name such as `w2g16q16` or `s8`, or `keep`. */
  readonly format: string;
}

/** A part that learns in the steps of another part's stage. */
export interface Along {
  /** The part; the projector always learns along and is not named. */
  readonly part: "vision";
  /** Formats by linear name, of this part. */
  readonly rules: readonly Rule[];
}

/** Quantizes one part. */
export interface Stage {
  /** The part that changes; all others stay, byte for byte, unless they learn along. */
  readonly part: PartName;
  /** How. */
  readonly method: Method;
  /** Formats by linear name. */
  readonly rules: readonly Rule[];
  /** Calibrated methods: scales channels before, where the model declares how. AWQ always does. */
  readonly equalize?: boolean;
  /** Methods that learn: gradient steps per block. */
  readonly steps?: number;
  /** Method `train`: how. The projector trains alone, or along with the language model. */
  readonly training?: TrainingSettings;
  /**
   * What the language part is calibrated on, for methods that look at data and for `clip`: conversations with pictures
   * (`prompts`, the default, plain text where there are none), or plain `text`, as in the paper.
   */
  readonly calibrate?: "prompts" | "text";
  /** Method `train`, part language: further parts that are quantized and learn in the same steps. */
  readonly along?: readonly Along[];
  /** Method `train`: linears whose ranges are clipped by calibration data before, as name patterns. */
  readonly clip?: readonly string[];
}

/** Stages in order. */
export interface Recipe {
  /** For people. */
  readonly name: string;
  /** What happens, in order. */
  readonly stages: readonly Stage[];
}

/** Bits of the parts of a round-to-nearest recipe. 16 keeps a part as it is. */
export interface RtnBits {
  /** Linears of the vision tower; 2, 3, 4 or 16. */
  readonly vision: number;
  /** Linears of the projector; 4, 8 or 16. */
  readonly projector: number;
  /** Linears of the language model; 2, 3, 4 or 16. */
  readonly language: number;
  /** Embedding and head; 4, 8 or 16. */
  readonly embedding: number;
}

/** Round to nearest everywhere; `extra` rules are applied last, to every part. */
export function rtnRecipe(bits: RtnBits, clip = false, extra: readonly Rule[] = []): Recipe {
  const method: Method = clip ? "rtn-clip" : "rtn";
  const bilevel = (bits: number) => bits === 16 ? "keep" : formatName(bilevelFormat(bits));
  const symmetric = (bits: number) => bits === 16 ? "keep" : formatName(symmetricFormat(bits));
  return {
    name: "rtn",
    stages: [
      {
        part: "vision",
        method,
        rules: [
          { layers: "*", format: bilevel(bits.vision) },
          { layers: "*patch_embeddings*", format: "keep" },
          ...extra,
        ],
      },
      {
        part: "projector",
        method,
        rules: [{ layers: "*", format: symmetric(bits.projector) }, ...extra],
      },
      {
        part: "language",
        method,
        rules: [
          { layers: "*", format: bilevel(bits.language) },
          { layers: "*.embed_tokens", format: symmetric(bits.embedding) },
          { layers: "*.lm_head", format: symmetric(bits.embedding) },
          ...extra,
        ],
      },
    ],
  };
}

/**
 * The calibrated baselines and `fast`: vision tower and language model by one method, projector kept (and, by `fast`,
 * fitted), embedding and head rounded to a symmetric grid. `equalize` scales channels before, for methods that do not.
 */
export function calibratedRecipe(
  method: CalibratedMethod,
  bits: RtnBits,
  equalize = false,
  extra: readonly Rule[] = [],
): Recipe {
  const stages = rtnRecipe(bits, false, extra).stages.map((stage): Stage =>
    stage.part === "projector" ? stage : { ...stage, method, ...(equalize && { equalize }) }
  );
  if (method === "fast" && bits.projector === 16) {
    stages[1] = { part: "projector", method: "refit", rules: [{ layers: "*", format: "keep" }] };
  }
  return { name: equalize ? `${method}-equalized` : method, stages };
}

/** Whether a method looks at calibration data. */
export function needsData(method: Method): method is CalibratedMethod | "refit" {
  return method === "refit" || method in CALIBRATED;
}

/** Whether a stage needs conversations with pictures. */
export function stageNeedsData({ method }: Stage): boolean {
  return needsData(method) || method === "train";
}

/** Whether a stage scales channels before it quantizes. */
export function equalizes({ method, equalize = false }: Stage): boolean {
  return equalize ||
    (method in CALIBRATED && CALIBRATED[method as CalibratedMethod].equalize);
}

/** The formats of the linears whose names match one of the patterns. */
export function formatsOf(
  patterns: readonly string[],
  formats: ReadonlyMap<string, Format>,
): Map<string, Format> {
  return new Map(
    [...formats].filter(([name]) => patterns.some((pattern) => matches(pattern, name))),
  );
}

/** The rules that a stage has for each part it quantizes. */
export function rulesOf(stage: Stage): readonly Pick<Stage, "part" | "rules">[] {
  return [stage, ...stage.along ?? []];
}

/** The format that a stage's rules give a linear; nothing means it is kept. */
export function formatFor(stage: Pick<Stage, "rules">, name: string): Format | undefined {
  const rule = stage.rules.findLast(({ layers }) => matches(layers, name));
  return !rule || rule.format === "keep" ? undefined : parseFormat(rule.format);
}

/** Whether a pattern with `*` wildcards matches a whole name. */
export function matches(pattern: string, name: string): boolean {
  // Greedy segment search instead of a regular expression: patterns come from users and must not blow up.
  const pieces = pattern.split("*");
  const first = pieces[0]!;
  const last = pieces.at(-1)!;
  if (pieces.length === 1) return pattern === name;
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) {
    return false;
  }
  let at = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = name.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= name.length - last.length;
}

/** Reads a rule given as `PATTERN=FORMAT`. */
export function parseRule(text: string): Rule {
  const at = text.lastIndexOf("=");
  if (at < 1) {
    throw badRequest(
      `"${text}" is not a rule; expected PATTERN=FORMAT, e.g. "*.v_proj=w4g32q128".`,
    );
  }
  const format = text.slice(at + 1);
  if (format !== "keep") parseFormat(format);
  return { layers: text.slice(0, at), format };
}
