// What training end to end needs at least, by the plan alone: known before hours of work on stages that come before.
import { LobitError } from "../base/errors.ts";
import { bytesText } from "../base/units.ts";
import type { Plan } from "./plan.ts";
import { rulesOf } from "./recipe.ts";

/** Bytes per trained weight: latent, seen, gradient and two moments, f32 each. */
const TRAINED = 20;
/** Bytes per trained weight that an earlier stage packs: what it was, bf16. */
const REMEMBERED = 2;

/** Least bytes of memory that the most demanding training stage needs, activations not counted; 0 if none trains. */
export function trainingBytes({ recipe: { stages }, weights, bytesBefore }: Plan): number {
  const needs = stages.map((stage, i) => {
    const { part, method, training } = stage;
    if (method !== "train" || part === "projector" || !training) return 0;
    const parts = new Set(rulesOf(stage).map(({ part }) => part));
    const packedBefore = stages.slice(0, i).some((earlier) => earlier.part === part);
    let bytes = training.distill !== 0 || training.match !== 0 ? bytesBefore : 0;
    for (const { part: own, format, bytes: stored, rows, columns } of weights) {
      // Linears outside blocks are symmetric and stay; those of blocks give their old weight's place back.
      const trains = parts.has(own) && format?.kind === "bilevel";
      bytes += trains ? rows * columns * (TRAINED + (packedBefore ? REMEMBERED : 0)) : stored;
    }
    return bytes;
  });
  return Math.max(0, ...needs);
}

/** Throws `no-memory` if the plan trains more than fits, with what to do instead. */
export function checkTrainingMemory(plan: Plan, limit: number): void {
  const bytes = trainingBytes(plan);
  if (bytes <= limit) return;
  throw new LobitError(
    "no-memory",
    `The recipe "${plan.recipe.name}" trains the language model as a whole, which needs at least ` +
      `${bytesText(bytes)} of memory for this model; the limit is ${
        bytesText(limit)
      } and can be at most 4 GiB. ` +
      'Use a recipe that works block by block, such as "fast" or "ada-round".',
  );
}
