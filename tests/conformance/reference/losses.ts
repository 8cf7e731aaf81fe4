// Losses over rows of logits in double precision, straight from their definitions; rows with a negative label are 0.
type Numbers = ArrayLike<number>;

function logSoftmax(x: Numbers, row: number, vocab: number): Float64Array {
  let top = -Infinity, sum = 0;
  for (let j = 0; j < vocab; j++) top = Math.max(top, x[row * vocab + j]!);
  for (let j = 0; j < vocab; j++) sum += Math.exp(x[row * vocab + j]! - top);
  return Float64Array.from({ length: vocab }, (_, j) => x[row * vocab + j]! - top - Math.log(sum));
}

/** Per row (1 - smoothing) · -log p[label] + smoothing · mean(-log p), and the gradient of the rows' sum. */
export function crossEntropy(
  logits: Numbers,
  labels: Int32Array,
  vocab: number,
  smoothing: number,
): { losses: Float64Array; gradient: Float64Array } {
  const losses = new Float64Array(labels.length), gradient = new Float64Array(logits.length);
  labels.forEach((label, row) => {
    if (label < 0) return;
    const log = logSoftmax(logits, row, vocab);
    for (let j = 0; j < vocab; j++) {
      const target = smoothing / vocab + (j === label ? 1 - smoothing : 0);
      losses[row]! -= target * log[j]!;
      gradient[row * vocab + j] = Math.exp(log[j]!) - target;
    }
  });
  return { losses, gradient };
}

/** Per row both KL divergences, and the gradient of gamma · reverse + (1 - gamma) · forward by the student's logits. */
export function klBoth(
  student: Numbers,
  teacher: Numbers,
  labels: Int32Array,
  vocab: number,
  gamma: number,
): { forward: Float64Array; reverse: Float64Array; gradient: Float64Array } {
  const forward = new Float64Array(labels.length), reverse = new Float64Array(labels.length);
  const gradient = new Float64Array(student.length);
  labels.forEach((label, row) => {
    if (label < 0) return;
    const logP = logSoftmax(student, row, vocab), logQ = logSoftmax(teacher, row, vocab);
    for (let j = 0; j < vocab; j++) {
      reverse[row]! += Math.exp(logP[j]!) * (logP[j]! - logQ[j]!);
      forward[row]! += Math.exp(logQ[j]!) * (logQ[j]! - logP[j]!);
    }
    for (let j = 0; j < vocab; j++) {
      const p = Math.exp(logP[j]!), q = Math.exp(logQ[j]!);
      gradient[row * vocab + j] = gamma * p * (logP[j]! - logQ[j]! - reverse[row]!) +
        (1 - gamma) * (p - q);
    }
  });
  return { forward, reverse, gradient };
}
