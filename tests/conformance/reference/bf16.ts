const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The number that a bf16 word stands for. */
export function bf16ToF32(bits: number): number {
  word[0] = bits << 16;
  return float[0]!;
}

/** A number's upper 16 bits as bf16 (rounding towards zero, which is enough to make test values). */
export function bf16Truncated(value: number): number {
  float[0] = value;
  return word[0]! >>> 16;
}
