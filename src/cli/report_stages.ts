// What the stages of a run reported, told to its report: blocks, losses, and remarks in words.
import type { BlockReport } from "../recipe/blocks.ts";
import type { StageReport } from "../recipe/run.ts";
import type { ReportBuilder } from "../report/builder.ts";

/** Names shown of a list; the rest is counted. */
const SHOWN = 3;

/** Adds the stages in order. */
export function addStages(builder: ReportBuilder, stages: readonly StageReport[]): void {
  for (const { part, along, method, seconds, blocks, refit, clipped, steps } of stages) {
    builder.stage(method, part);
    for (const { block, errorRounded, errorMethod, fellBack } of blocks) {
      builder.block(block, errorRounded, fellBack ? errorRounded : errorMethod);
    }
    // A loss that the stage does not use is zero throughout.
    const used = (["label", "distill", "match"] as const).filter((name) =>
      steps.some((step) => step[name] !== 0)
    );
    // The total says nothing beside the one loss that it is.
    const [only] = used;
    const alone = used.length === 1 && steps.every((step) => Object.is(step.loss, step[only!]));
    for (const step of steps) {
      const losses = used.map((name) => [name, step[name]]);
      const all = Object.fromEntries(alone ? losses : [["loss", step.loss], ...losses]);
      builder.step(step.step, all, step.learningRate);
    }
    if (along) builder.note(`Learnt along: ${along.join(", ")}.`);
    for (const text of remarks(blocks)) builder.note(text);
    if (refit) {
      const [before, after] = [refit.errorBefore, refit.errorAfter].map((x) => x.toPrecision(3));
      builder.note(`Fitting the last linear took the output's error from ${before} to ${after}.`);
    }
    if (clipped !== undefined) {
      builder.note(`Shrinking ranges clipped ${(100 * clipped).toFixed(2)} % of the weights.`);
    }
    builder.endStage(seconds);
  }
}

function remarks(blocks: readonly BlockReport[]): string[] {
  const fellBack = blocks.filter((block) => block.fellBack).map(({ block }) => block);
  const notEqualized = blocks.flatMap((block) => block.notEqualized);
  return [
    ...(fellBack.length > 0
      ? [`Rounding was kept where the method did worse or diverged: ${listText(fellBack)}.`]
      : []),
    ...(notEqualized.length > 0
      ? [`Not equalized, since the model declares no way: ${listText(notEqualized)}.`]
      : []),
  ];
}

function listText(names: readonly string[]): string {
  const more = names.length - SHOWN;
  return names.slice(0, SHOWN).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
