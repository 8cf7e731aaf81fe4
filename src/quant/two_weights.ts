// A block's linears with two sets of weights and biases: the teacher's and what the student has so far. Only one of them
// is in the model at a time.
import { freeWeight, type Linear, type Weight } from "../formats/weight.ts";
import { floats, tensorFrom, valuesOf } from "../tensor/tensor.ts";
import type { Memory } from "../../wasm/mod.ts";

interface Pair {
  teacher: Weight;
  student: Weight;
  teacherBias: Float32Array | undefined;
  studentBias: Float32Array | undefined;
}

/** Switches linears between teacher and student. */
export class TwoWeights {
  readonly #memory: Memory;
  readonly #pairs = new Map<Linear, Pair>();

  /** Takes the linears as they are for the teacher's; the student begins with the same. */
  constructor(memory: Memory, linears: readonly Linear[]) {
    this.#memory = memory;
    for (const linear of linears) {
      const bias = linear.bias && floats(memory, linear.bias).slice();
      const { weight } = linear;
      this.#pairs.set(linear, {
        teacher: weight,
        student: weight,
        teacherBias: bias,
        studentBias: bias,
      });
    }
  }

  /** Puts one set into the model. */
  show(which: "teacher" | "student"): void {
    for (const [linear, pair] of this.#pairs) {
      linear.weight = pair[which];
      const bias = which === "teacher" ? pair.teacherBias : pair.studentBias;
      if (linear.bias && bias) floats(this.#memory, linear.bias).set(bias);
    }
  }

  /** The teacher's weights, f32 [rows, columns], copied out. */
  values(linear: Linear): Float32Array {
    const { teacher } = this.#pairs.get(linear)!;
    if (teacher.kind !== "dense") throw new TypeError(`${linear.name} is not dense`);
    return valuesOf(this.#memory, teacher.tensor);
  }

  /** The teacher's bias, if there is one. */
  bias(linear: Linear): Float32Array | undefined {
    return this.#pairs.get(linear)!.teacherBias;
  }

  /** Gives both the same other dense weight and bias, before the student has one of its own. */
  replaceTeacher(linear: Linear, values: Float32Array, bias?: Float32Array): void {
    const pair = this.#pairs.get(linear)!;
    this.set(linear, pair.teacher, pair.teacherBias);
    freeWeight(this.#memory, pair.teacher);
    pair.teacher = pair.student = denseWeight(this.#memory, linear, values);
    if (bias) pair.teacherBias = pair.studentBias = bias;
    this.show("teacher");
  }

  /** Whether a linear is among them. */
  has(linear: Linear): boolean {
    return this.#pairs.has(linear);
  }

  /** Gives the student another weight, and bias if given; what it had before is freed. */
  set(linear: Linear, weight: Weight, bias?: Float32Array): void {
    const pair = this.#pairs.get(linear)!;
    if (pair.student !== pair.teacher) freeWeight(this.#memory, pair.student);
    pair.student = weight;
    if (bias) pair.studentBias = bias;
  }

  /** Lets the student begin again with the teacher's weights and biases. */
  reset(): void {
    for (const pair of this.#pairs.values()) {
      if (pair.student !== pair.teacher) freeWeight(this.#memory, pair.student);
      pair.student = pair.teacher;
      pair.studentBias = pair.teacherBias;
    }
  }

  /** Leaves the student in the model and frees what was the teacher's alone. */
  finish(): void {
    this.show("student");
    for (const { teacher, student } of this.#pairs.values()) {
      if (teacher !== student) freeWeight(this.#memory, teacher);
    }
    this.#pairs.clear();
  }

  /** Leaves the teacher in the model and frees what was the student's alone. */
  cancel(): void {
    this.reset();
    this.show("teacher");
    this.#pairs.clear();
  }
}

/** A dense f32 weight on the heap. */
export function denseWeight(memory: Memory, linear: Linear, values: Float32Array): Weight {
  return { kind: "dense", tensor: tensorFrom(memory, [linear.rows, linear.columns], values) };
}
