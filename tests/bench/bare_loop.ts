// The ceiling of a packed matrix-vector product: the same 16-byte loads of codes, shift and mask, dot into independent
// accumulators, activations from L1; no scales, no zeros, no sums per group. WebAssembly text made here and assembled
// by wabt, so that nothing but those instructions is in the loop.
import wabtInit from "npm:wabt@1.0.39";

export type BareDot = "wide" | "pairs" | "quads";

const splat = (value: number) => `(v128.const i8x16${` ${value}`.repeat(16)})`;

function dot(kind: BareDot, codes: string, a: string, acc: string): string {
  if (kind === "quads") return `(i32x4.relaxed_dot_i8x16_i7x16_add_s ${a} ${codes} ${acc})`;
  if (kind === "pairs") return `(i16x8.add ${acc} (i16x8.relaxed_dot_i8x16_i7x16_s ${a} ${codes}))`;
  const low = `(i16x8.mul (v128.and ${codes} (v128.const i16x8${" 255".repeat(8)}))` +
    ` (i16x8.shr_s (i16x8.shl ${a} (i32.const 8)) (i32.const 8)))`;
  const high = `(i16x8.mul (i16x8.shr_u ${codes} (i32.const 8)) (i16x8.shr_s ${a} (i32.const 8)))`;
  return `(i16x8.add ${acc} (i16x8.add ${low} ${high}))`;
}

/** One pair of slabs of 8 rows: 256 products, 8 accumulators. */
function body(bits: 2 | 4, kind: BareDot): string {
  const lines: string[] = [];
  for (let word = 0; word < 8; word++) {
    lines.push(`(local.set $a${word} (v128.load32_splat offset=${4 * word} (local.get $x)))`);
  }
  const perVector = 8 / bits;
  for (let vector = 0; vector < 4 * bits; vector++) {
    const quad = Math.floor(vector / (2 * bits));
    if (vector >= 2 * bits * 2) break;
    const first = (vector % (8 / perVector)) * perVector;
    if (vector * 16 >= 32 * bits) break;
    lines.push(`(local.set $c (v128.load offset=${16 * vector} (local.get $p)))`);
    for (let n = 0; n < perVector; n++) {
      const shifted = n === 0
        ? "(local.get $c)"
        : `(i16x8.shr_u (local.get $c) (i32.const ${bits * n}))`;
      const codes = `(v128.and ${shifted} (local.get $mask))`;
      const acc = `$s${4 * (quad & 1) + (n & 3) + (bits === 4 ? 2 * (vector & 1) : 0)}`;
      const sum = dot(kind, codes, `(local.get $a${first + n})`, `(local.get ${acc})`);
      lines.push(`(local.set ${acc} ${sum})`);
    }
  }
  return lines.join("\n");
}

/** The loop as WebAssembly text: run(codes, end, activations, pairs per row). */
export function bareText(bits: 2 | 4, kind: BareDot): string {
  const locals = (name: string, count: number) =>
    Array.from({ length: count }, (_, i) => `(local $${name}${i} v128)`).join(" ");
  const sum = Array.from({ length: 7 }, (_, i) => i + 1).reduce(
    (text, i) => `(v128.xor ${text} (local.get $s${i}))`,
    "(local.get $s0)",
  );
  return `(module (import "env" "memory" (memory 1 65536 shared))
(func (export "run") (param $p i32) (param $end i32) (param $act i32) (param $pairs i32) (result i32)
(local $x i32) (local $stop i32) (local $c v128) (local $mask v128) ${locals("a", 8)} ${locals("s", 8)}
(local.set $mask (i8x16.splat (i32.add (i32.shr_u (local.get $pairs) (i32.const 16)) (i32.const ${2**bits-1}))))
(loop $panel
(local.set $x (local.get $act))
(local.set $stop (i32.add (local.get $act) (i32.shl (local.get $pairs) (i32.const 5))))
(loop $pair
${body(bits, kind)}
(local.set $p (i32.add (local.get $p) (i32.const ${32 * bits})))
(br_if $pair (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 32))) (local.get $stop))))
(br_if $panel (i32.lt_u (local.get $p) (local.get $end))))
(i32x4.extract_lane 0 ${sum})))`;
}

/** Assembles the loop over a memory. */
export async function bareLoop(
  memory: WebAssembly.Memory,
  bits: 2 | 4,
  kind: BareDot,
): Promise<(codes: number, end: number, activations: number, pairs: number) => number> {
  const wabt = await wabtInit();
  const features = { threads: true, simd: true, relaxed_simd: true };
  const module = wabt.parseWat("bare.wat", bareText(bits, kind), features);
  const bytes = new Uint8Array(module.toBinary({}).buffer);
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } });
  return instance.exports.run as never;
}
