import { assertEquals } from "@std/assert";
import { Random } from "../../src/base/random.ts";
import { kernels, NULL } from "../../wasm/mod.ts";
import { goldenTensor, readGolden } from "../testing/goldens.ts";
import { assertNear, Buffers, SameBits, samples } from "./buffers.ts";
import { onEveryEngine } from "./engines.ts";
import { bf16ToF32, bf16Truncated } from "./reference/bf16.ts";
import { dot } from "./reference/gradient.ts";

Deno.test("rows are looked up, added up in order and replaced", async () => {
  const f = Math.fround;
  await onEveryEngine(({ name, engine }) => {
    for (const [vocab, count, dim] of [[1, 1, 1], [5, 9, 3], [7, 40, 17], [30, 3, 64]] as const) {
      const what = `${name}, ${vocab}, ${count}x${dim}`;
      const random = new Random(count);
      const table = samples(vocab * dim, 1), rows = samples(count * dim, 2, 1e4);
      const ids = Int32Array.from({ length: count }, () => random.integer(vocab));
      const buffers = new Buffers(engine);
      const [pt, pr, pi] = [buffers.put(table), buffers.put(rows), buffers.put(ids)];
      const out = buffers.room(count * dim);
      kernels.gatherRows(engine, out, pt, "f32", pi, count, dim);
      const pick = (from: ArrayLike<number>) =>
        Float32Array.from(rows, (_, i) => from[ids[Math.floor(i / dim)]! * dim + i % dim]!);
      assertEquals(buffers.get(out, count * dim), pick(table), what);

      const half = Uint16Array.from(table, bf16Truncated);
      kernels.gatherRows(engine, out, buffers.put(half), "bf16", pi, count, dim);
      assertEquals(buffers.get(out, count * dim), pick(Array.from(half, bf16ToF32)), what);

      kernels.scatterAddRows(engine, pt, pr, pi, count, dim);
      const sums = table.slice();
      rows.forEach((v, i) => {
        const at = ids[Math.floor(i / dim)]! * dim + i % dim;
        sums[at] = f(sums[at]! + v);
      });
      assertEquals(buffers.get(pt, vocab * dim), sums, what);

      const order = new Random(3).shuffle(Array.from({ length: count + 2 }, (_, i) => i));
      const at = Int32Array.from(order.slice(0, count));
      const before = samples((count + 2) * dim, 8), x = buffers.put(before), pAt = buffers.put(at);
      kernels.replaceRows(engine, x, pr, pAt, count, dim);
      at.forEach((to, i) => before.set(rows.subarray(i * dim, (i + 1) * dim), to * dim));
      assertEquals(buffers.get(x, before.length), before, what);
      kernels.replaceRows(engine, x, NULL, pAt, count, dim);
      at.forEach((to) => before.fill(0, to * dim, (to + 1) * dim));
      assertEquals(buffers.get(x, before.length), before, what);
      buffers.release(what);
    }
  });
});

Deno.test("tokens are assembled from patches, and gradients go back to each part", async () => {
  const bits = new SameBits();
  await onEveryEngine(({ name, engine }) => {
    for (const [tiles, perTile, dim] of [[1, 2, 1], [3, 5, 7], [2, 17, 36]] as const) {
      const what = `${name}, ${tiles}x${perTile}x${dim}`, f = Math.fround;
      const n = tiles * perTile * dim, m = tiles * (perTile - 1) * dim;
      const [patches, cls] = [samples(m, 1), samples(dim, 2)];
      const [positions, dout] = [samples(perTile * dim, 3), samples(n, 4)];
      const buffers = new Buffers(engine);
      const [out, pp, pc] = [buffers.room(n), buffers.put(patches), buffers.put(cls)];
      const [ppos, pd] = [buffers.put(positions), buffers.put(dout)];
      kernels.assembleTokens(engine, out, pp, pc, ppos, tiles, perTile, dim);
      const source = (i: number) => {
        const d = i % dim, p = Math.floor(i / dim) % perTile, tile = Math.floor(i / dim / perTile);
        return { d, p, patch: (tile * (perTile - 1) + p - 1) * dim + d };
      };
      const wanted = dout.map((_, i) => {
        const { d, p, patch } = source(i);
        return f((p === 0 ? cls[d]! : patches[patch]!) + positions[p * dim + d]!);
      });
      assertEquals(buffers.get(out, n), wanted, what);

      const [dp, dc, dpos] = [buffers.room(m), buffers.put(cls), buffers.put(positions)];
      kernels.assembleTokensBackward(engine, dp, dc, dpos, pd, tiles, perTile, dim);
      const [dPatches, dCls, dPositions] = [patches.slice(), [...cls], [...positions]];
      dout.forEach((v, i) => {
        const { d, p, patch } = source(i);
        if (p === 0) dCls[d]! += v;
        else dPatches[patch] = v;
        dPositions[p * dim + d]! += v;
      });
      assertEquals(buffers.get(dp, m), dPatches, what);
      assertNear(buffers.get(dc, dim), dCls, 1e-6, 1e-6, `${what}: cls`);
      assertNear(buffers.get(dpos, perTile * dim), dPositions, 1e-6, 1e-6, `${what}: positions`);
      bits.check(what.slice(name.length), buffers.get(dpos, perTile * dim), name);
      const alone = buffers.put(cls);
      kernels.assembleTokensBackward(engine, NULL, alone, NULL, pd, tiles, perTile, dim);
      assertEquals(buffers.get(alone, dim), buffers.get(dc, dim), what);
      buffers.release(what);
    }
  });
});

