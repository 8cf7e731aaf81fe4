// What instructions.ts reads out of machine code, on listings and dumps small enough to check by eye.
import { assertEquals, assertThrows } from "@std/assert";
import { readWasmCode } from "./jitdump.ts";
import { count, dotLoop, parseListing } from "./loops.ts";

const LISTING = `
   0:\tmov\tx16, #0x100                 \t// #256
   4:\tsub\tx24, x20, #0x3
   8:\tcmp\tx10, x24
   c:\tb.cs\t0x40  // b.hs, b.nlast
  10:\tld1r\t{v6.4s}, [x25]
  12:\tldr\tq7, [x12, x9]
  14:\tsdot\tv5.4s, v6.16b, v7.16b
  18:\tsmull2\tv7.8h, v6.16b, v7.16b
  1c:\tstr\tq9, [sp, #16]
  20:\tfmov\td30, x16
  24:\ttbl\tv7.16b, {v7.16b}, v30.16b
  28:\tcbnz\tw20, 0x4
  2c:\tsdot\tv5.4s, v6.16b, v7.16b
  30:\tb\t0x0
`;

Deno.test("the innermost loop with dots is found and its instructions are counted by purpose", () => {
  const loop = dotLoop(parseListing(LISTING));
  assertEquals([loop[0]!.address, loop.at(-1)!.address], [0x4, 0x28]);
  assertEquals(count(loop), {
    ...{ instructions: 11, macs: 24, dots: 2, vectors: 1, loads: 2, constants: 1 },
    ...{ spills: 1, scalars: 4, checks: 1 },
  });
  assertEquals(dotLoop(parseListing("   0:\tadd\tv1.8h, v2.8h, v3.8h\n   4:\tb\t0x0\n")), []);
});

Deno.test("machine code of WebAssembly functions is found in a jitdump, the last version of each", () => {
  const record = (name: string, code: number[]) => {
    const text = new TextEncoder().encode(`${name}\0`);
    const bytes = new Uint8Array(56 + text.length + code.length);
    new DataView(bytes.buffer).setUint32(4, bytes.length, true);
    new DataView(bytes.buffer).setBigUint64(40, BigInt(code.length), true);
    bytes.set(text, 56);
    bytes.set(code, 56 + text.length);
    return bytes;
  };
  const header = new Uint8Array(40);
  new DataView(header.buffer).setUint32(0, 0x4a695444, true);
  new DataView(header.buffer).setUint32(8, 40, true);
  const dump = [
    header,
    record("JS:wasm-function[7]-7-turbofan", [1, 2, 3]),
    record("JS:~other", [9]),
    record("JS:wasm-function[7]-7-turbofan", [4, 5]),
  ].flatMap((part) => [...part]);
  const found = readWasmCode(Uint8Array.from(dump));
  assertEquals([...found], [[7, Uint8Array.of(4, 5)]]);
  assertThrows(() => readWasmCode(new Uint8Array(64)), Error, "jitdump");
});
