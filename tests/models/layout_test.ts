import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { openCheckpoint } from "../../src/io/checkpoint.ts";
import type { TensorShape } from "../../src/io/safetensors.ts";
import { parseConfig } from "../../src/models/internvl/config.ts";
import { expectedTensors, resolveTensors } from "../../src/models/internvl/layout.ts";
import { memoryFolder, testPath, zeroCheckpoint } from "../testing/folders.ts";

interface GoldenModel {
  parameters: number;
  native: Record<string, number[]>;
  original: Record<string, number[]>;
  native_config: unknown;
  original_config: unknown;
}

const MODELS: [string, GoldenModel][] = Object.entries(
  JSON.parse(Deno.readTextFileSync(testPath("goldens/internvl3_tensors.json"))),
);
const [, SMALL] = MODELS[0]!;
const CONFIG = parseConfig(SMALL.native_config, "config.json");

const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

function shapes(tensors: Record<string, number[]>): Map<string, TensorShape> {
  return new Map(Object.entries(tensors).map(([name, shape]) => [name, { dtype: "BF16", shape }]));
}

/** A native file's name as newer writers keep it in memory. */
function inMemory(name: string): string {
  return name === "language_model.lm_head.weight"
    ? "lm_head.weight"
    : `model.${name.replace("language_model.model.", "language_model.")}`;
}

for (const [model, golden] of MODELS) {
  for (const layout of ["native", "original"] as const) {
    Deno.test(`${model} at its true shape resolves from its ${layout} layout`, async () => {
      const checkpoint = await openCheckpoint(memoryFolder({
        "config.json": golden[`${layout}_config`],
        "model.safetensors": zeroCheckpoint(Object.entries(golden[layout])),
      }));
      const config = parseConfig(await checkpoint.readJson("config.json"), "config.json");
      assertEquals(config.layout, layout);
      const resolved = resolveTensors(config, checkpoint.tensors, "model");
      assertEquals(
        new Map([...resolved].map(([name, { shape }]) => [name, shape])),
        expectedTensors(config),
      );
      assertEquals([...resolved.keys()].sort(), Object.keys(golden.native).sort());
      // Every row of every source is used exactly once.
      const used = new Map<string, number[]>();
      for (const { source, firstRow, rows, shape } of resolved.values()) {
        assertEquals(rows, shape[0]);
        used.set(source, [...used.get(source) ?? [], firstRow, firstRow + rows]);
      }
      for (const [source, shape] of Object.entries(golden[layout])) {
        const borders = used.get(source)!.sort((a, b) => a - b);
        assertEquals([borders[0], borders.at(-1)], [0, shape[0]]);
        for (let i = 1; i + 1 < borders.length; i += 2) assertEquals(borders[i], borders[i + 1]);
      }
      const parameters = [...expectedTensors(config).values()].reduce((n, s) => n + product(s), 0);
      assertEquals(parameters, golden.parameters);
      const last = resolved.get("language_model.lm_head.weight")!;
      const row = new Uint8Array(2 * last.shape[1]!).fill(1);
      await checkpoint.read(last.source, row, last.rows - 1, 1);
      assertEquals(row.every((byte) => byte === 0), true);
    });
  }

  Deno.test(`${model}'s native shapes are the golden ones, name by name`, () => {
    const config = parseConfig(golden.native_config, "config.json");
    assertEquals(Object.fromEntries(expectedTensors(config)), golden.native);
  });

  Deno.test(`${model} resolves from the in-memory names of newer writers`, () => {
    const config = parseConfig(golden.native_config, "config.json");
    const renamed = Object.entries(golden.native).map(([name, shape]) => [inMemory(name), shape]);
    const resolved = resolveTensors(config, shapes(Object.fromEntries(renamed)), "model");
    for (const [name, { source }] of resolved) assertEquals(source, inMemory(name));
  });
}

Deno.test("the in-memory names are those of the gradient golden", async () => {
  const { readGolden } = await import("../testing/goldens.ts");
  const pocket = JSON.parse(Deno.readTextFileSync(testPath("models/pocket-internvl/config.json")));
  const expected = new Set([...expectedTensors(parseConfig(pocket, "c")).keys()].map(inMemory));
  const { norms } = readGolden("pocket_gradients.safetensors").cases as { norms: object };
  assertEquals(Object.keys(norms).sort(), [...expected].sort());
});