Deno.test("patches hold channel, row, column, normalized", async () => {
  const [tiles, size, patch] = [3, 12, 4], grid = size / patch;
  const mean = [0.485, 0.456, 0.406] as const, std = [0.229, 0.224, 0.225] as const;
  const random = new Random(1);
  const pixels = Uint8Array.from({ length: tiles * size * size * 3 }, () => random.integer(256));
  const wanted: number[] = [];
  for (let tile = 0; tile < tiles; tile++) {
    for (let p = 0; p < grid * grid; p++) {
      for (let c = 0; c < 3; c++) {
        for (let y = Math.floor(p / grid) * patch, top = y; y < top + patch; y++) {
          for (let x = (p % grid) * patch, left = x; x < left + patch; x++) {
            const value = pixels[((tile * size + y) * size + x) * 3 + c]!;
            wanted.push((value / 255 - mean[c]!) / std[c]!);
          }
        }
      }
    }
  }
  await onEveryEngine(({ name, engine }) => {
    const buffers = new Buffers(engine);
    const [out, from] = [buffers.room(wanted.length), buffers.put(pixels)];
    kernels.extractPatches(engine, out, from, tiles, size, patch, mean, std);
    assertNear(buffers.get(out, wanted.length), wanted, 4e-7, 3e-7, name);
    buffers.release(name);
  });
});

Deno.test("pixel shuffle joins two by two neighbours, and its gradient is its transpose", async () => {
  await onEveryEngine(({ name, engine }) => {
    for (const [tiles, grid, dim] of [[1, 2, 1], [2, 4, 3], [3, 6, 8]] as const) {
      const what = `${name}, ${tiles}x${grid}x${dim}`, half = grid / 2;
      const inputs = tiles * (1 + grid * grid) * dim, outputs = tiles * grid * grid * dim;
      const [x, dout] = [samples(inputs, 1), samples(outputs, 2)];
      const buffers = new Buffers(engine);
      const [out, dx] = [buffers.room(outputs), buffers.room(inputs)];
      kernels.pixelShuffle(engine, out, buffers.put(x), tiles, grid, dim);
      const got = buffers.get(out, outputs);
      for (let i = 0; i < outputs; i++) {
        const d = i % dim, part = Math.floor(i / dim) % 4, token = Math.floor(i / dim / 4);
        const c = token % half, r = Math.floor(token / half) % half;
        const tile = Math.floor(token / half / half);
        const patch = (2 * r + (part >> 1)) * grid + 2 * c + (part & 1);
        assertEquals(got[i], x[(tile * (1 + grid * grid) + 1 + patch) * dim + d]!, what);
      }
      kernels.pixelShuffleBackward(engine, dx, buffers.put(dout), tiles, grid, dim);
      // <shuffle(x), dout> = <x, backward(dout)> for every x is what being the gradient means here.
      const back = buffers.get(dx, inputs);
      assertNear([dot(x, back)], [dot(got, dout)], 1e-9, 1e-12, what);
      for (let tile = 0; tile < tiles; tile++) {
        const at = tile * (1 + grid * grid) * dim;
        assertEquals(back.slice(at, at + dim), new Float32Array(dim), what);
      }
      buffers.release(what);
    }
  });
});

Deno.test("vision features go through the projector as in the reference model", async () => {
  const forward = readGolden("pocket_forward.safetensors");
  const model = readGolden(
    new URL("../models/pocket-internvl/model.safetensors", import.meta.url).pathname,
  );
  const [tiles, grid, dim] = [4, 8, 256], wide = 4 * dim;
  await onEveryEngine(({ name, engine }) => {
    const buffers = new Buffers(engine);
    const weight = (part: string) => {
      const words = goldenTensor(model, `multi_modal_projector.${part}`).data as Uint16Array;
      return { bf16: buffers.put(words), f32: buffers.put(Float32Array.from(words, bf16ToF32)) };
    };
    const x = buffers.put(goldenTensor(forward, "two_images.vision").data as Float32Array);
    const wanted = goldenTensor(forward, "two_images.projected").data as Float32Array;
    const m = tiles * grid * grid / 4;
    const [a, b, out] = [buffers.room(m * wide), buffers.room(m * dim), buffers.room(m * dim)];
    kernels.pixelShuffle(engine, a, x, tiles, grid, dim);
    const [scale, shift] = [weight("layer_norm.weight").f32, weight("layer_norm.bias").f32];
    kernels.layerNorm(engine, a, a, scale, shift, m, wide, 1e-5);
    const [w1, b1] = [weight("linear_1.weight").bf16, weight("linear_1.bias").f32];
    const linear = { m, n: dim, aCol: 1, bRow: 1, bKind: "bf16" } as const;
    kernels.gemm(engine, {
      ...{ ...linear, out: b, a, b: w1, bias: b1, k: wide, aRow: wide, bCol: wide },
    });
    kernels.gelu(engine, b, b, m * dim);
    const [w2, b2] = [weight("linear_2.weight").bf16, weight("linear_2.bias").f32];
    kernels.gemm(engine, {
      ...{ ...linear, out, a: b, b: w2, bias: b2, k: dim, aRow: dim, bCol: dim },
    });
    assertNear(buffers.get(out, m * dim), wanted, 1e-4, 1e-5, name);
    buffers.release(name);
  });
});
