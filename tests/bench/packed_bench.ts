// GMAC/s of packed products beside the bare unpack-and-dot loop:
// `deno run -A --v8-flags=--no-liftoff tests/bench/packed_bench.ts [--wide] [--vectors] [--seconds 10]`,
// `--vectors` for single tokens only, whose short runs a busy machine spoils less.
// All cases take turns; the best and the median time of each are printed, as a busy machine only ever slows one down.
import { Random } from "../../src/base/random.ts";
import { fitFormat, layoutOf, parseFormat } from "../../src/formats/mod.ts";
import { Engine, kernels, offset, type Ptr } from "../../wasm/mod.ts";
import { type BareDot, bareLoop } from "./bare_loop.ts";

interface Case {
  readonly name: string;
  readonly macs: number;
  readonly run: () => void;
  readonly times: number[];
}

function argument(name: string): string | undefined {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Deno.args[at + 1];
}

function randomBytes(engine: Engine, bytes: number, largest: number): Ptr {
  const random = new Random(1);
  const ptr = engine.memory.allocate(bytes);
  engine.memory.u8(ptr, bytes).forEach((_, i, view) => view[i] = random.integer(largest + 1));
  return ptr;
}

async function bareCase(engine: Engine, bits: 2 | 4, dot: BareDot, rows: number, columns: number) {
  const bytes = rows * columns * bits / 8;
  const codes = randomBytes(engine, bytes, 255) as unknown as number;
  const a = randomBytes(engine, columns, 255) as unknown as number;
  const loop = await bareLoop(engine.memory.wasm, bits, dot);
  return {
    name: `bare loop, ${bits} bits, ${rows}x${columns}, ${dot}`,
    macs: rows * columns,
    run: () => void loop(codes, codes + bytes, a, columns / 32, 2 ** bits - 1),
    times: [],
  };
}

function productCase(
  engine: Engine,
  format: string,
  rows: number,
  columns: number,
  tokens: number,
  dot?: kernels.Dot,
): Case {
  const layout = layoutOf(fitFormat(parseFormat(format), rows, columns), rows, columns);
  const weight = { layout, blob: randomBytes(engine, layout.bytes, 31) };
  // Usual magnitudes: products of random ones are denormal, which costs a CPU a hundred cycles each.
  engine.memory.f32(offset(weight.blob, layout.units.offset), layout.panels).fill(0.003);
  const size = kernels.quantizedBytes(tokens, columns);
  const x = {
    codes: randomBytes(engine, size.codes, 255),
    scales: engine.memory.allocate(size.scales),
    sums: randomBytes(engine, size.sums, 3),
  };
  engine.memory.f32(x.scales, size.scales / 4).fill(0.01);
  const out = engine.memory.allocate(4 * rows * tokens);
  const options = dot === undefined ? {} : { dot };
  const how = `${dot ?? "chosen dot"}, ${engine.threads} thread${engine.threads > 1 ? "s" : ""}`;
  return {
    name: `${format}, ${rows}x${columns}, ${tokens} tokens, ${how}`,
    macs: rows * columns * tokens,
    run: () => kernels.packedProduct(engine, out, weight, x, tokens, undefined, options),
    times: [],
  };
}

const one = await Engine.create({ threads: 1 });
const two = await Engine.create({ threads: 2 });
const dots: BareDot[] = one.build === "relaxed" ? ["pairs", "quads"] : ["wide"];
if (Deno.args.includes("--wide") && !dots.includes("wide")) dots.push("wide");
const formats = ["w2g16q16", "w2g64q16", "w3g16q16", "w4g32q128", "s4g32", "s8g64"];
const cases: Case[] = [];
for (const [rows, columns] of [[896, 4864], [4864, 896]] as const) {
  for (const bits of [2, 4] as const) {
    for (const dot of dots) cases.push(await bareCase(one, bits, dot, rows, columns));
  }
  for (const format of formats) {
    const { groupColumns } = layoutOf(fitFormat(parseFormat(format), rows, columns), rows, columns);
    for (const dot of kernels.dotsOf(one, groupColumns % 32 === 0)) {
      if (dots.includes(dot)) cases.push(productCase(one, format, rows, columns, 1, dot));
    }
    cases.push(productCase(two, format, rows, columns, 1));
  }
}
for (const tokens of Deno.args.includes("--vectors") ? [] : [4, 64, 512]) {
  for (const format of formats) {
    for (const engine of [one, two]) cases.push(productCase(engine, format, 896, 4864, tokens));
  }
}

const end = performance.now() + 1000 * Number(argument("--seconds") ?? 20);
for (let round = 0; round < 5 || performance.now() < end; round++) {
  for (const { run, times } of cases) {
    run();
    const start = performance.now();
    run();
    times.push(performance.now() - start);
  }
}
console.log(
  `${one.build} build; dots chosen for one token: ${kernels.chooseDot(one, true, false)} ` +
    `(groups of 32 and more), ${kernels.chooseDot(one, false, false)} (16); for many: ` +
    `${kernels.chooseDot(one, true, true)}, ${kernels.chooseDot(one, false, true)}`,
);
console.log(`GMAC/s: best, median of ${cases[0]!.times.length}`);
for (const { name, macs, times } of cases) {
  times.sort((a, b) => a - b);
  const [best, median] = [times[0]!, times[times.length >> 1]!].map((ms) => macs / ms / 1e6);
  console.log(
    `${name.padEnd(52)} ${best!.toFixed(1).padStart(6)} ${median!.toFixed(1).padStart(6)}`,
  );
}
one.close();
two.close();
