/**
 * lobit quantizes vision-language models to 2-4 bits and runs them on CPUs through WebAssembly SIMD, in Deno, Node and
 * browsers.
 *
 * @example Ask a model about a picture
 * ```ts
 * import { decodeImage, generate, loadModel } from "./mod.ts";
 *
 * const model = await loadModel("tests/models/pocket-internvl", { threads: 1 });
 * const picture = decodeImage(await Deno.readFile("tests/images/chelsea.png"), "chelsea.png");
 * const answer = await generate(
 *   model,
 *   [{ role: "user", content: "What is in the picture?" }],
 *   [picture],
 *   { maxTokens: 8, onText: (text) => console.log(text) },
 * );
 * console.log(answer.text, answer.ended);
 * model.close();
 * ```
 *
 * @example Quantize a Hugging Face folder and look at the result
 * ```ts
 * import { inspect, quantize } from "./mod.ts";
 *
 * const folder = await Deno.makeTempDir();
 * const file = `${folder}/pocket.lobit`;
 * const report = await quantize("tests/models/pocket-internvl", file, { bits: 2, threads: 1 });
 * const { bitsPerWeight, parts } = await inspect(file);
 * console.log(report.fileBytes, bitsPerWeight, parts.map(({ name }) => name));
 * await Deno.remove(folder, { recursive: true });
 * ```
 *
 * @module
 */
import { type Inspection, inspectModel } from "./src/models/inspect.ts";
import { type OpenModel, openModel } from "./src/models/open.ts";

export { type ErrorCode, LobitError } from "./src/base/errors.ts";
export type {
  Block,
  BlockContext,
  LanguagePart,
  Part as ModelPart,
  PartName,
  ProjectorPart,
  ScalePair,
  Vector,
  VisionInput,
  VisionPart,
  Vlm,
} from "./src/models/vlm.ts";

// Loading and answering.
export {
  type LoadedModel,
  loadModel,
  type LoadOptions,
  type Runnable,
} from "./src/generate/model.ts";
export { type Answer, generate, type GenerateOptions } from "./src/generate/generate.ts";
export type { RequestOptions } from "./src/generate/request.ts";
export type { SamplerOptions } from "./src/generate/sampler.ts";
export type { Message, Piece } from "./src/input/prompt.ts";
export { decodeImage, type ImageLimits, type RgbImage } from "./src/input/image/decode.ts";

// Opening without loading, from paths or from bytes such as a browser's Blob.
export { type OpenModel, openModel, openPacked, type StoredTensor } from "./src/models/open.ts";
export type { Assets, Texts } from "./src/models/assets.ts";
export {
  blobSource,
  type BufferSink,
  bufferSink,
  bufferSource,
  type ByteSink,
  type ByteSource,
} from "./src/io/bytes.ts";
export type {
  InspectedPart,
  InspectedSum,
  InspectedTensor,
  Inspection,
} from "./src/models/inspect.ts";

// Quantizing and exporting.
export { quantize, type QuantizeOptions, type QuantizeReport } from "./src/recipe/quantize.ts";
export { chooseRecipe, type RecipeChoice, RECIPES } from "./src/recipe/choose.ts";
export { type SpeedQOptions, speedQPaperRecipe, speedQRecipe } from "./src/recipe/speed_q.ts";
export type { TrainingSettings } from "./src/recipe/stages/settings.ts";
export type { Plan, PlannedWeight } from "./src/recipe/plan.ts";
export type { Along, Method, Recipe, RtnBits, Rule, Stage } from "./src/recipe/recipe.ts";
export type { Progress, StageProgress, StageReport } from "./src/recipe/run.ts";
export type { BlockReport } from "./src/recipe/blocks.ts";
export type { RefitReport } from "./src/recipe/projector.ts";
export type { StepReport } from "./src/train/trainer.ts";
export type { LossValues } from "./src/train/losses.ts";
export type { ScaleSource } from "./src/train/fake_quant.ts";
export { type ExportOptions, exportPacked, type ExportReport } from "./src/models/export.ts";

// Evaluating.
export {
  evaluate,
  type EvaluatedItem,
  type EvaluateOptions,
  type Evaluation,
} from "./src/eval/evaluate.ts";
export { openChatData, openEvalData, openImageFolder, openPlainText } from "./src/data/files.ts";
export type { GivenData, LeftOut } from "./src/recipe/calibration_data.ts";
export { type EvalItem, type EvalOption, readEvalTsv, type TsvOptions } from "./src/data/tsv.ts";
export type { ScoreTable } from "./src/data/score.ts";
export type { BadRecord, ChatItem, DataSet, ImageRef } from "./src/data/items.ts";

// Types that the ones above are made of.
export type { CalibratedMethod } from "./src/quant/methods.ts";
export type { Build, Engine, EngineOptions, Memory, Op, Ptr } from "./wasm/mod.ts";
export type { BilevelFormat, Format, SymmetricFormat } from "./src/formats/format.ts";
export type { Layout, Region } from "./src/formats/layout.ts";
export type {
  DenseWeight,
  FakeQuantWeight,
  Linear,
  PackedWeight,
  Weight,
} from "./src/formats/weight.ts";
export type { Dtype, Tensor } from "./src/tensor/tensor.ts";
export type { Arena, Mark } from "./src/tensor/arena.ts";
export type { Sequences } from "./src/tensor/sequences.ts";
export type { AttentionShape, Norm, Ops, PatchShape } from "./src/ops/ops.ts";
export type { Infer, InferOptions } from "./src/ops/infer.ts";
export type { CacheShape, KvCache, KvKind } from "./src/ops/kv_cache.ts";
export type { Architecture } from "./src/models/registry.ts";
export type { WeightStore } from "./src/models/store.ts";
export type { ResolvedTensor, TensorPlace } from "./src/models/internvl/layout.ts";
export type { DecodeOptions, Tokenizer } from "./src/input/tokenizer.ts";
export type { ChatTemplate, TemplateMessage, TemplatePart } from "./src/input/chat_template.ts";
export type { TsvLimits } from "./src/data/tsv_rows.ts";
export { type Dtype as FileDtype, DTYPE_BYTES, type TensorShape } from "./src/io/safetensors.ts";

/**
 * Describes a Hugging Face folder or a packed file without loading its weights.
 * Errors: `bad-file` if it is damaged or of an unknown kind, `bad-request` if Deno lacks the permission.
 */
export async function inspect(from: string | OpenModel): Promise<Inspection> {
  const open = typeof from === "string" ? await openModel(from) : from;
  try {
    return inspectModel(open);
  } finally {
    if (typeof from === "string") open.close();
  }
}
