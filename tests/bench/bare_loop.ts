// The ceiling of a packed matrix-vector product: the same 16-byte loads of codes, shift and mask, dot into independent
// accumulators, activations from L1; no scales, no zeros, no sums per group. WebAssembly text made here and assembled
// by wabt, so that nothing but those instructions is in the loop. The mask comes as an argument: V8 rebuilds a literal
// vector at every use inside a loop, and the loop would run at half the speed.
import wabtInit from "npm:wabt@1.0.39";

/** As in wasm/kernels/packed_dot.ts. */
export type BareDot = "wide" | "pairs" | "quads";

/** Runs over the codes from `codes` to `end`, rows of `pairs` pairs of slabs. */
export type BareLoop = (
  codes: number,
  end: number,
  activations: number,
  pairs: number,
  mask: number,
) => number;

function dot(kind: BareDot, codes: string, a: string, acc: string): string {
  if (kind === "quads") return `(i32x4.relaxed_dot_i8x16_i7x16_add_s ${a} ${codes} ${acc})`;
  if (kind === "pairs") {
    return `(i16x8.add ${acc} (i16x8.relaxed_dot_i8x16_i7x16_s ${a} ${codes}))`;
  }
  const [eight, low] = ["(i32.const 8)", (v: string) => `(i16x8.shl ${v} (i32.const 8))`];
  const even = `(i16x8.mul (i16x8.shr_u ${low(codes)} ${eight}) (i16x8.shr_s ${low(a)} ${eight}))`;
  const odd = `(i16x8.mul (i16x8.shr_u ${codes} ${eight}) (i16x8.shr_s ${a} ${eight}))`;
  return `(i16x8.add ${acc} (i16x8.add ${even} ${odd}))`;
}

/** One pair of slabs of 8 rows: 256 products into 8 accumulators. */
function body(bits: 2 | 4, kind: BareDot): string {
  const lines = Array.from(
    { length: 8 },
    (_, word) => `(local.set $a${word} (v128.load32_splat offset=${4 * word} (local.get $x)))`,
  );
  const words = 8 / bits;
  for (let vector = 0; vector < 2 * bits; vector++) {
    const quad = Math.floor(vector / bits);
    lines.push(`(local.set $c (v128.load offset=${16 * vector} (local.get $p)))`);
    for (let n = 0; n < words; n++) {
      const word = vector % bits * words + n;
      const code = `(i16x8.shr_u (local.get $c) (i32.const ${bits * n}))`;
      const masked = `(v128.and ${n === 0 ? "(local.get $c)" : code} (local.get $m))`;
      const acc = `$s${4 * quad + word % 4}`;
      lines.push(
        `(local.set ${acc} ${dot(kind, masked, `(local.get $a${word})`, `(local.get ${acc})`)})`,
      );
    }
  }
  return lines.join("\n");
}

/** The loop as WebAssembly text. */
export function bareText(bits: 2 | 4, kind: BareDot): string {
  const locals = (name: string) =>
    Array.from({ length: 8 }, (_, i) => `(local $${name}${i} v128)`).join(" ");
  const sum = [1, 2, 3, 4, 5, 6, 7].reduce(
    (text, i) => `(v128.xor ${text} (local.get $s${i}))`,
    "(local.get $s0)",
  );
  return `(module (import "env" "memory" (memory 1 65536 shared))
(func (export "run")
(param $p i32) (param $end i32) (param $act i32) (param $pairs i32) (param $mask i32) (result i32)
(local $x i32) (local $stop i32) (local $c v128) (local $m v128) ${locals("a")} ${locals("s")}
(local.set $m (i8x16.splat (local.get $mask)))
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
): Promise<BareLoop> {
  const wabt = await wabtInit();
  const features = { threads: true, simd: true, relaxed_simd: true };
  const module = wabt.parseWat("bare.wat", bareText(bits, kind), features);
  const bytes = new Uint8Array(module.toBinary({}).buffer);
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } });
  return instance.exports.run as unknown as BareLoop;
}
