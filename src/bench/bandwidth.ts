// What this machine can do at best with so many threads, measured in the same run as the model: reading memory, f32
// multiply-adds and int8 dots in registers.
import { type Engine, kernels } from "../../wasm/mod.ts";
import { type Measured, summarize } from "./measure.ts";

/** Ceilings; rates are per second. */
export interface Ceilings {
  /** Bytes read in a row from memory larger than any cache. */
  readonly read: Measured;
  /** f32 multiply-adds. */
  readonly multiplyAdds: Measured;
  /** Products of int8 dots, by the fastest way there is. */
  readonly dots: Measured;
}

/** 256 MiB: no cache holds it. */
const BLOCKS = 1024;
/** About 10 ms of work for one thread. */
const PEAK_ITEMS = 1000;

/** Measures the ceilings, each `repeat` times; takes well below a second per repetition. */
export function measureCeilings(engine: Engine, repeat: number): Ceilings {
  const from = engine.memory.allocate(BLOCKS << 18);
  try {
    // Memory that was never written may all be one page of zeros.
    engine.memory.u8(from, BLOCKS << 18).fill(1);
    return {
      read: rate(repeat, () => kernels.readThrough(engine, from, BLOCKS)),
      multiplyAdds: rate(repeat, () => kernels.multiplyPeak(engine, PEAK_ITEMS)),
      dots: best(
        kernels.dotsOf(engine, true).map((dot) =>
          rate(repeat, () => kernels.dotPeak(engine, PEAK_ITEMS, dot))
        ),
      ),
    };
  } finally {
    engine.memory.free(from);
  }
}

/** Things per second of a body that returns how many it did. */
function rate(repeat: number, body: () => number): Measured {
  body();
  return summarize(Array.from({ length: repeat }, () => {
    const start = performance.now();
    return body() / (performance.now() - start) * 1000;
  }));
}

function best(all: readonly Measured[]): Measured {
  return all.reduce((a, b) => b.median > a.median ? b : a);
}
