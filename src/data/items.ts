// What the readers of training and evaluation data have in common.
import type { Message } from "../input/prompt.ts";

/** Where an image of a record is. */
export type ImageRef =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array; readonly name: string };

/** A conversation with images, to calibrate or train on. */
export interface ChatItem {
  /** Where it came from, for messages: `file, line 12`. */
  readonly source: string;
  /** The conversation; image parts index `images`. */
  readonly messages: readonly Message[];
  /** Its images. */
  readonly images: readonly ImageRef[];
}

/** A record that could not be used. */
export interface BadRecord {
  /** Line of the file, from 1. */
  readonly line: number;
  /** What is wrong with it. */
  readonly problem: string;
}

/** The usable records of a file and the ones left out. */
export interface DataSet<Item> {
  /** The usable records in file order. */
  readonly items: readonly Item[];
  /** The others. */
  readonly bad: readonly BadRecord[];
}

/** Share of bad records that is reported but not fatal. */
export const DEFAULT_BAD_SHARE: number = 0.01;
