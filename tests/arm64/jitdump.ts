// Reads the file that V8's --perf-prof writes: machine code of every compiled function. Layout: a header whose word 2 is
// its size, then records of id, size, time; record 0 is a function: 4 + 4 + 8 x 4 bytes, its name, 0, its code.
// Source: the Linux kernel's jitdump specification, version 1.

const MAGIC = 0x4a695444;
const NAME_AT = 56;

/** Machine code of WebAssembly functions by their index in the module; of several versions the last. */
export function readWasmCode(dump: Uint8Array): Map<number, Uint8Array> {
  const view = new DataView(dump.buffer, dump.byteOffset, dump.byteLength);
  if (dump.length < 40 || view.getUint32(0, true) !== MAGIC) {
    throw new Error("The dump of machine code is not in the jitdump format of this machine.");
  }
  const found = new Map<number, Uint8Array>();
  for (let at = view.getUint32(8, true); at + 16 <= dump.length;) {
    const size = view.getUint32(at + 4, true);
    if (size < 16) break;
    if (view.getUint32(at, true) === 0) {
      const end = dump.indexOf(0, at + NAME_AT);
      const name = new TextDecoder().decode(dump.subarray(at + NAME_AT, end));
      const match = name.match(/wasm-function\[(\d+)\]-\d+-turbofan$/);
      const bytes = Number(view.getBigUint64(at + 40, true));
      if (match) found.set(Number(match[1]), dump.slice(end + 1, end + 1 + bytes));
    }
    at += size;
  }
  return found;
}
