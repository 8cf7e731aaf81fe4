// `lobit export`: a packed file back to a Hugging Face folder.
import { exportPacked } from "../models/export.ts";
import { ENGINE_FLAGS } from "./flags.ts";
import { startProgress } from "./progress.ts";
import { bytesText, countText } from "./text.ts";
import { engineOptions, required, type Verb } from "./verb.ts";

/** The verb. */
export const exportVerb: Verb = {
  name: "export",
  summary: "write a packed file as a Hugging Face folder of bf16 safetensors",
  usage: "FILE -o FOLDER",
  positional: [1, 1],
  flags: [
    { name: "output", letter: "o", kind: "text", value: "FOLDER", help: "the folder to make" },
    ...ENGINE_FLAGS,
  ],
  examples: [
    [
      "lobit export model.lobit -o ./dequantized",
      "the quantized weights as numbers, for transformers",
    ],
  ],
  async run({ args, console, say }) {
    const output = required(args, "output", "-o FOLDER names the folder to make.");
    const signal = console.interrupt();
    const progress = startProgress(console, "exporting");
    const report = await exportPacked(args.positional[0]!, output, {
      ...engineOptions(args),
      signal,
      onProgress: (done, total, name) => progress.update(done, total, name),
    }).finally(() => progress.end());
    const { files, weights } = report;
    say(
      `Wrote ${output}: ${files.length} files, ${countText(weights)} weights in bf16 ` +
        `(${bytesText(2 * weights)}).\n` +
        (report.layout === "original"
          ? "Its tensors have the original InternVL names; copy that repository's .py files into " +
            "the folder for transformers.\n"
          : ""),
    );
    return report;
  },
};
