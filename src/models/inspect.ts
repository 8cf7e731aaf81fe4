// What a model consists of, from its headers alone: parts, tensors, formats, bits per weight, sizes.
import { formatName } from "../formats/format.ts";
import { countOf } from "../tensor/tensor.ts";
import type { OpenModel } from "./open.ts";
import type { PartName, VisionInput } from "./vlm.ts";

/** One tensor of an {@linkcode Inspection}. */
export interface InspectedTensor {
  /** Canonical name. */
  readonly name: string;
  /** Part it belongs to. */
  readonly part: PartName;
  /** Shape as the model sees it. */
  readonly shape: readonly number[];
  /** bf16, f32, ... or a packed format's short name. */
  readonly format: string;
  /** Bytes in the file. */
  readonly bytes: number;
}

/** Sums over tensors. */
export interface InspectedSum {
  /** Number of tensors. */
  readonly tensors: number;
  /** Number of weights, those of norms and biases included. */
  readonly weights: number;
  /** Bytes in the file. */
  readonly bytes: number;
  /** 8 * bytes / weights. */
  readonly bitsPerWeight: number;
}

/** A part's sums, as a whole and by format. */
export interface InspectedPart extends InspectedSum {
  /** Which part. */
  readonly name: PartName;
  /** Sums by format name. */
  readonly formats: Readonly<Record<string, InspectedSum>>;
}

/** What a model consists of. */
export interface Inspection extends InspectedSum {
  /** Path of the folder or file. */
  readonly name: string;
  /** A Hugging Face folder or a packed file. */
  readonly kind: "folder" | "packed";
  /** Architecture family. */
  readonly family: string;
  /** Longest context in tokens. */
  readonly context: number;
  /** Tokens of the vocabulary. */
  readonly vocabulary: number;
  /** How pictures become tiles and tokens. */
  readonly input: VisionInput;
  /** Vision, projector, language. */
  readonly parts: readonly InspectedPart[];
  /** Every tensor in file order. */
  readonly list: readonly InspectedTensor[];
  /** Recipe a packed file was made with. */
  readonly recipe?: unknown;
}

const PARTS: readonly PartName[] = ["vision", "projector", "language"];

/** Describes an open model. */
export function inspectModel(open: OpenModel): Inspection {
  const { architecture } = open.assets;
  const list = open.tensors.map(({ name, part, shape, stored, bytes }): InspectedTensor => ({
    name,
    part,
    shape,
    format: typeof stored === "string" ? stored : formatName(stored),
    bytes,
  }));
  return {
    name: open.name,
    kind: open.kind,
    family: architecture.family,
    context: architecture.context,
    vocabulary: architecture.vocabulary,
    input: architecture.input,
    ...sumOf(list),
    parts: PARTS.map((name) => partOf(name, list.filter(({ part }) => part === name))),
    list,
    ...(open.recipe !== undefined && { recipe: open.recipe }),
  };
}

function partOf(name: PartName, list: readonly InspectedTensor[]): InspectedPart {
  const formats = [...new Set(list.map(({ format }) => format))];
  return {
    name,
    ...sumOf(list),
    formats: Object.fromEntries(
      formats.map((format) => [format, sumOf(list.filter((tensor) => tensor.format === format))]),
    ),
  };
}

function sumOf(list: readonly InspectedTensor[]): InspectedSum {
  const weights = list.reduce((sum, { shape }) => sum + countOf(shape), 0);
  const bytes = list.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    tensors: list.length,
    weights,
    bytes,
    bitsPerWeight: weights === 0 ? 0 : 8 * bytes / weights,
  };
}