Deno.test("q, k and v are the thirds of the original's stacked rows", () => {
  const config = parseConfig(SMALL.original_config, "config.json");
  const resolved = resolveTensors(config, shapes(SMALL.original), "model");
  for (const [part, role] of ["q", "k", "v"].entries()) {
    const at = `vision_tower.encoder.layer.3.attention.${role}_proj`;
    const source = "vision_model.encoder.layers.3.attn.qkv";
    assertEquals(resolved.get(`${at}.weight`), {
      source: `${source}.weight`,
      firstRow: part * 1024,
      rows: 1024,
      shape: [1024, 1024],
    });
    assertEquals(resolved.get(`${at}.bias`), {
      source: `${source}.bias`,
      firstRow: part * 1024,
      rows: 1024,
      shape: [1024],
    });
  }
});

Deno.test("missing, unused and mis-shaped tensors are all listed in one error", () => {
  const tensors = shapes(SMALL.native);
  tensors.delete("language_model.model.norm.weight");
  tensors.delete("vision_tower.encoder.layer.7.lambda_1");
  tensors.set("extra.weight", { dtype: "BF16", shape: [1] });
  tensors.set("another.bias", { dtype: "BF16", shape: [1] });
  tensors.set("multi_modal_projector.linear_1.bias", { dtype: "BF16", shape: [897] });
  tensors.set("multi_modal_projector.linear_2.bias", { dtype: "U8", shape: [896] });
  const error = assertThrows(
    () => resolveTensors(CONFIG, tensors, "folder"),
    LobitError,
    "folder: ",
  );
  assertEquals(error.code, "bad-file");
  assertEquals(error.message.split("\n").slice(1), [
    "2 missing:",
    "  vision_tower.encoder.layer.7.lambda_1",
    "  language_model.model.norm.weight",
    "2 of the wrong shape or type:",
    "  multi_modal_projector.linear_1.bias: expected [896], found [897]",
    "  multi_modal_projector.linear_2.bias: expected BF16, F16 or F32, found U8",
    "2 not used:",
    "  extra.weight",
    "  another.bias",
  ]);
});

Deno.test("a stacked tensor is reported once, under the original's names", () => {
  const config = parseConfig(SMALL.original_config, "config.json");
  const tensors = shapes(SMALL.original);
  tensors.delete("vision_model.encoder.layers.0.attn.qkv.weight");
  tensors.set("vision_model.encoder.layers.1.attn.qkv.bias", { dtype: "BF16", shape: [1024] });
  const { message } = assertThrows(() => resolveTensors(config, tensors, "folder"), LobitError);
  assertStringIncludes(message, "\n1 missing:\n  vision_model.encoder.layers.0.attn.qkv.weight\n");
  assertStringIncludes(message, "layers.1.attn.qkv.bias: expected [3072], found [1024]");
});

Deno.test("a tied head may be absent or present, an untied one must be there", () => {
  const tied = { ...CONFIG, language: { ...CONFIG.language, tied: true } };
  const tensors = shapes(SMALL.native);
  const resolved = resolveTensors(tied, tensors, "folder");
  assertEquals(resolved.has("language_model.lm_head.weight"), false);
  tensors.delete("language_model.lm_head.weight");
  assertEquals(resolveTensors(tied, tensors, "folder").size, resolved.size);
  assertThrows(() => resolveTensors(CONFIG, tensors, "folder"), LobitError, "1 missing");
});

Deno.test("buffers that some writers store are no unused tensors", () => {
  const tensors = shapes(SMALL.native);
  for (
    const name of [
      "language_model.model.layers.0.self_attn.rotary_emb.inv_freq",
      "vision_tower.embeddings.position_ids",
      "vision_tower.embeddings.mask_token",
    ]
  ) tensors.set(name, { dtype: "F32", shape: [4] });
  assertEquals(resolveTensors(CONFIG, tensors, "folder").size, Object.keys(SMALL.native).length);
});
