// The heap inside the shared memory, against a plain list of what is allocated.
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LobitError } from "../../src/base/errors.ts";
import { HEAP } from "../../wasm/abi.ts";
import { address, Memory, offset, type Ptr } from "../../wasm/memory.ts";

const MIB = 2 ** 20;

/** An allocation is a size; a free names the n-th live allocation. */
type Step = { allocate: number } | { free: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ allocate: fc.integer({ min: 0, max: 40_000 }) }) },
  { weight: 2, arbitrary: fc.record({ free: fc.nat() }) },
);

Deno.test("Allocations are aligned, never overlap and keep their content", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const memory = new Memory(8 * MIB);
      const live: { ptr: Ptr; size: number; mark: number }[] = [];
      let expected = 0, peak = 0;
      const rounded = (size: number) => Math.max(64, Math.ceil(size / 64) * 64);
      for (const [index, one] of steps.entries()) {
        if ("allocate" in one) {
          const ptr = memory.allocate(one.allocate);
          const mark = 1 + index % 255;
          memory.u8(ptr, one.allocate).fill(mark);
          live.push({ ptr, size: one.allocate, mark });
          expected += rounded(one.allocate);
        } else if (live.length > 0) {
          const [gone] = live.splice(one.free % live.length, 1);
          memory.free(gone!.ptr);
          expected -= rounded(gone!.size);
        }
        peak = Math.max(peak, expected);
        assertEquals(memory.used, expected);
      }
      assertEquals(memory.peak, peak);
      const ranges = live.map(({ ptr, size }) => [address(ptr), address(ptr) + rounded(size)]);
      ranges.sort((a, b) => a[0]! - b[0]!);
      for (const [i, [start, end]] of ranges.entries()) {
        assertEquals(start! % 64, 0);
        assert(start! >= HEAP && end! <= memory.wasm.buffer.byteLength);
        assert(i === 0 || ranges[i - 1]![1]! <= start!, "two allocations overlap");
      }
      for (const { ptr, size, mark } of live) {
        assert(memory.u8(ptr, size).every((byte) => byte === mark), "content was overwritten");
      }
      for (const { ptr } of live) memory.free(ptr);
      assertEquals(memory.used, 0);
    }),
    { numRuns: 150, seed: 1 },
  );
});

Deno.test("Freed neighbours merge: whatever was allocated before, everything fits again", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 12 }),
      fc.infiniteStream(fc.nat()),
      (sizes, order) => {
        const memory = new Memory(MIB);
        const all = MIB - HEAP;
        const live = sizes.map((size) => memory.allocate(size));
        for (const pick of order) {
          memory.free(live.splice(pick % live.length, 1)[0]!);
          if (live.length === 0) break;
        }
        assertEquals(address(memory.allocate(all)), HEAP);
      },
    ),
    { numRuns: 100, seed: 2 },
  );
});

Deno.test("A full memory answers with no-memory and stays usable", () => {
  const memory = new Memory(4 * MIB);
  const half = memory.allocate(2 * MIB);
  for (const size of [2 * MIB, 5 * MIB, 2 ** 32, 2 ** 40]) {
    const error = assertThrows(() => memory.allocate(size), LobitError);
    assertEquals(error.code, "no-memory");
    assert(error.message.includes("the limit is 4.0 MiB"), error.message);
  }
  assertEquals(memory.used, 2 * MIB);
  memory.free(half);
  memory.free(memory.allocate(4 * MIB - HEAP));
  assertEquals(memory.used, 0);
});

Deno.test("The limit is exact to the page", () => {
  const memory = new Memory(4 * MIB);
  memory.allocate(4 * MIB - HEAP - 64);
  memory.allocate(64);
  assertEquals(memory.wasm.buffer.byteLength, 4 * MIB);
  assertThrows(() => memory.allocate(1), LobitError);
});

Deno.test("Freeing twice, or what was never allocated, is an internal error", () => {
  const memory = new Memory(MIB);
  const ptr = memory.allocate(100);
  assertEquals(assertThrows(() => memory.free(offset(ptr, 64)), LobitError).code, "internal");
  memory.free(ptr);
  assertEquals(assertThrows(() => memory.free(ptr), LobitError).code, "internal");
});

Deno.test("Views made before the memory grows stay valid and see later writes", () => {
  const memory = new Memory();
  const ptr = memory.allocate(4 * 1000);
  const early = memory.f32(ptr, 1000);
  early.fill(0.5);
  const before = memory.wasm.buffer.byteLength;
  memory.allocate(32 * MIB);
  assert(memory.wasm.buffer.byteLength > before);
  assertEquals(early.length, 1000);
  assert(early.every((x) => x === 0.5));
  memory.f32(ptr, 1000)[999] = 7;
  assertEquals(early[999], 7);
  early[0] = 3;
  assertEquals(memory.i32(ptr, 1)[0], 0x40400000);
});

Deno.test("The views of a place show the same bytes at their own widths", () => {
  const memory = new Memory();
  const ptr = memory.allocate(64);
  memory.i32(ptr, 2).set([-1, 0x01020304]);
  assertEquals([...memory.u8(ptr, 8)], [255, 255, 255, 255, 4, 3, 2, 1]);
  assertEquals([...memory.i8(ptr, 4)], [-1, -1, -1, -1]);
  assertEquals([...memory.u16(ptr, 4)], [65535, 65535, 0x0304, 0x0102]);
  assertEquals([...memory.u8(offset(ptr, 4), 1)], [4]);
});

Deno.test("Sizes that are no numbers are refused before they reach the heap", () => {
  assertEquals(assertThrows(() => new Memory(NaN), LobitError).code, "bad-request");
  assertEquals(assertThrows(() => new Memory(-1), LobitError).code, "bad-request");
  const memory = new Memory(MIB);
  for (const size of [NaN, -1]) {
    assertEquals(assertThrows(() => memory.allocate(size), LobitError).code, "internal");
  }
  assertEquals(assertThrows(() => memory.allocate(Infinity), LobitError).code, "no-memory");
  assertEquals(address(memory.allocate(1)), HEAP);
});
