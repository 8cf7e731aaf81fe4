// Every verb of Ops on the tape against central differences of its own forward. The table has a row for each key of
// Ops, which the type checker enforces, and each row names everything that a gradient flows into.
import { assert, assertEquals } from "@std/assert";
import { Random } from "../../src/base/random.ts";
import { bilevelFormat, symmetricFormat } from "../../src/formats/format.ts";
import type { Linear, Weight } from "../../src/formats/weight.ts";
import type { AttentionShape, Ops } from "../../src/ops/ops.ts";
import { packLinear } from "../../src/quant/pack_linear.ts";
import { roundToNearest } from "../../src/quant/round.ts";
import { sequencesOf } from "../../src/tensor/sequences.ts";
import { bytesOf, floats, heapTensor, type Tensor, tensorFrom } from "../../src/tensor/tensor.ts";
import { Parameters } from "../../src/train/parameters.ts";
import { Tape } from "../../src/train/tape.ts";
import { Engine } from "../../wasm/mod.ts";

/** One use of a verb on tiny tensors. */
interface Row {
  /** What a gradient flows into: where values are changed, and whose gradient is read (the same unless said). */
  inputs: { name: string; values: Tensor; trained?: Tensor }[];
  /** The verb. */
  run(ops: Ops): Tensor;
}

const engine = await Engine.create({ threads: 2 });
const { memory } = engine;
const random = new Random(11);
const STEP = 1e-2;

function normal(...shape: number[]): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensorFrom(memory, shape, Float32Array.from({ length: size }, () => random.normal()));
}

function linearOf(weight: Weight, rows: number, columns: number, bias?: Tensor): Linear {
  return { name: "tested", rows, columns, weight, bias };
}

function dense(rows: number, columns: number, bias?: Tensor): Linear & { tensor: Tensor } {
  const tensor = normal(rows, columns);
  return { ...linearOf({ kind: "dense", tensor }, rows, columns, bias), tensor };
}

function bf16(rows: number, columns: number): Linear {
  const tensor = heapTensor(memory, [rows, columns], "bf16");
  const words = new Uint16Array(rows * columns);
  const exact = new Uint32Array(Float32Array.from(words, () => random.normal()).buffer);
  exact.forEach((word, i) => words[i] = word >>> 16);
  bytesOf(memory, tensor).set(new Uint8Array(words.buffer));
  return linearOf({ kind: "dense", tensor }, rows, columns);
}

function packed(rows: number, columns: number): Linear {
  const linear = dense(rows, columns);
  const format = symmetricFormat(4);
  return { ...linear, weight: packLinear(memory, linear, format, roundToNearest) };
}

function linearRows(): Row[] {
  const x = normal(5, 7), bias = normal(6), plain = dense(6, 7, bias);
  const wide = normal(3, 32), half = bf16(6, 32), low = packed(6, 32);
  const latent = normal(16, 16), seen = normal(16, 16), thin = normal(2, 16);
  const fake = linearOf(
    { kind: "fake-quant", format: bilevelFormat(2), latent, seen },
    16,
    16,
    normal(16),
  );
  return [
    {
      inputs: [{ name: "x", values: x }, { name: "weight", values: plain.tensor }, {
        name: "bias",
        values: bias,
      }],
      run: (ops) => ops.linear(x, plain),
    },
    { inputs: [{ name: "x", values: wide }], run: (ops) => ops.linear(wide, half) },
    { inputs: [{ name: "x", values: wide }], run: (ops) => ops.linear(wide, low) },
    {
      inputs: [{ name: "x", values: thin }, { name: "latent", values: seen, trained: latent }],
      run: (ops) => ops.linear(thin, fake),
    },
    {
      // Two readers of one input, as queries and keys are.
      inputs: [{ name: "x", values: x }, { name: "weight", values: plain.tensor }],
      run: (ops) => ops.add(ops.linear(x, plain), ops.gelu(ops.linear(x, plain))),
    },
  ];
}

function attendRow(heads: number, kvHeads: number, headDim: number, causal: boolean): Row {
  const sequences = sequencesOf([3, 1, 4]);
  const shape: AttentionShape = { heads, kvHeads, headDim, causal, sequences };
  const q = normal(8, heads * headDim);
  const [k, v] = [normal(8, kvHeads * headDim), normal(8, kvHeads * headDim)];
  return {
    inputs: [{ name: "q", values: q }, { name: "k", values: k }, { name: "v", values: v }],
    run: (ops) => ops.attend(q, k, v, shape),
  };
}

