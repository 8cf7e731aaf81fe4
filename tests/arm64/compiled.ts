// Makes V8 compile the relaxed build of the kernels, so that --perf-prof writes their machine code down.
import { Engine } from "../../wasm/mod.ts";

const engine = await Engine.create({ threads: 1, build: "relaxed" });
// Code is logged by a task of its own after it was compiled.
await new Promise((resolve) => setTimeout(resolve, 1000));
engine.close();
