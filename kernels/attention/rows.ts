// The rows of one kv head's attention in one sequence: every query times the query heads that share the kv head,
// row = query * group + head in group, so that K and V are read once for the whole group.
// Fields of the job's arguments and of the table of sequences that all attention kernels share.

/** Words of a table entry: first query row, query count, K, V, key count, position of the first query. */
const ENTRY: usize = 24;

@unmanaged
export class Sequence {
  first: i32;
  queries: i32;
  k: usize;
  v: usize;
  keys: i32;
  position: i32;
}

// @ts-ignore: decorator
@inline
export function sequenceAt(table: usize, index: i32): Sequence {
  return changetype<Sequence>(table + <usize> index * ENTRY);
}

/** Index of a row's head among all [query, head] pairs: times the head's bytes, its place in q and out. */
// @ts-ignore: decorator
@inline
export function headIndex(first: i32, heads: i32, kvHead: i32, group: i32, row: i32): usize {
  const query = row / group;
  return <usize> (first + query) * heads + kvHead * group + (row - query * group);
}

/** How many keys a row sees. */
// @ts-ignore: decorator
@inline
export function seenBy(sequence: Sequence, causal: bool, group: i32, row: i32): i32 {
  if (!causal) return sequence.keys;
  return max(0, min(sequence.keys, sequence.position + row / group + 1));
}

/** Rows per part when `total` rows are cut evenly into parts of at most `most`, whole quads. */
// @ts-ignore: decorator
@inline
export function partRows(total: i32, most: i32): i32 {
  const parts = (total + most - 1) / most;
  return ((total + parts - 1) / parts + 3) & ~3;
}
