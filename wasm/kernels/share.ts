import type { Engine } from "../engine.ts";

/** Items per ticket so that each thread gets a few tickets, and none is smaller than `least` items. */
export function share(engine: Engine, items: number, least: number): number {
  return Math.max(Math.ceil(least), Math.ceil(items / (engine.threads * 4)));
}
