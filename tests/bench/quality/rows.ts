// The rows of the quality table, as recipes. They come from chooseRecipe, so that a changed default changes the row; only
// the reference run, whose numbers are part of its definition, states its settings.
import { CALIBRATED } from "../../../src/quant/methods.ts";
import { chooseRecipe, RECIPES } from "../../../src/recipe/choose.ts";
import type { Recipe, Stage } from "../../../src/recipe/recipe.ts";
import { LANGUAGE_TRAINING, type TrainingSettings } from "../../../src/recipe/stages/settings.ts";

/** Bits that the table shows. */
export type Bits = 4 | 3 | 2;

/** A row. */
export interface Row {
  /** Its name on the command line and in file names. */
  readonly id: string;
  /** What the table calls it. */
  readonly name: string;
  /** The section of the table it stands in. */
  readonly section: "methods" | "equalized" | "control" | "ablations" | "own";
  /** Bits of the linears; none where nothing is quantized. */
  readonly bits?: Bits | undefined;
  /** Name of the row that says what its training does at full precision; for rows that do not train, speed-q's. */
  readonly control?: string | undefined;
  /** Whether it is run once per seed; others are run with seed 0. */
  readonly seeded: boolean;
  /** Whether only the language stage has the run's seed: what comes before is that of seed 0, and done once. */
  readonly begun?: boolean | undefined;
  /** What is done; none is the model as it is. */
  readonly recipe?: (seed: number) => Recipe;
}

const BITS: readonly Bits[] = [4, 3, 2];
/** The recipe that has the paper's stages, if it is another than speed-q itself. */
const PAPER = ["speed-q-paper", "speed-q"].find((name) => RECIPES.includes(name))!;

/** Recipes that train in stages. */
const TRAINED: readonly string[] = [...new Set(["speed-q", PAPER])];

/** All rows in the table's order. */
export function allRows(): Row[] {
  return [
    { id: "full", name: "full precision", section: "methods", seeded: false },
    ...BITS.flatMap((bits) => [
      ...["rtn", "gptq", "fast"].map((recipe) => known(recipe, bits, false)),
      ...TRAINED.map((recipe) => known(recipe, bits, true)),
    ]),
    ...([4, 2] as const).map((bits) => reference(bits)),
    ...BITS.flatMap((bits) => [
      { ...known("awq", bits, false), section: "equalized" } as const,
      {
        ...known("fast", bits, false),
        ...{ id: `fast-equalized-${bits}`, name: "fast, equalized", section: "equalized" } as const,
        recipe: (seed: number) => chooseRecipe({ recipe: "fast", bits, seed, equalize: true }),
      },
      {
        ...known("speed-q", bits, true),
        ...{
          id: `speed-q-equalized-${bits}`,
          name: "speed-q, equalized",
          section: "equalized",
        } as const,
        recipe: (seed: number) => equalized(chooseRecipe({ recipe: "speed-q", bits, seed })),
      },
    ]),
    ...TRAINED.flatMap((recipe) => BITS.map((bits) => control(recipe, bits))),
    ...ablations(),
  ];
}

function known(recipe: string, bits: Bits, seeded: boolean): Row {
  return {
    ...{ id: `${recipe}-${bits}`, name: recipe, section: "methods", bits, seeded },
    control: controlOf(seeded ? recipe : "speed-q", bits),
    recipe: (seed) => chooseRecipe({ recipe, bits, seed }),
  };
}

/** Channels are scaled wherever a stage looks at data. */
function equalized(recipe: Recipe): Recipe {
  const stages = recipe.stages.map((stage) =>
    stage.method in CALIBRATED ? { ...stage, equalize: true } : stage
  );
  return { ...recipe, stages };
}

function controlOf(recipe: string, bits: Bits): string {
  return `control-${recipe}-${bits}`;
}

/** Full precision trained as a recipe trains, on the same data for the same steps, with the label loss alone. */
function control(recipe: string, bits: Bits): Row {
  return {
    ...{ id: controlOf(recipe, bits), name: `trained as ${recipe} at ${bits} bits` },
    ...{ section: "control", seeded: true } as const,
    recipe: (seed) => {
      const stages = chooseRecipe({ recipe, bits, seed }).stages
        .filter(({ method }) => method === "train")
        .map(({ part, method, training }): Stage => ({
          ...{ part, method, rules: [{ layers: "*", format: "keep" }] },
          training: { ...training!, label: 1, distill: 0, match: 0 },
        }));
      return { name: "control", stages };
    },
  };
}

