// `lobit quantize --report`: watches a run, measures what came of it, and writes the page and its JSON.
import type { EvalItem } from "../data/tsv.ts";
import { questionText } from "../data/score.ts";
import { evaluate, type Evaluation } from "../eval/evaluate.ts";
import { type LoadedModel, loadModel } from "../generate/model.ts";
import { writeFile } from "../io/host.ts";
import type { OpenModel } from "../models/open.ts";
import type { QuantizeReport } from "../recipe/quantize.ts";
import { type Recipe, rulesOf } from "../recipe/recipe.ts";
import { ReportBuilder } from "../report/builder.ts";
import { reportHtml } from "../report/html.ts";
import { smallPicture } from "../report/picture.ts";
import { reportJson, type ReportOutcomes, type ReportPlan } from "../report/report.ts";
import { weightErrors } from "../report/weight_errors.ts";
import type { EngineOptions } from "../../wasm/mod.ts";
import type { Console } from "./console.ts";
import { startProgress } from "./progress.ts";
import type { ReportWanted } from "./report_flags.ts";
import { addStages } from "./report_stages.ts";
import { VERSION } from "./version.ts";

/** Sample answers on the page. */
const SAMPLES = 12;

/** What a reporter is told when it begins. */
export interface ReporterOptions {
  /** The model before. */
  readonly open: OpenModel;
  /** What is done to it. */
  readonly recipe: Recipe;
  /** For loading both models. */
  readonly engine: EngineOptions;
  /** Where progress goes. */
  readonly console: Console;
  /** Stops the measuring. */
  readonly signal: AbortSignal;
}

/** Follows one run of `lobit quantize`. */
export class Reporter {
  readonly #wanted: ReportWanted;
  readonly #options: ReporterOptions;
  readonly #builder: ReportBuilder;

  /** Begins to follow. */
  constructor(wanted: ReportWanted, options: ReporterOptions) {
    this.#wanted = wanted;
    this.#options = options;
    this.#builder = new ReportBuilder({ model: options.open.name, lobit: VERSION });
    this.#builder.recipe(options.recipe);
    wanted.warnings.forEach((warning) => this.#builder.warn(warning));
  }

  /** Takes the plan, before the work; `warnings` are what it had to change. */
  plan(plan: ReportPlan, warnings: readonly string[]): void {
    this.#builder.plan(plan);
    warnings.forEach((warning) => this.#builder.warn(warning));
  }

  #methodsOf(part: string): string[] {
    const stages = this.#options.recipe.stages.filter((stage) =>
      rulesOf(stage).some((ruled) => ruled.part === part)
    );
    return [...new Set(stages.map(({ method }) => method))];
  }

  /** Times the run itself. */
  run(work: () => Promise<QuantizeReport>): Promise<QuantizeReport> {
    return this.#builder.time("quantizing", work);
  }

  /** Measures the file that was written and writes the report; the result is for `--json`. */
  async finish(file: string, done: QuantizeReport): Promise<Record<string, unknown>> {
    const { html, json } = this.#wanted;
    const builder = this.#builder;
    addStages(builder, done.stages);
    builder.file(file, done.fileBytes);
    builder.peakMemory(done.peakMemory);
    const accuracy = await this.#measure(file, done);
    const report = builder.finish();
    await writeFile(json, reportJson(report));
    await writeFile(html, reportHtml(report));
    return { report: { html, json }, ...accuracy };
  }

  async #measure(file: string, { plan }: QuantizeReport): Promise<Record<string, unknown>> {
    const { open, engine: options, signal } = this.#options;
    const builder = this.#builder;
    const before = await loadModel(open, options);
    try {
      const { threads, build } = before.engine;
      const host = globalThis.navigator?.userAgent;
      builder.machine({ threads, build, ...(host !== undefined && { host }) });
      const first = await this.#evaluate("full precision", before);
      const after = await loadModel(file, options);
      try {
        // Methods that train or scale weights move them on purpose: only rounding is judged weight by weight.
        const rounded = plan.weights.filter(({ part, format }) =>
          format && this.#methodsOf(part).every((method) => method.startsWith("rtn"))
        );
        const held = ({ vlm, engine: { memory } }: LoadedModel) => ({ vlm, memory });
        const names = new Set(rounded.map(({ name }) => name));
        if (names.size > 0) {
          const errors = await builder.time(
            "errors of the weights",
            () => weightErrors(held(before), held(after), names, signal),
          );
          builder.weightErrors(errors);
        }
        const second = await this.#evaluate("quantized", after);
        return first && second ? await this.#compare(first, second) : {};
      } finally {
        after.close();
      }
    } finally {
      before.close();
    }
  }

  async #evaluate(what: string, model: LoadedModel): Promise<Evaluation | undefined> {
    const { questions } = this.#wanted;
    if (!questions) return undefined;
    const { console, signal } = this.#options;
    const progress = startProgress(console, `evaluating ${what}`);
    const onProgress = (done: number, total: number) => progress.update(done, total);
    return await this.#builder.time(
      `evaluating ${what}`,
      () => evaluate(model, questions.items, { signal, onProgress }).finally(() => progress.end()),
    );
  }

  async #compare(before: Evaluation, after: Evaluation): Promise<Record<string, unknown>> {
    const { data, items } = this.#wanted.questions!;
    const table = ({ average, categories, counts }: Evaluation) => ({
      average,
      categories,
      counts,
    });
    this.#builder.accuracy({
      data,
      before: table(before),
      after: table(after),
      outcomes: outcomesOf(before, after),
    });
    for (const at of chooseSamples(items)) {
      const { question, options, images, answer: reference } = items[at]!;
      const answer = ({ items }: Evaluation) => {
        const { answer: text, correct } = items[at]!;
        return { text, correct };
      };
      this.#builder.sample({
        question: questionText(question, options),
        pictures: await Promise.all(images.map(smallPicture)),
        reference,
        before: answer(before),
        after: answer(after),
      });
    }
    return { accuracy: { items: items.length, before: before.average, after: after.average } };
  }
}

function outcomesOf(before: Evaluation, after: Evaluation): ReportOutcomes {
  const outcomes = { kept: 0, lost: 0, gained: 0, missed: 0 };
  before.items.forEach(({ correct }, i) => {
    const now = after.items[i]!.correct;
    outcomes[correct ? (now ? "kept" : "lost") : now ? "gained" : "missed"]++;
  });
  return outcomes;
}

/** The first item of every category, then the second, and so on: chosen by the questions, not by the answers. */
function chooseSamples(items: readonly EvalItem[]): number[] {
  const seen = new Map<string, number>();
  const ranked = items.map(({ category }, at) => {
    const rank = seen.get(category) ?? 0;
    seen.set(category, rank + 1);
    return { at, rank };
  });
  return ranked.sort((a, b) => a.rank - b.rank || a.at - b.at).slice(0, SAMPLES).map(({ at }) =>
    at
  );
}
