// A model of a few thousand random weights and made-up conversations: small enough to train hundreds of times in a test.
import { Random } from "../../src/base/random.ts";
import {
  bilevelFormat,
  fitFormat,
  type Format,
  symmetricFormat,
} from "../../src/formats/format.ts";
import type { Tiles } from "../../src/input/image/tiles.ts";
import type { Linear } from "../../src/formats/weight.ts";
import type { InternVlConfig } from "../../src/models/internvl/config_types.ts";
import { loadInternVl } from "../../src/models/internvl/model.ts";
import type { WeightStore } from "../../src/models/store.ts";
import { linearsOf, type Part, partsOf, vectorsOf, type Vlm } from "../../src/models/vlm.ts";
import { packLinear, replaceWeight } from "../../src/quant/pack_linear.ts";
import { roundToNearest } from "../../src/quant/round.ts";
import { bytesOf, countOf, heapTensor, tensorFrom } from "../../src/tensor/tensor.ts";
import type { ExampleSource } from "../../src/train/batch.ts";
import type { Engine } from "../../wasm/mod.ts";

const VOCAB = 48;
const IMAGE_TOKENS = 4;
const SIZE = 28;

const CONFIG: InternVlConfig = {
  layout: "native",
  vision: {
    hidden: 32,
    blocks: 1,
    heads: 2,
    intermediate: 32,
    imageSize: SIZE,
    patchSize: 7,
    channels: 3,
    eps: 1e-6,
    qkvBias: true,
    norm: "layer_norm",
    qkNorm: false,
  },
  projector: { downsampleRatio: 0.5, inputs: 128, inner: 32, eps: 1e-5 },
  language: {
    hidden: 32,
    blocks: 2,
    heads: 2,
    kvHeads: 1,
    headDim: 16,
    intermediate: 48,
    vocab: VOCAB,
    ropeTheta: 10000,
    eps: 1e-6,
    maxPositions: 64,
    tied: false,
  },
  tiles: {
    size: SIZE,
    min: 1,
    max: 1,
    thumbnail: false,
    dynamic: false,
    mean: [0.5, 0.5, 0.5],
    std: [0.25, 0.25, 0.25],
  },
  tokensPerTile: IMAGE_TOKENS,
  imageTokenId: 1,
  template: null,
};

/** Random bf16 linears and f32 vectors, the same for equal seeds. */
function randomStore(engine: Engine, seed: number): WeightStore {
  const { memory } = engine;
  const random = new Random(seed);
  const numbers = (count: number, spread: number, center = 0) =>
    Float32Array.from({ length: count }, () => center + spread * random.normal());
  return {
    memory,
    linear(name, rows, columns, bias) {
      const tensor = heapTensor(memory, [rows, columns], "bf16");
      const words = new Uint32Array(numbers(rows * columns, columns ** -0.5).buffer);
      const bits = Uint16Array.from(words, (word) => word >>> 16);
      bytesOf(memory, tensor).set(new Uint8Array(bits.buffer));
      const shift = bias ? tensorFrom(memory, [rows], numbers(rows, 0.1)) : undefined;
      return Promise.resolve({
        ...{ name, rows, columns, bias: shift },
        weight: { kind: "dense", tensor },
      });
    },
    vector(name, shape) {
      const values = numbers(countOf(shape), 0.1, name.includes("norm") ? 1 : 0);
      return Promise.resolve({ name, tensor: tensorFrom(memory, shape, values) });
    },
  };
}

/** A full-precision model. */
export function tinyModel(engine: Engine, seed = 1): Promise<Vlm> {
  return loadInternVl(randomStore(engine, seed), CONFIG);
}

function pack(engine: Engine, linears: readonly Linear[], wanted: Format): void {
  for (const linear of linears) {
    const format = fitFormat(wanted, linear.rows, linear.columns);
    const packed = packLinear(engine.memory, linear, format, roundToNearest);
    replaceWeight(engine.memory, linear, packed);
  }
}

/** Packs the tower's linears, embedding and head by rounding, as the stages before would leave them. */
export function packTiny(engine: Engine, vlm: Vlm): void {
  pack(engine, vlm.vision.blocks.flatMap(({ linears }) => linears), bilevelFormat(4));
  packTable(engine, vlm);
}

/** Packs embedding and head. */
export function packTable(engine: Engine, vlm: Vlm): void {
  pack(engine, [vlm.language.table, vlm.language.head], symmetricFormat(4));
}

/** The 2-bit formats of the linears in the blocks of some parts, those of the language model if not given. */
export function tinyFormats(
  vlm: Vlm,
  parts: readonly Part[] = [vlm.language],
): Map<string, Format> {
  return new Map(
    parts.flatMap(({ blocks }) => blocks).flatMap(({ linears }) => linears).map((
      { name, rows, columns },
    ) => [name, fitFormat(bilevelFormat(2), rows, columns)] as const),
  );
}

/** Made-up conversations: every third without a picture, one with two. */
export function tinyExamples(count: number, seed = 5): ExampleSource {
  const random = new Random(seed);
  const all = Array.from({ length: count }, (_, i) => {
    const pictures = i % 3 === 2 ? 0 : i === 0 ? 2 : 1;
    const ids: number[] = [], spans = [];
    for (let image = 0; image < pictures; image++) {
      spans.push({ image, start: ids.length, count: IMAGE_TOKENS });
      ids.push(...new Array<number>(IMAGE_TOKENS).fill(1));
    }
    const asked = 2 + random.integer(4), answered = 1 + random.integer(4);
    const labels = new Array<number>(ids.length + asked).fill(-100);
    for (let t = 0; t < asked + answered; t++) ids.push(2 + random.integer(VOCAB - 2));
    labels.push(...ids.slice(-answered));
    const images = spans.map((): Tiles => ({
      ...{ columns: 1, rows: 1, thumbnail: false, count: 1, size: SIZE },
      data: Uint8Array.from({ length: 3 * SIZE * SIZE }, () => random.integer(256)),
    }));
    const prompt = { ids: Int32Array.from(ids), labels: Int32Array.from(labels), images: spans };
    return { prompt, images };
  });
  return {
    length: count,
    fingerprint: `tiny ${count} ${seed}`,
    prompt: (index) => all[index]!.prompt,
    images: (index) => all[index]!.images,
  };
}

/** Every tensor's bytes by name. */
export function contentOf(engine: Engine, vlm: Vlm): Map<string, Uint8Array> {
  const content = new Map<string, Uint8Array>();
  for (const part of partsOf(vlm)) {
    for (const { name, weight } of linearsOf(part)) {
      const tensor = weight.kind === "packed"
        ? weight.blob
        : weight.kind === "dense"
        ? weight.tensor
        : weight.latent;
      content.set(`${name}.weight`, bytesOf(engine.memory, tensor).slice());
    }
    for (const { name, tensor } of vectorsOf(part)) {
      content.set(name, bytesOf(engine.memory, tensor).slice());
    }
  }
  return content;
}
