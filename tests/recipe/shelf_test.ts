// Runs that begin alike share their first stages: what is taken over is what would have been computed, byte for byte, and
// nothing is taken over from a run that began otherwise.
import { assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import type { ChatItem } from "../../src/data/items.ts";
import { openFolder } from "../../src/models/open.ts";
import { quantize, type QuantizeOptions } from "../../src/recipe/quantize.ts";
import type { Recipe } from "../../src/recipe/recipe.ts";
import { type SpeedQOptions, speedQPaperRecipe } from "../../src/recipe/speed_q.ts";
import { testPath } from "../testing/folders.ts";
import { tinyFolder } from "../testing/tiny_model.ts";

const picture = Deno.readFileSync(testPath("input/image/fixtures/chroma_411.png"));
const data: ChatItem[] = Array.from({ length: 8 }, (_, i): ChatItem => ({
  source: `item ${i}`,
  messages: [
    { role: "user", content: [{ type: "image", image: 0 }, { type: "text", text: `hell ${i}` }] },
    { role: "assistant", content: `he ${i}` },
  ],
  images: [{ kind: "bytes", bytes: picture, name: "chroma_411.png" }],
}));

/** A stage by stage recipe of few steps. */
function staged(language: SpeedQOptions["language"], more: SpeedQOptions = {}): Recipe {
  return speedQPaperRecipe({ vision: 2, projector: 16, language: 2, embedding: 4 }, {
    visionSteps: 3,
    projector: { steps: 3, batch: 2, lr: 1e-3 },
    language: { steps: 3, batch: 2, lr: 1e-3, ...language },
    ...more,
  });
}

/** Quantizes the tiny model; the file's bytes, and which stages were taken over. */
async function run(
  out: string,
  recipe: Recipe,
  options: Partial<QuantizeOptions> = {},
): Promise<{ bytes: Uint8Array; shared: boolean[] }> {
  const open = await openFolder(tinyFolder());
  const how = { threads: 1, recipe, data, calibrationItems: 4, seed: 1, ...options };
  const { stages } = await quantize(open, out, how);
  return {
    bytes: await Deno.readFile(out),
    shared: stages.map(({ shared }) => shared ?? false),
  };
}

Deno.test("a run takes over what another began alike, and ends in the bytes of one that did not", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const shelf = `${folder}/shelf`;
    const out = (name: string) => `${folder}/${name}.lobit`;
    const first = await run(out("first"), staged({}), { shelf });
    const alone = await run(out("alone"), staged({ gamma: 1 }));
    const second = await run(out("second"), staged({ gamma: 1 }), { shelf });
    assertEquals(first.shared, first.shared.map(() => false));
    // All but the last, which differs.
    assertEquals(second.shared, second.shared.map((_, i) => i < second.shared.length - 1));
    assertEquals(second.bytes, alone.bytes);
    assertNotEquals(second.bytes, first.bytes);
    const [vision, projector, ...rest] = staged({}).stages;
    const fitted: Recipe = {
      name: "other",
      stages: [
        vision!,
        { ...projector!, training: { ...projector!.training!, steps: 2 } },
        ...rest,
      ],
    };
    const other = await run(out("other"), fitted, { shelf });
    assertEquals(other.shared, other.shared.map((_, i) => i === 0));
    const seed = await run(out("seed"), staged({}), { shelf, seed: 2 });
    assertEquals(seed.shared, seed.shared.map(() => false));
    const model = await openFolder(tinyFolder(7));
    const { stages } = await quantize(model, out("model"), {
      ...{ threads: 1, recipe: staged({}), data, calibrationItems: 4, seed: 1, shelf },
    });
    assertEquals(stages.some(({ shared }) => shared), false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a later stage that changes a shared part's format is not taken for the same beginning", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const shelf = `${folder}/shelf`;
    const recipe = staged({});
    await run(`${folder}/a.lobit`, recipe, { shelf });
    const [vision] = recipe.stages;
    const finer = { ...vision!, rules: [{ layers: "*.fc1", format: "w4g32q32" }] };
    const { shared } = await run(`${folder}/b.lobit`, {
      name: "finer",
      stages: [...recipe.stages, finer],
    }, { shelf });
    assertEquals(shared.some((taken) => taken), false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a damaged piece is named, and the run stops", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const shelf = `${folder}/shelf`;
    await run(`${folder}/a.lobit`, staged({}), { shelf });
    for (const { name } of Deno.readDirSync(shelf)) {
      if (name.endsWith(".safetensors")) await Deno.truncate(`${shelf}/${name}`, 100);
    }
    await assertRejects(() => run(`${folder}/b.lobit`, staged({}), { shelf }), LobitError, shelf);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
