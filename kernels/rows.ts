// Moving rows: embedding lookup and its gradient, image features put into the token sequence, pixel shuffle, patches.
import { float, int, ptr } from "./args";
import { load4, store4 } from "./lanes";

// out[i] = table[ids[i]]. Items: rows. ints: out, table, bf16, ids, dim.
export function gather_rows(begin: i32, end: i32): void {
  const bf16 = int(2) != 0, dim = <usize> int(4), bytes = dim << 2;
  for (let i = begin; i < end; i++) {
    const out = ptr(0) + <usize> i * bytes;
    const id = <usize> load<u32>(ptr(3) + (<usize> i << 2));
    if (!bf16) {
      memory.copy(out, ptr(1) + id * bytes, bytes);
      continue;
    }
    const row = ptr(1) + id * (dim << 1);
    let j: usize = 0;
    for (; j + 4 <= dim; j += 4) {
      v128.store(out + (j << 2), i32x4.shl(v128.load16x4_u(row + (j << 1)), 16));
    }
    for (; j < dim; j++) store<u32>(out + (j << 2), <u32> load<u16>(row + (j << 1)) << 16);
  }
}

// table[ids[i]] += rows[i], i in order: split by columns, so that repeated ids add up in the same order on any number
// of threads. Items: groups of 16 columns. ints: table, rows, ids, count, dim.
export function scatter_add_rows(begin: i32, end: i32): void {
  const count = int(3), bytes = <usize> int(4) << 2;
  const first = <usize> begin << 6, last = min(<usize> end << 6, bytes);
  for (let i = 0; i < count; i++) {
    const row = ptr(1) + <usize> i * bytes;
    const to = ptr(0) + <usize> load<u32>(ptr(2) + (<usize> i << 2)) * bytes;
    for (let j = first; j < last; j += 16) {
      const left = last - j;
      store4(to + j, f32x4.add(load4(to + j, left), load4(row + j, left)), left);
    }
  }
}

// x[at[i]] = rows[i], or 0 where there are no rows. Items: rows. ints: x, rows, at, dim.
export function replace_rows(begin: i32, end: i32): void {
  const bytes = <usize> int(3) << 2;
  for (let i = begin; i < end; i++) {
    const to = ptr(0) + <usize> load<u32>(ptr(2) + (<usize> i << 2)) * bytes;
    if (ptr(1)) memory.copy(to, ptr(1) + <usize> i * bytes, bytes);
    else memory.fill(to, 0, bytes);
  }
}

// Four neighbouring patches become one token of four times the width, after InternVL's ps_version v2 with factor 1/2:
// out[tile, r, c, (dr * 2 + dc) * dim + d] = x[tile, 1 + (2r + dr) * grid + 2c + dc, d]; the class token is dropped.
// inverse writes x from out, class token 0. Items: rows of tokens (tiles * grid / 2). ints: out, x, grid, dim, inverse.
export function pixel_shuffle(begin: i32, end: i32): void {
  const grid = int(2), half = grid >> 1, bytes = <usize> int(3) << 2, inverse = int(4) != 0;
  for (let item = begin; item < end; item++) {
    const tile = item / half, r = item % half;
    const tokens = ptr(1) + <usize> tile * <usize> (1 + grid * grid) * bytes;
    if (inverse && r == 0) memory.fill(tokens, 0, bytes);
    let shuffled = ptr(0) + <usize> item * <usize> half * 4 * bytes;
    for (let c = 0; c < half; c++) {
      for (let part = 0; part < 4; part++) {
        const patch = tokens + <usize> (1 + (2 * r + (part >> 1)) * grid + 2 * c + (part & 1)) * bytes;
        if (inverse) memory.copy(patch, shuffled, bytes);
        else memory.copy(shuffled, patch, bytes);
        shuffled += bytes;
      }
    }
  }
}

// out[tile, 0] = cls + positions[0]; out[tile, 1 + p] = patches[tile, p] + positions[1 + p]. Items: rows of out.
// ints: out, patches, cls, positions, tokensPerTile, dim.
export function assemble_tokens(begin: i32, end: i32): void {
  const perTile = int(4), bytes = <usize> int(5) << 2;
  for (let item = begin; item < end; item++) {
    const tile = item / perTile, p = item % perTile;
    const out = ptr(0) + <usize> item * bytes, position = ptr(3) + <usize> p * bytes;
    const from = p == 0 ? ptr(2) : ptr(1) + <usize> (tile * (perTile - 1) + p - 1) * bytes;
    for (let i: usize = 0; i < bytes; i += 16) {
      const left = bytes - i;
      store4(out + i, f32x4.add(load4(from + i, left), load4(position + i, left)), left);
    }
  }
}

// Gradients of assemble_tokens; each may be absent. dpatches is written, dcls and dpositions are added to. Items: tokens
// of a tile, all tiles in order. ints: dpatches, dcls, dpositions, dout, tiles, tokensPerTile, dim.
export function assemble_tokens_backward(begin: i32, end: i32): void {
  const tiles = int(4), perTile = int(5), bytes = <usize> int(6) << 2;
  for (let p = begin; p < end; p++) {
    for (let tile = 0; tile < tiles; tile++) {
      const from = ptr(3) + <usize> (tile * perTile + p) * bytes;
      if (p > 0 && ptr(0)) memory.copy(ptr(0) + <usize> (tile * (perTile - 1) + p - 1) * bytes, from, bytes);
      if (p == 0 && ptr(1)) addRow(ptr(1), from, bytes);
      if (ptr(2)) addRow(ptr(2) + <usize> p * bytes, from, bytes);
    }
  }
}

function addRow(to: usize, from: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    const left = bytes - i;
    store4(to + i, f32x4.add(load4(to + i, left), load4(from + i, left)), left);
  }
}

// out [tile, patch row, patch column, channel, row, column] = (pixel / 255 - mean) / std, from u8 [tile, row, column, rgb].
// Items: patches. ints: out, pixels, size, patch; floats: mean (3), std (3).
export function extract_patches(begin: i32, end: i32): void {
  const size = int(2), patch = int(3), grid = size / patch, perTile = grid * grid;
  for (let item = begin; item < end; item++) {
    const tile = item / perTile, p = item % perTile;
    const y0 = tile * size + (p / grid) * patch, x0 = (p % grid) * patch;
    let out = ptr(0) + (<usize> item * <usize> (3 * patch * patch) << 2);
    for (let channel = 0; channel < 3; channel++) {
      const mean = float(channel), std = float(3 + channel);
      for (let y = 0; y < patch; y++) {
        let at = ptr(1) + (<usize> (y0 + y) * <usize> size + <usize> x0) * 3 + <usize> channel;
        for (let x = 0; x < patch; x++) {
          store<f32>(out, (<f32> load<u8>(at) / 255 - mean) / std);
          at += 3;
          out += 4;
        }
      }
    }
  }
}
