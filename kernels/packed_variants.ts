// The token-by-token product of every dot, number of bits and kind of scales, one function each: inlined into one body
// they run at half the speed, as V8 has too few registers for all. In the relaxed build the plain dot only has the
// general kinds. Arguments: packed_args.ts. Items: panels.
import { A, Dot, num } from "./packed_args";
import { Kind } from "./packed_scales";
import { vector } from "./packed_vector";
import { vector4 } from "./packed_vector4";
import { vector8 } from "./packed_vector8";

function quads2_any(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Quads, 2, Kind.Any, begin, end, scratch);
}

function quads2_banded32(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Quads, 2, Kind.Banded32, begin, end, scratch);
}

function quads2_chunks(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Quads, 2, Kind.Chunks, begin, end, scratch);
}

function quads3_any(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Quads, 3, Kind.Any, begin, end, scratch);
}

function quads3_banded32(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Quads, 3, Kind.Banded32, begin, end, scratch);
}

function quads3_chunks(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Quads, 3, Kind.Chunks, begin, end, scratch);
}

function quads4_any(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Quads, Kind.Any, begin, end, scratch);
}

function quads4_banded32(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Quads, Kind.Banded32, begin, end, scratch);
}

function quads4_symmetric32(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Quads, Kind.Symmetric32, begin, end, scratch);
}

function quads4_chunks(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Quads, Kind.Chunks, begin, end, scratch);
}

function quads8_chunks(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector8(Dot.Quads, begin, end);
}

function pairs2_any(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Pairs, 2, Kind.Any, begin, end, scratch);
}

function pairs2_banded16(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Pairs, 2, Kind.Banded16, begin, end, scratch);
}

function pairs2_banded32(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Pairs, 2, Kind.Banded32, begin, end, scratch);
}

function pairs2_chunks(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Pairs, 2, Kind.Chunks, begin, end, scratch);
}

function pairs3_any(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Pairs, 3, Kind.Any, begin, end, scratch);
}

function pairs3_banded16(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Pairs, 3, Kind.Banded16, begin, end, scratch);
}

function pairs3_banded32(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Pairs, 3, Kind.Banded32, begin, end, scratch);
}

function pairs3_chunks(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector(Dot.Pairs, 3, Kind.Chunks, begin, end, scratch);
}

function pairs4_any(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Pairs, Kind.Any, begin, end, scratch);
}

function pairs4_banded16(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Pairs, Kind.Banded16, begin, end, scratch);
}

function pairs4_banded32(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Pairs, Kind.Banded32, begin, end, scratch);
}

function pairs4_symmetric32(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Pairs, Kind.Symmetric32, begin, end, scratch);
}

function pairs4_chunks(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Pairs, Kind.Chunks, begin, end, scratch);
}

function pairs8_chunks(begin: i32, end: i32, scratch: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) vector8(Dot.Pairs, begin, end);
}

function wide2_any(begin: i32, end: i32, scratch: usize): void {
  vector(Dot.Wide, 2, Kind.Any, begin, end, scratch);
}

function wide2_banded16(begin: i32, end: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) vector(Dot.Wide, 2, Kind.Banded16, begin, end, scratch);
}

function wide2_banded32(begin: i32, end: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) vector(Dot.Wide, 2, Kind.Banded32, begin, end, scratch);
}

function wide2_chunks(begin: i32, end: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) vector(Dot.Wide, 2, Kind.Chunks, begin, end, scratch);
}

function wide3_any(begin: i32, end: i32, scratch: usize): void {
  vector(Dot.Wide, 3, Kind.Any, begin, end, scratch);
}

function wide3_banded16(begin: i32, end: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) vector(Dot.Wide, 3, Kind.Banded16, begin, end, scratch);
}

function wide3_banded32(begin: i32, end: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) vector(Dot.Wide, 3, Kind.Banded32, begin, end, scratch);
}

function wide3_chunks(begin: i32, end: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) vector(Dot.Wide, 3, Kind.Chunks, begin, end, scratch);
}

function wide4_any(begin: i32, end: i32, scratch: usize): void {
  vector4(Dot.Wide, Kind.Any, begin, end, scratch);
}

function wide4_banded16(begin: i32, end: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Wide, Kind.Banded16, begin, end, scratch);
}

function wide4_banded32(begin: i32, end: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Wide, Kind.Banded32, begin, end, scratch);
}

function wide4_symmetric32(begin: i32, end: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Wide, Kind.Symmetric32, begin, end, scratch);
}

function wide4_chunks(begin: i32, end: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) vector4(Dot.Wide, Kind.Chunks, begin, end, scratch);
}

