// A short text that changes when anything fed to it does: 64-bit FNV-1a in two halves over 32-bit words. It tells a
// resumed run that it would not continue the same one; it is no protection against intent.

/** Collects data and tells it apart. */
export class Fingerprint {
  #a = 0x811c9dc5;
  #b = 0x2f0b4c47;
  #tail = new Uint8Array(4);

  /** Adds values; their number counts, too. */
  add(values: Uint8Array | Int32Array | Float32Array | string): this {
    const data = typeof values === "string" ? new TextEncoder().encode(values) : values;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#word(bytes.length);
    const whole = bytes.length & ~3;
    for (let i = 0; i < whole; i += 4) {
      this.#word(bytes[i]! | bytes[i + 1]! << 8 | bytes[i + 2]! << 16 | bytes[i + 3]! << 24);
    }
    if (whole < bytes.length) {
      this.#tail.fill(0).set(bytes.subarray(whole));
      const [a, b, c] = this.#tail;
      this.#word(a! | b! << 8 | c! << 16);
    }
    return this;
  }

  #word(word: number): void {
    this.#a = Math.imul(this.#a ^ word, 0x01000193);
    this.#a ^= this.#a >>> 15;
    this.#b = Math.imul(this.#b ^ word ^ this.#a, 0x85ebca6b);
    this.#b ^= this.#b >>> 13;
  }

  /** What has been added, as 16 hexadecimal digits. */
  get text(): string {
    return [this.#a, this.#b].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
  }
}
