// lobit as a contestant: made-up InternVL3-1B. Arguments: bits, threads.
import { architectureOf } from "../../../src/bench/shapes.ts";
import { measureSpeed } from "../../../src/bench/speed.ts";
import { SyntheticStore } from "../../../src/bench/synthetic.ts";
import { Infer } from "../../../src/ops/infer.ts";
import { chooseRecipe } from "../../../src/recipe/choose.ts";
import { formatFor } from "../../../src/recipe/recipe.ts";
import { Engine, kernels } from "../../../wasm/mod.ts";
import { type Contest, serve } from "./child.ts";
import { DECODE, PREFILL } from "./sizes.ts";

const [bits, threads] = Deno.args.map(Number) as [number, number];
const engine = await Engine.create({ threads });
const architecture = architectureOf("internvl3-1b");
const recipe = chooseRecipe({ bits });
const store = new SyntheticStore(engine.memory, (name) => {
  const stage = recipe.stages.find(({ part }) => part === architecture.partOf(name));
  return stage && formatFor(stage, name);
});
const vlm = await architecture.load(store);
const model = { engine, vlm, ops: new Infer(engine, { exact: true }) };

const speed =
  (part: Partial<Record<"prefill" | "decode" | "vision", number>>): Contest => async () => {
    const options = { prefill: 0, decode: 0, vision: 0, ...part, repeat: 1, warmUp: false };
    const [{ rate, unit }] = (await measureSpeed(model, options)) as [
      Awaited<ReturnType<typeof measureSpeed>>[0],
    ];
    const count = unit === "tiles" ? options.vision : options.prefill + options.decode;
    return { count, seconds: count / rate.mean };
  };

/** The product of a block's linear with `tokens` rows, int8 conversion of the activations included. */
function product(name: "gate" | "down", tokens: number, repeats: number): Contest {
  const linear = vlm.language.blocks[0]!.linears.find((linear) => linear.name.includes(name))!;
  const { rows, columns } = linear;
  const x = {
    shape: [tokens, columns],
    dtype: "f32",
    ptr: engine.memory.allocate(tokens * columns * 4),
  } as const;
  engine.memory.f32(x.ptr, tokens * columns).fill(0.5);
  return () => {
    for (let i = 0; i < repeats; i++) model.ops.pass(() => void model.ops.linear(x, linear));
    return Promise.resolve(rows * columns * tokens * repeats);
  };
}

const side = 1024;
const [a, b, out] = [0, 1, 2].map(() => {
  const ptr = engine.memory.allocate(side * side * 4);
  engine.memory.f32(ptr, side * side).fill(0.5);
  return ptr;
}) as [never, never, never];

await serve({
  decode: speed({ decode: DECODE }),
  prefill: speed({ prefill: PREFILL }),
  vision: speed({ vision: 1 }),
  "matvec 4864x896": product("gate", 1, 40),
  "matvec 896x4864": product("down", 1, 40),
  "matmul 4864x896": product("gate", 512, 1),
  gemm: () => {
    kernels.gemm(engine, {
      ...{ out, a, b, m: side, n: side, k: side, bKind: "f32" },
      ...{ aRow: side, aCol: 1, bRow: side, bCol: 1 },
    });
    return Promise.resolve(side ** 3);
  },
  multiply: () => Promise.resolve(kernels.multiplyPeak(engine, 1000)),
});