function wide8_chunks(begin: i32, end: i32, scratch: usize): void {
  vector8(Dot.Wide, begin, end);
}

/** The kind that a weight's scales are of. */
function kindOf(bits: i32): Kind {
  const group = num(A.Group), banded = num(A.Band) != 0;
  if (group % 64 == 0) return Kind.Chunks;
  if (group == 16 && banded) return Kind.Banded16;
  if (group == 32 && banded) return Kind.Banded32;
  if (group == 32 && bits == 4 && num(A.PanelZeros) == 0) return Kind.Symmetric32;
  return Kind.Any;
}

export function packed_vector(begin: i32, end: i32, scratch: usize): void {
  const bits = num(A.Bits), dot: Dot = num(A.Dot), kind = kindOf(bits);
  if (ASC_FEATURE_RELAXED_SIMD && dot == Dot.Quads) {
    if (bits == 2) {
      if (kind == Kind.Banded32) quads2_banded32(begin, end, scratch);
      else if (kind == Kind.Chunks) quads2_chunks(begin, end, scratch);
      else quads2_any(begin, end, scratch);
    } else if (bits == 3) {
      if (kind == Kind.Banded32) quads3_banded32(begin, end, scratch);
      else if (kind == Kind.Chunks) quads3_chunks(begin, end, scratch);
      else quads3_any(begin, end, scratch);
    } else if (bits == 4) {
      if (kind == Kind.Banded32) quads4_banded32(begin, end, scratch);
      else if (kind == Kind.Symmetric32) quads4_symmetric32(begin, end, scratch);
      else if (kind == Kind.Chunks) quads4_chunks(begin, end, scratch);
      else quads4_any(begin, end, scratch);
    } else {
      quads8_chunks(begin, end, scratch);
    }
    return;
  }
  if (ASC_FEATURE_RELAXED_SIMD && dot == Dot.Pairs) {
    if (bits == 2) {
      if (kind == Kind.Banded16) pairs2_banded16(begin, end, scratch);
      else if (kind == Kind.Banded32) pairs2_banded32(begin, end, scratch);
      else if (kind == Kind.Chunks) pairs2_chunks(begin, end, scratch);
      else pairs2_any(begin, end, scratch);
    } else if (bits == 3) {
      if (kind == Kind.Banded16) pairs3_banded16(begin, end, scratch);
      else if (kind == Kind.Banded32) pairs3_banded32(begin, end, scratch);
      else if (kind == Kind.Chunks) pairs3_chunks(begin, end, scratch);
      else pairs3_any(begin, end, scratch);
    } else if (bits == 4) {
      if (kind == Kind.Banded16) pairs4_banded16(begin, end, scratch);
      else if (kind == Kind.Banded32) pairs4_banded32(begin, end, scratch);
      else if (kind == Kind.Symmetric32) pairs4_symmetric32(begin, end, scratch);
      else if (kind == Kind.Chunks) pairs4_chunks(begin, end, scratch);
      else pairs4_any(begin, end, scratch);
    } else {
      pairs8_chunks(begin, end, scratch);
    }
    return;
  }
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (bits == 2) wide2_any(begin, end, scratch);
    else if (bits == 3) wide3_any(begin, end, scratch);
    else if (bits == 4) wide4_any(begin, end, scratch);
    else wide8_chunks(begin, end, scratch);
    return;
  }
  if (bits == 2) {
    if (kind == Kind.Banded16) wide2_banded16(begin, end, scratch);
    else if (kind == Kind.Banded32) wide2_banded32(begin, end, scratch);
    else if (kind == Kind.Chunks) wide2_chunks(begin, end, scratch);
    else wide2_any(begin, end, scratch);
  } else if (bits == 3) {
    if (kind == Kind.Banded16) wide3_banded16(begin, end, scratch);
    else if (kind == Kind.Banded32) wide3_banded32(begin, end, scratch);
    else if (kind == Kind.Chunks) wide3_chunks(begin, end, scratch);
    else wide3_any(begin, end, scratch);
  } else if (bits == 4) {
    if (kind == Kind.Banded16) wide4_banded16(begin, end, scratch);
    else if (kind == Kind.Banded32) wide4_banded32(begin, end, scratch);
    else if (kind == Kind.Symmetric32) wide4_symmetric32(begin, end, scratch);
    else if (kind == Kind.Chunks) wide4_chunks(begin, end, scratch);
    else wide4_any(begin, end, scratch);
  } else {
    wide8_chunks(begin, end, scratch);
  }
}
