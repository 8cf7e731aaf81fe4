// How much each contestant does per round.

/** Tokens of a decode test. */
export const DECODE = Number(Deno.env.get("LOBIT_BENCH_DECODE") ?? 32);
/** Tokens of a prompt. */
export const PREFILL = Number(Deno.env.get("LOBIT_BENCH_PREFILL") ?? 512);
/** Tokens of a tile in the vision tower. */
export const TOWER = 1025;
