// Conversations as a trainer reads them, and several of them as one ragged batch.
import type { Tiles } from "../input/image/tiles.ts";
import { IGNORED_LABEL, type TrainingPrompt } from "../input/prompt.ts";
import { type Sequences, sequencesOf } from "../tensor/sequences.ts";

/** Conversations to train on. Equal calls give equal results. */
export interface ExampleSource {
  /** Number of conversations. */
  readonly length: number;
  /** Changes when anything in the data does; for fingerprints. */
  readonly fingerprint: string;
  /** Token ids, labels and places of image tokens. */
  prompt(index: number): TrainingPrompt;
  /** Tiles of the pictures, as the prompt's spans name them. */
  images(index: number): readonly Tiles[];
}

/**
 * Which positions distillation compares. `shifted`: those whose next token is learnt, as the label loss. `released`: as
 * SPEED-Q's released code, those that are learnt themselves, which leaves out the first answer token and takes in the
 * position after the last.
 */
export type Mask = "shifted" | "released";

/** Sequences one after the other, and what is to be predicted where. */
export interface Batch {
  /** Row ranges. */
  readonly sequences: Sequences;
  /** Token ids. */
  readonly ids: Int32Array;
  /** Rows that image rows replace, in the order of the sequences and their spans. */
  readonly at: Int32Array;
  /** Rows that a loss reads. */
  readonly rows: Int32Array;
  /** For each of `rows` the token to predict, IGNORED_LABEL where the label loss leaves it out. */
  readonly labels: Int32Array;
  /** For each of `rows` 0, or IGNORED_LABEL where distillation leaves it out. */
  readonly compared: Int32Array;
}

/** Joins conversations. */
export function batchOf(prompts: readonly TrainingPrompt[], mask: Mask = "shifted"): Batch {
  const sequences = sequencesOf(prompts.map(({ ids }) => ids.length));
  const ids = new Int32Array(sequences.total);
  const at: number[] = [], rows: number[] = [], labels: number[] = [], compared: number[] = [];
  prompts.forEach((prompt, i) => {
    const start = sequences.starts[i]!;
    ids.set(prompt.ids, start);
    for (const span of prompt.images) {
      for (let row = 0; row < span.count; row++) at.push(start + span.start + row);
    }
    prompt.ids.forEach((_, t) => {
      const label = prompt.labels[t + 1] ?? IGNORED_LABEL;
      const seen = mask === "shifted" ? label : prompt.labels[t]!;
      if (label === IGNORED_LABEL && seen === IGNORED_LABEL) return;
      rows.push(start + t);
      labels.push(label);
      compared.push(seen === IGNORED_LABEL ? IGNORED_LABEL : 0);
    });
  });
  return {
    sequences,
    ids,
    at: Int32Array.from(at),
    rows: Int32Array.from(rows),
    labels: Int32Array.from(labels),
    compared: Int32Array.from(compared),
  };
}

/** Rows of a batch that a loss counts. */
export function countValid(labels: Int32Array): number {
  return labels.reduce((sum, label) => sum + Number(label !== IGNORED_LABEL), 0);
}
