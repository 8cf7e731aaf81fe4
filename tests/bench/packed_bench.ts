// GMAC/s of packed products beside the bare unpack-and-dot loop: `deno run -A --v8-flags=--no-liftoff
// tests/bench/packed_bench.ts [--quick] [--wide]`. Medians; every product is checked against the reference elsewhere.
import { Random } from "../../src/base/random.ts";
import { fitFormat, layoutOf, parseFormat } from "../../src/formats/mod.ts";
import { Engine, kernels, type Ptr } from "../../wasm/mod.ts";
import { type BareDot, bareLoop } from "./bare_loop.ts";

const quick = Deno.args.includes("--quick");
const variants: BareDot[] = [
  "pairs",
  "quads",
  ...(Deno.args.includes("--wide") ? ["wide" as const] : []),
];

/** Median seconds of one call. */
function time(call: () => void): number {
  for (let i = 0; i < 3; i++) call();
  let start = performance.now();
  call();
  const repeats = Math.max(1, Math.round(8 / Math.max(0.001, performance.now() - start)));
  const times: number[] = [];
  for (let round = 0; round < (quick ? 7 : 15); round++) {
    start = performance.now();
    for (let i = 0; i < repeats; i++) call();
    times.push((performance.now() - start) / repeats / 1000);
  }
  return times.sort((a, b) => a - b)[times.length >> 1]!;
}

function randomBytes(engine: Engine, bytes: number, largest: number): Ptr {
  const random = new Random(1);
  const ptr = engine.memory.allocate(bytes);
  const view = engine.memory.u8(ptr, bytes);
  for (let i = 0; i < bytes; i++) view[i] = random.integer(largest + 1);
  return ptr;
}

function setUp(engine: Engine, name: string, rows: number, columns: number, tokens: number) {
  const layout = layoutOf(fitFormat(parseFormat(name), rows, columns), rows, columns);
  const weight = { layout, blob: randomBytes(engine, layout.bytes, 31) };
  const size = kernels.quantizedBytes(tokens, columns);
  const x = {
    codes: randomBytes(engine, size.codes, 255),
    scales: randomBytes(engine, size.scales, 31),
    sums: randomBytes(engine, size.sums, 3),
  };
  const out = engine.memory.allocate(4 * rows * tokens);
  const free = () =>
    [weight.blob, x.codes, x.scales, x.sums, out].forEach((p) => engine.memory.free(p));
  return { layout, weight, x, out, free };
}

const engine = await Engine.create({ threads: 1 });
const two = await Engine.create({ threads: 2 });
const shapes = [[896, 4864], [4864, 896]] as const;
const formats = ["w2g16q16", "w2g64q16", "w3g16q16", "w4g32q128", "w4g16q16", "s4g32", "s8g64"];
const bare = new Map<string, number>();
const gmacs = (macs: number, seconds: number) => macs / seconds / 1e9;
const cell = (value: number) => value.toFixed(1).padStart(7);

console.log(
  `build ${engine.build}; chosen for groups of 32 and 16, vector:`,
  kernels.chooseDot(engine, true, false),
  kernels.chooseDot(engine, false, false),
  "matrix:",
  kernels.chooseDot(engine, true, true),
  kernels.chooseDot(engine, false, true),
);
for (const [rows, columns] of shapes) {
  for (const bits of [2, 4] as const) {
    for (const kind of variants) {
      const bytes = rows * columns * bits / 8;
      const [codes, a] = [randomBytes(engine, bytes, 255), randomBytes(engine, columns, 255)];
      const run = await bareLoop(engine.memory.wasm, bits, kind);
      const at = codes as unknown as number;
      const rate = gmacs(
        rows * columns,
        time(() => run(at, at + bytes, a as unknown as number, columns / 32)),
      );
      const key = `${bits} ${rows}`;
      bare.set(key, Math.max(bare.get(key) ?? 0, rate));
      console.log(
        `bare loop ${bits} bits ${rows}x${columns} ${kind.padEnd(6)} ${cell(rate)} GMAC/s`,
      );
      engine.memory.free(codes);
      engine.memory.free(a);
    }
  }
}
console.log(
  "\nmatvec GMAC/s      shape     " + variants.map((kind) => kind.padStart(7)).join(" ") +
    "    share   2 threads",
);
for (const name of formats) {
  for (const [rows, columns] of shapes) {
    const one = setUp(engine, name, rows, columns, 1);
    const kinds = kernels.dotsOf(engine, one.layout.groupColumns % 32 === 0);
    const rates = variants.map((dot) =>
      kinds.includes(dot)
        ? gmacs(
          rows * columns,
          time(() =>
            kernels.packedProduct(engine, one.out, one.weight, one.x, 1, undefined, { dot })
          ),
        )
        : NaN
    );
    one.free();
    const other = setUp(two, name, rows, columns, 1);
    const both = gmacs(
      rows * columns,
      time(() => kernels.packedProduct(two, other.out, other.weight, other.x, 1)),
    );
    other.free();
    const best = Math.max(...rates.filter((rate) => rate > 0));
    const ceiling = bare.get(`${one.layout.format.bits === 2 ? 2 : 4} ${rows}`)!;
    console.log(
      name.padEnd(12),
      `${rows}x${columns}`.padStart(12),
      "  ",
      rates.map(cell).join(" "),
      `${(100 * best / ceiling).toFixed(0)} %`.padStart(8),
      `${cell(both)} (x${(both / best).toFixed(2)})`,
    );
  }
}
for (const tokens of [2, 3, 4, 8, 64, 512]) {
  if (quick && tokens > 4 && tokens < 512) continue;
  console.log(`\n${tokens} tokens, 896x4864, GMAC/s: token by token and unpacked first; 2 threads`);
  for (const name of formats) {
    const [rows, columns] = shapes[0];
    const macs = rows * columns * tokens;
    const one = setUp(engine, name, rows, columns, tokens);
    const kinds = kernels.dotsOf(engine, one.layout.groupColumns % 32 === 0).filter((kind) =>
      variants.includes(kind)
    );
    let text = name.padEnd(12);
    for (const dot of kinds) {
      for (const unpackFirst of [false, true]) {
        if (!unpackFirst && tokens > 8 && !name.startsWith("s8")) continue;
        const options = { dot, unpackFirst };
        const seconds = time(() =>
          kernels.packedProduct(engine, one.out, one.weight, one.x, tokens, undefined, options)
        );
        text += ` ${dot}${unpackFirst ? "*" : ""} ${cell(gmacs(macs, seconds))}`;
      }
    }
    const single = time(() => kernels.packedProduct(engine, one.out, one.weight, one.x, tokens));
    one.free();
    const other = setUp(two, name, rows, columns, tokens);
    const double = time(() => kernels.packedProduct(two, other.out, other.weight, other.x, tokens));
    other.free();
    console.log(
      text,
      `| chosen ${cell(gmacs(macs, single))}, two ${cell(gmacs(macs, double))} (x${
        (single / double).toFixed(2)
      })`,
    );
  }
}
engine.close();
two.close();