function normRow(kind: "layerNorm" | "rmsNorm"): Row {
  const x = normal(4, 9), weight = normal(9), bias = normal(9);
  const inputs = [{ name: "x", values: x }, { name: "weight", values: weight }];
  if (kind === "rmsNorm") return { inputs, run: (ops) => ops.rmsNorm(x, { weight, eps: 1e-5 }) };
  inputs.push({ name: "bias", values: bias });
  return { inputs, run: (ops) => ops.layerNorm(x, { weight, bias, eps: 1e-5 }) };
}

function pair(run: (ops: Ops, x: Tensor, y: Tensor) => Tensor): Row {
  const x = normal(3, 5), y = normal(3, 5);
  return {
    inputs: [{ name: "x", values: x }, { name: "y", values: y }],
    run: (ops) => run(ops, x, y),
  };
}

function single(shape: number[], run: (ops: Ops, x: Tensor) => Tensor): Row {
  const x = normal(...shape);
  return { inputs: [{ name: "x", values: x }], run: (ops) => run(ops, x) };
}

function blockRow(): Row {
  const x = normal(4, 6), norm = { weight: normal(6), eps: 1e-5 }, layer = dense(6, 6, normal(6));
  const body = (ops: Ops, x: Tensor) =>
    ops.add(x, ops.gelu(ops.linear(ops.rmsNorm(x, norm), layer)));
  return {
    inputs: [
      { name: "x", values: x },
      { name: "norm", values: norm.weight },
      { name: "weight", values: layer.tensor },
      { name: "bias", values: layer.bias! },
    ],
    run: (ops) => {
      const once = ops.block(x, (x) => body(ops, x));
      return ops.block(once, (x) => body(ops, x));
    },
  };
}

function addScaledRow(): Row {
  const scale = normal(5);
  const row = pair((ops, x, y) => ops.addScaled(x, y, scale));
  return { ...row, inputs: [...row.inputs, { name: "scale", values: scale }] };
}

function embedRow(): Row {
  const table = dense(6, 4);
  return {
    inputs: [{ name: "table", values: table.tensor }],
    run: (ops) => ops.embed(ops.integers([5, 0, 5, 2]), table),
  };
}

function replaceRow(): Row {
  const x = normal(5, 3), y = normal(5, 3), values = normal(2, 3);
  return {
    inputs: [{ name: "x", values: x }, { name: "values", values }],
    // x is consumed, so it is made anew each time.
    run: (ops) => ops.gelu(ops.replaceRows(ops.add(x, y), values, ops.integers([4, 1]))),
  };
}

function assembleRow(): Row {
  const patches = normal(8, 3), token = normal(1, 1, 3), positions = normal(1, 5, 3);
  return {
    inputs: [
      { name: "patches", values: patches },
      { name: "class token", values: token },
      { name: "positions", values: positions },
    ],
    run: (ops) => ops.assembleTokens(patches, token, positions),
  };
}

/** Rows whose verb has no input that a gradient could flow into only show that nothing is followed. */
const TABLE: Record<keyof Ops, Row[]> = {
  block: [blockRow()],
  scope: [single([3, 4], (ops, x) => ops.scope(() => ops.gelu(ops.gelu(x))))],
  integers: [{ inputs: [], run: (ops) => ops.integers([1, 2]) }],
  bytes: [{ inputs: [], run: (ops) => ops.bytes(new Uint8Array(4), [4]) }],
  linear: linearRows(),
  layerNorm: [normRow("layerNorm")],
  rmsNorm: [normRow("rmsNorm")],
  add: [pair((ops, x, y) => ops.add(x, y)), single([3, 4], (ops, x) => ops.add(x, ops.gelu(x)))],
  addScaled: [addScaledRow()],
  gelu: [single([3, 7], (ops, x) => ops.gelu(x))],
  swiGlu: [
    pair((ops, x, y) => ops.swiGlu(x, y)),
    single([2, 5], (ops, x) => ops.swiGlu(x, x)),
  ],
  angles: [{ inputs: [], run: (ops) => ops.angles(ops.integers([0, 3]), 8, 1e4) }],
  rotate: [
    single([3, 16], (ops, x) => ops.rotate(x, ops.angles(ops.integers([0, 1, 9]), 8, 1e4), 8)),
  ],
  attend: [attendRow(2, 2, 4, false), attendRow(4, 2, 8, true), attendRow(4, 1, 4, true)],
  embed: [embedRow()],
  replaceRows: [replaceRow()],
  takeRows: [
    single([5, 3], (ops, x) => ops.takeRows(x, ops.integers([3, 0, 3]))),
    single([5, 3], (ops, x) => ops.add(x, ops.takeRows(x, ops.integers([3, 0, 3, 1, 1])))),
  ],
  patches: [{
    inputs: [],
    run: (ops) =>
      ops.patches(ops.bytes(new Uint8Array(48), [1, 4, 4, 3]), {
        imageSize: 4,
        patchSize: 2,
        mean: [0.5, 0.5, 0.5],
        std: [0.25, 0.25, 0.25],
      }),
  }],
  assembleTokens: [assembleRow()],
  pixelShuffle: [single([2 * 17, 3], (ops, x) => ops.pixelShuffle(x, 4))],
};

