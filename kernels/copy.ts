// Copies rows of bytes: new keys and values into a cache.
import { int, ptr } from "./args";

// ints: destination, source, bytes per row. Items: rows.
export function copy_rows(begin: i32, end: i32): void {
  const bytes = <usize> int(2), at = <usize> begin * bytes;
  memory.copy(ptr(0) + at, ptr(1) + at, <usize> (end - begin) * bytes);
}