/** What the reference run of tests/models/pocket-internvl/README.md did, stage by stage. */
function reference(bits: 4 | 2): Row {
  const run = bits === 2
    ? { rounding: 120, projector: 40, language: 160, lr: 3e-4 }
    : { rounding: 40, projector: 10, language: 40, lr: 1e-4 };
  return {
    ...{ id: `reference-${bits}`, name: "settings of the reference run", section: "methods" },
    ...{ bits, seeded: true, control: controlOf(PAPER, bits) },
    recipe: (seed) => {
      const settings: TrainingSettings = {
        ...LANGUAGE_TRAINING,
        ...{ batch: 32, lr: run.lr, warmup: 0.03, shape: "cosine", decay: 0.01, clip: 1, seed },
        ...{ label: 1, smoothing: 0, match: 0, temperature: 1, gamma: "adaptive" },
        ...{ mask: "shifted", scales: "range", refresh: 1, slack: 0 },
      };
      const [vision, projector, language] = chooseRecipe({ bits }).stages as [Stage, Stage, Stage];
      return {
        name: "reference",
        stages: [
          { ...vision, method: "ada-round", steps: run.rounding },
          {
            ...{ part: projector.part, method: "train", rules: projector.rules },
            training: { ...settings, distill: 0, steps: run.projector },
          },
          {
            ...{ part: language.part, method: "train", rules: language.rules },
            training: { ...settings, distill: 1, steps: run.language },
          },
        ],
      };
    },
  };
}

/** Steps of the language stage in ablations: their rows are compared with each other only, and there are many. */
export const ABLATION_STEPS = 40;

/**
 * The paper's table 5, at 2 bits, all rows with {@linkcode ABLATION_STEPS}. Equal recipes are run once, and the stages
 * before the language stage, too.
 */
function ablations(): Row[] {
  const gammas = [0, 0.5, 1, "adaptive"] as const;
  const trained = TRAINED.toReversed().flatMap((recipe) => [
    ablation(recipe, "task loss only", "task", ({ label }) => ({ label: label || 1, distill: 0 })),
    ablation(recipe, "distillation only", "distill", ({ distill }) => ({
      ...{ label: 0, distill: distill || 1 },
    })),
    ablation(recipe, "both losses", "both", ({ label, distill }) => ({
      ...{ label: label || 1, distill: distill || 1 },
    })),
    ...gammas.map((gamma) =>
      ablation(recipe, `gamma ${gamma}`, `gamma-${gamma}`, ({ distill }) => ({
        ...{ gamma, distill: distill || 1 },
      }))
    ),
  ]);
  return [
    ...trained,
    made(
      "without clipping",
      "no-clip",
      (seed) =>
        editLanguage(
          chooseRecipe({ recipe: PAPER, bits: 2, seed }),
          ({ clip: _, ...rest }) => rest,
        ),
    ),
    made(
      "with clipping",
      "clip",
      (seed) =>
        editLanguage(chooseRecipe({ recipe: PAPER, bits: 2, seed }), (stage) => ({
          ...stage,
          clip: stage.clip ?? ["*"],
        })),
    ),
    made("joint", "joint", (seed) => chooseRecipe({ recipe: "joint", bits: 2, seed })),
    made("staged", "staged", (seed) => chooseRecipe({ recipe: PAPER, bits: 2, seed })),
  ];
}

function made(name: string, id: string, recipe: (seed: number) => Recipe): Row {
  return {
    ...{ id: `${PAPER}-2-${id}`, name: `${PAPER}: ${name}`, section: "ablations" },
    ...{ bits: 2, seeded: true, begun: true },
    recipe: (seed) => shortened(recipe(0), seed),
  };
}

function ablation(
  recipe: string,
  name: string,
  id: string,
  change: (training: TrainingSettings) => Partial<TrainingSettings>,
): Row {
  return {
    ...{ id: `${recipe}-2-${id}`, name: `${recipe}: ${name}`, section: "ablations" },
    ...{ bits: 2, seeded: true, begun: true },
    recipe: (seed) =>
      shortened(
        editLanguage(chooseRecipe({ recipe, bits: 2, seed: 0 }), (stage) => ({
          ...stage,
          training: { ...stage.training!, ...change(stage.training!) },
        })),
        seed,
      ),
  };
}

function shortened(recipe: Recipe, seed: number): Recipe {
  return editLanguage(recipe, (stage) => ({
    ...stage,
    training: { ...stage.training!, steps: ABLATION_STEPS, seed },
  }));
}

/** Changes the stage that trains the language model. */
function editLanguage(recipe: Recipe, change: (stage: Stage) => Stage): Recipe {
  const stages = recipe.stages.map((stage) =>
    stage.part === "language" && stage.method === "train" ? change(stage) : stage
  );
  return { ...recipe, stages };
}

/** A row of a recipe file; a name that ends in -4, -3 or -2 says the bits that it is compared with. */
export function ownRow(id: string, recipe: Recipe): Row {
  const bits = BITS.find((bits) => id.endsWith(`-${bits}`));
  return {
    id,
    name: id,
    section: "own",
    bits,
    seeded: true,
    recipe: (seed) => seeded(recipe, seed),
  };
}

function seeded(recipe: Recipe, seed: number): Recipe {
  const stages = recipe.stages.map((stage) =>
    stage.training ? { ...stage, training: { ...stage.training, seed } } : stage
  );
  return { ...recipe, stages };
}