/** sum(out * weights) in double precision. */
function score(tape: Tape, row: Row, weights: Float64Array): number {
  tape.reset();
  const out = floats(memory, row.run(tape));
  return out.reduce((sum, value, i) => sum + value * weights[i]!, 0);
}

function check(row: Row, what: string, checkpoint: boolean): void {
  const parameters = new Parameters(engine);
  const tape = new Tape(engine, parameters, { checkpoint });
  try {
    for (const { name, values, trained } of row.inputs) parameters.add(name, trained ?? values);
    const out = row.run(tape);
    if (row.inputs.length === 0) {
      assert(!tape.follows(out), `${what}: nothing flows into it, yet it is followed`);
      return;
    }
    assert(tape.follows(out), `${what}: its result is not followed`);
    const size = floats(memory, out).length;
    const weights = Float64Array.from({ length: size }, () => Math.fround(random.normal()));
    floats(memory, tape.gradient(out)).set(weights);
    tape.backward();
    for (const { name, values, trained } of row.inputs) {
      const got = floats(memory, parameters.gradient(trained ?? values)!).slice();
      const at = floats(memory, values);
      const expected = got.map((_, i) => {
        const old = at[i]!;
        at[i] = old + STEP;
        const [above, high] = [at[i]!, score(tape, row, weights)];
        at[i] = old - STEP;
        const [below, low] = [at[i]!, score(tape, row, weights)];
        at[i] = old;
        return (high - low) / (above - below);
      });
      const most = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      assert(most > 1e-3, `${what}: the gradient of ${name} is zero, so the row tests nothing`);
      got.forEach((value, i) => {
        const off = Math.abs(value - expected[i]!);
        assert(
          off <= 2e-3 * most,
          `${what}, checkpoint ${checkpoint}: d${name}[${i}] is ${value}, not ${expected[i]}`,
        );
      });
    }
  } finally {
    tape.free();
    parameters.free();
  }
}

for (const [verb, rows] of Object.entries(TABLE)) {
  Deno.test(`the gradient of ${verb} equals central differences`, () => {
    for (const checkpoint of [false, true]) {
      rows.forEach((row, i) => check(row, `${verb} (row ${i})`, checkpoint));
    }
  });
}

Deno.test("every verb of the tape has a row", () => {
  const verbs = Object.getOwnPropertyNames(Tape.prototype).filter((name) => name !== "constructor");
  assertEquals(verbs.filter((name) => !(name in TABLE)), []);
});

Deno.test("gradients of two backward passes add up in the parameters", () => {
  const parameters = new Parameters(engine);
  const tape = new Tape(engine, parameters);
  const x = normal(2, 3);
  const { gradient } = parameters.add("x", x);
  for (let pass = 1; pass <= 2; pass++) {
    tape.reset();
    const out = tape.add(x, x);
    floats(memory, tape.gradient(out)).fill(1);
    tape.backward();
    assertEquals([...floats(memory, gradient)], new Array(6).fill(2 * pass));
  }
  parameters.zeroGradients();
  assertEquals(parameters.gradientNorm(), 0);
  tape.free();
  parameters.free();
});

globalThis.addEventListener("unload", () => engine.close());
