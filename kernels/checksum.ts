// XXH32 (Yann Collet's xxHash specification 0.1.1) of several spans of memory. The four accumulators of the algorithm
// are the four lanes of one vector.
import { ptr } from "./args";

const P1: u32 = 2654435761, P2: u32 = 2246822519, P3: u32 = 3266489917, P4: u32 = 668265263, P5: u32 = 374761393;

// ints: out u32 [items], spans {address, bytes} [items]. Items: spans.
export function checksum(begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const span = ptr(1) + ((<usize> i) << 3);
    store<u32>(ptr(0) + ((<usize> i) << 2), xxh32(load<u32>(span), load<u32>(span, 4)));
  }
}

function xxh32(at: usize, bytes: u32): u32 {
  const end: usize = at + bytes;
  let hash: u32 = P5;
  if (bytes >= 16) {
    let lanes = i32x4(P1 + P2, P2, 0, 0 - P1);
    for (const last = end - 16; at <= last; at += 16) {
      const mixed = i32x4.add(lanes, i32x4.mul(v128.load(at), i32x4.splat(P2)));
      lanes = i32x4.mul(v128.or(i32x4.shl(mixed, 13), i32x4.shr_u(mixed, 19)), i32x4.splat(P1));
    }
    hash = rotl<u32>(i32x4.extract_lane(lanes, 0), 1) + rotl<u32>(i32x4.extract_lane(lanes, 1), 7) +
      rotl<u32>(i32x4.extract_lane(lanes, 2), 12) + rotl<u32>(i32x4.extract_lane(lanes, 3), 18);
  }
  hash += bytes;
  for (; at + 4 <= end; at += 4) hash = rotl<u32>(hash + load<u32>(at) * P3, 17) * P4;
  for (; at < end; at++) hash = rotl<u32>(hash + load<u8>(at) * P5, 11) * P1;
  hash = (hash ^ (hash >> 15)) * P2;
  hash = (hash ^ (hash >> 13)) * P3;
  return hash ^ (hash >> 16);
}
