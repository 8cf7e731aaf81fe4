// Takes disassembled arm64 machine code apart: which loop holds the dots, and what its instructions are for. MACs are
// counted from the dots themselves: SDOT 16, SMULL or SMULL2 of bytes 8.

/** One disassembled instruction. */
export interface Instruction {
  readonly address: number;
  readonly text: string;
}

/** What instructions of a loop are for. */
export interface Counts {
  instructions: number;
  macs: number;
  /** SDOT, SMULL, SMULL2 of bytes. */
  dots: number;
  /** Every other operation on vectors. */
  vectors: number;
  /** Loads of vectors, plain or spread over all lanes. */
  loads: number;
  /** Building constants: V8 keeps x16 and v30 for that. */
  constants: number;
  /** Registers put aside on the stack and taken back. */
  spills: number;
  /** Addresses, bounds checks, counting, branches. */
  scalars: number;
  /** Of those, accesses whose bounds are checked. */
  checks: number;
}

/** Reads what `objdump -D --no-show-raw-insn` prints. */
export function parseListing(listing: string): Instruction[] {
  return [...listing.matchAll(/^\s*([0-9a-f]+):\t(.*)$/gm)].map((match) => ({
    address: parseInt(match[1]!, 16),
    text: match[2]!.replace(/\s*\/\/.*$/, "").replace(/\s+/g, " ").trim(),
  }));
}

const isByteProduct = (text: string) => /^smull2? v\d+\.8h/.test(text);

/** The innermost loop with most dots: everything between a backward branch and its target. */
export function dotLoop(code: readonly Instruction[]): Instruction[] {
  const loops = code.flatMap(({ address, text }) => {
    const target = text.match(/^(?:b|b\.\w+|cbn?z|tbn?z)\b.*?0x([0-9a-f]+)$/)?.[1];
    const from = parseInt(target ?? "", 16);
    if (!(from <= address)) return [];
    const loop = code.filter((one) => one.address >= from && one.address <= address);
    const { dots } = count(loop);
    return dots > 0 ? [{ from, to: address, dots, loop }] : [];
  });
  const innermost = loops.filter((outer) =>
    !loops.some((inner) => inner !== outer && inner.from >= outer.from && inner.to <= outer.to)
  );
  return innermost.sort((a, b) => b.dots - a.dots)[0]?.loop ?? [];
}

/** Sorts instructions by purpose. */
export function count(code: readonly Instruction[]): Counts {
  const counts: Counts = {
    ...{ instructions: code.length, macs: 0, dots: 0, vectors: 0, loads: 0 },
    ...{ constants: 0, spills: 0, scalars: 0, checks: 0 },
  };
  for (const { text } of code) {
    if (text.startsWith("sdot")) {
      counts.dots++;
      counts.macs += 16;
    } else if (isByteProduct(text)) {
      counts.dots++;
      counts.macs += 8;
    } else if (text.includes("[sp")) counts.spills++;
    else if (/^movk? [wx]16,|^(dup v30|fmov [ds]30|mov v30\.d\[1\])/.test(text)) counts.constants++;
    else if (/^(ld1r?\b|ldu?r [sdq]\d)/.test(text)) counts.loads++;
    else if (/\bv\d+\./.test(text)) counts.vectors++;
    else {
      counts.scalars++;
      if (/^b\.(cs|hs)\b/.test(text)) counts.checks++;
    }
  }
  return counts;
}
