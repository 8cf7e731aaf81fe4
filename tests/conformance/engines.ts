// Every way the kernels can run: builds x thread counts. Suites loop over these, so a new variant is covered at once.
import { Engine, hasRelaxedSimd } from "../../wasm/mod.ts";

export interface Variant {
  name: string;
  engine: Engine;
}

/** Runs `body` on base and relaxed builds, on one, two and three threads, and closes the engines. */
export async function onEveryEngine(
  body: (variant: Variant) => void | Promise<void>,
): Promise<void> {
  for (const build of ["simd", "relaxed"] as const) {
    if (build === "relaxed" && !hasRelaxedSimd()) continue;
    for (const threads of [1, 2, 3]) {
      const engine = await Engine.create({ build, threads });
      try {
        await body({ name: `${build}, ${threads} threads`, engine });
      } finally {
        engine.close();
      }
    }
  }
}
