// What the training stages have in common: a tower, seen once if it is frozen, a teacher, an order, a checkpoint
// that belongs to exactly this run. Resuming after any step ends in the same bits as not having stopped.
import { badRequest } from "../../base/errors.ts";
import type { Linear } from "../../formats/weight.ts";
import { linearsOf, type Vlm } from "../../models/vlm.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { ExampleSource } from "../../train/batch.ts";
import type { FakeQuant } from "../../train/fake_quant.ts";
import { Features } from "../../train/features.ts";
import { Fingerprint } from "../../train/fingerprint.ts";
import { AdamW, type Group } from "../../train/optimiser.ts";
import { BatchOrder } from "../../train/order.ts";
import { Parameters } from "../../train/parameters.ts";
import { Teacher } from "../../train/teacher.ts";
import { unpackMeanwhile } from "../../train/trainable.ts";
import { TrainedTower } from "../../train/tower.ts";
import { type StepReport, train } from "../../train/trainer.ts";
import type { Engine } from "../../../wasm/mod.ts";
import { checksumsOf } from "../checksums.ts";
import { loopSettings, type TrainingSettings } from "./settings.ts";

/** A model that a stage changes in place; the engine that it lives in. */
export interface StageModel {
  /** Kernels, memory, threads. */
  readonly engine: Engine;
  /** The student. */
  readonly vlm: Vlm;
}

/** How to run a training stage. */
export interface StageOptions {
  /** A full-precision model in the same engine; needed where distillation has a weight. */
  readonly teacher?: Vlm | undefined;
  /** Stops the work after the step at hand; the state is kept. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each step. */
  readonly onStep?: ((report: StepReport) => void) | undefined;
  /** Where the state is kept, every how many steps, and whether to go on from it. */
  readonly checkpoint?:
    | { readonly path: string; readonly every: number; readonly resume: boolean }
    | undefined;
  /** Folder for the teacher's logits, if they are to be kept on disk. */
  readonly logits?: string | undefined;
}

/** What trains in a stage: made from the model when the run starts. */
export interface Trainables {
  /** Tensors by name, with the learning rate of each set. */
  readonly groups: readonly {
    readonly tensors: readonly Named[];
    readonly lr: number;
    /** Where it differs from the settings'. */
    readonly decay?: number;
  }[];
  /** Linears seen through a grid. */
  readonly fakes: readonly FakeQuant[];
  /** Whether anything of the tower is among the tensors; `frozen` if not given. */
  readonly tower?: "frozen" | "trains";
}

/** A tensor that trains. */
export interface Named {
  /** Checkpoint path. */
  readonly name: string;
  /** f32. */
  readonly tensor: Tensor;
}

/** Runs a stage: `prepare` makes weights trainable, after the fingerprint of the untouched model is taken. */
export async function runTraining(
  stage: { readonly name: string; readonly detail?: unknown },
  { engine, vlm }: StageModel,
  examples: ExampleSource,
  settings: TrainingSettings,
  options: StageOptions,
  prepare: () => Trainables,
): Promise<StepReport[]> {
  const loop = loopSettings(settings);
  const { teacher: full, signal, onStep, checkpoint, logits } = options;
  const taught = settings.distill !== 0 || settings.match !== 0;
  if (taught && !full) {
    throw badRequest(
      `The ${stage.name} stage compares with full precision, so it needs that model as teacher.`,
    );
  }
  const fingerprint = fingerprintOf(stage, engine, vlm, full, examples, settings);
  const order = new BatchOrder(examples.length, settings.batch, settings.seed);
  const companions = (example: number) => order.companions(example);
  const exact = linearsOf(vlm.vision).some(({ weight }) => weight.kind === "packed");
  const parameters = new Parameters(engine);
  const cleanups: (() => void)[] = [() => parameters.free()];
  try {
    const { groups, fakes, tower } = prepare();
    // The table is read by rows only, unless it is the head, too; everything else packed is read whole in every pass.
    const { language } = vlm;
    for (const linear of new Set([...frozen(language.blocks), language.head])) {
      cleanups.push(unpackMeanwhile(engine, linear));
    }
    const moved = groups.map(({ tensors, lr, decay = settings.decay }): Group => ({
      parameters: tensors.map(({ name, tensor }) => parameters.add(name, tensor)),
      lr,
      decay,
    }));
    const optimiser = new AdamW(engine, moved);
    cleanups.push(() => optimiser.free());
    const features = tower === "trains"
      ? new TrainedTower(vlm, examples)
      : new Features(engine, vlm, examples, { companions, exact });
    cleanups.push(() => features.free());
    const teacher = full && taught
      ? new Teacher(engine, full, examples, {
        ...{ companions, mask: settings.mask, top: settings.teacherTop },
        keepFeatures: settings.match !== 0,
        folder: logits === undefined
          ? undefined
          : { path: logits, fingerprint: teacherPrint(engine, full, examples, settings) },
      })
      : undefined;
    if (teacher) cleanups.push(() => teacher.free());
    return await train(
      { engine, vlm, parameters, optimiser, fakes, examples, order, features, teacher },
      loop,
      { signal, onStep, ...(checkpoint && { checkpoint: { ...checkpoint, fingerprint } }) },
    );
  } finally {
    for (const cleanup of cleanups.reverse()) cleanup();
  }
}

function frozen(blocks: readonly { readonly linears: readonly Linear[] }[]): Linear[] {
  return blocks.flatMap(({ linears }) => linears);
}

/** Of everything that decides a run's result. */
function fingerprintOf(
  stage: unknown,
  engine: Engine,
  vlm: Vlm,
  teacher: Vlm | undefined,
  examples: ExampleSource,
  settings: TrainingSettings,
): string {
  const print = new Fingerprint().add(JSON.stringify(stage)).add(JSON.stringify(settings)).add(
    examples.fingerprint,
  );
  print.add(engine.build);
  for (const model of teacher ? [vlm, teacher] : [vlm]) {
    print.add(checksumsOf(engine, model));
  }
  return print.text;
}

/** Of everything that decides the teacher's logits, apart from which are kept. */
function teacherPrint(
  engine: Engine,
  teacher: Vlm,
  examples: ExampleSource,
  { batch, seed }: TrainingSettings,
): string {
  const together = JSON.stringify({ batch, seed });
  return new Fingerprint().add(together).add(examples.fingerprint).add(engine.build)
    .add(checksumsOf(engine, teacher)).text;
}
