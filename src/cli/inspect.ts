// `lobit inspect`: what a model consists of.
import { type InspectedSum, type Inspection, inspectModel } from "../models/inspect.ts";
import { openModel } from "../models/open.ts";
import { bytesText, countText, table } from "./text.ts";
import type { Verb } from "./verb.ts";

/** The verb. */
export const inspect: Verb = {
  name: "inspect",
  summary: "show parts, tensors, formats, bits per weight and sizes of a model",
  usage: "FILE|MODEL",
  positional: [1, 1],
  flags: [{ name: "tensors", kind: "switch", help: "list every tensor" }],
  examples: [
    ["lobit inspect model.lobit", "what a packed file holds and how it was made"],
    ["lobit inspect ./InternVL3-1B", "the same of a Hugging Face folder"],
    ["lobit inspect model.lobit --tensors", "every tensor with shape, format and size"],
  ],
  async run({ args, say }) {
    const open = await openModel(args.positional[0]!);
    try {
      const { list, ...summary } = inspectModel(open);
      const tensors = args.has("tensors") ? list : undefined;
      say(describe({ ...summary, list: tensors ?? [] }));
      return { ...summary, ...(tensors && { list: tensors }) };
    } finally {
      open.close();
    }
  },
};

function describe(model: Inspection): string {
  const { input, recipe } = model;
  const rows: string[][] = [["part", "format", "tensors", "weights", "bits/weight", "size"]];
  for (const part of model.parts) {
    const formats = Object.entries(part.formats);
    rows.push([part.name, formats.length === 1 ? formats[0]![0] : "", ...cells(part)]);
    if (formats.length === 1) continue;
    for (const [format, sum] of formats) rows.push(["", format, ...cells(sum)]);
  }
  rows.push(["all", "", ...cells(model)]);
  const name = (recipe as { name?: unknown } | undefined)?.name;
  const tiles = input.maxTiles === 1
    ? "1 tile"
    : `${input.minTiles} to ${input.maxTiles} tiles${input.thumbnail ? " and a thumbnail" : ""}`;
  return [
    `${model.name}: ${model.family}, ` +
    (model.kind === "folder" ? "Hugging Face folder\n" : `packed file, recipe ${name}\n`),
    `context ${countText(model.context)} tokens, vocabulary ${countText(model.vocabulary)}\n`,
    `pictures: ${tiles} of ${input.imageSize} x ${input.imageSize} pixels, ` +
    `${input.tokensPerTile} tokens each\n\n`,
    table(rows, [2, 3, 4, 5]),
    model.list.length === 0 ? "" : "\n" + table(
      model.list.map(({ name, shape, format, bytes }) => [
        name,
        `[${shape.join(", ")}]`,
        format,
        bytesText(bytes),
      ]),
      [3],
    ),
  ].join("");
}

function cells({ tensors, weights, bitsPerWeight, bytes }: InspectedSum): string[] {
  return [countText(tensors), countText(weights), bitsPerWeight.toFixed(2), bytesText(bytes)];
}
