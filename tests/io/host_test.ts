import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import {
  joinPath,
  kindOf,
  listFolder,
  makeFolder,
  openFile,
  readFile,
  readTextFile,
  writeAside,
  writeFile,
} from "../../src/io/host.ts";

async function withFolder(work: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a file appears under its name only when it is committed", () =>
  withFolder(async (folder) => {
    const path = joinPath(folder, "out.bin");
    await Deno.writeTextFile(path, "old");
    const file = writeAside(path);
    await file.write(new TextEncoder().encode("brand "));
    await file.write(new TextEncoder().encode("new"));
    await file.overwrite(0, new TextEncoder().encode("B"));
    assertEquals(readTextFile(path), "old");
    assertEquals(listFolder(folder), ["out.bin", "out.bin.partial"]);
    file.commit();
    file.abort();
    assertEquals(readTextFile(path), "Brand new");
    assertEquals(listFolder(folder), ["out.bin"]);
    await assertRejects(() => file.write(new Uint8Array(1)), LobitError, "finished already");
    assertThrows(() => file.commit(), LobitError, "finished already");
  }));

Deno.test("an aborted file leaves the older one and nothing else", () =>
  withFolder(async (folder) => {
    const path = joinPath(folder, "out.bin");
    await writeFile(path, "old");
    const file = writeAside(path);
    await file.write(new Uint8Array(1000));
    await assertRejects(() => file.overwrite(999, new Uint8Array(2)), LobitError);
    file.abort();
    assertEquals(readTextFile(path), "old");
    assertEquals(listFolder(folder), ["out.bin"]);
  }));

Deno.test({
  name: "a full disk ends in an error that says so, and in no file",
  ignore: Deno.build.os !== "linux", // needs /dev/full
  fn: () =>
    withFolder(async (folder) => {
      const path = joinPath(folder, "out.bin");
      await Deno.symlink("/dev/full", `${path}.partial`);
      const file = writeAside(path);
      await assertRejects(() => file.write(new Uint8Array(10)), LobitError, "the disk is full");
      assertEquals(listFolder(folder), []);
    }),
});

Deno.test("what cannot be read or written is told plainly, with the path", () =>
  withFolder(async (folder) => {
    const missing = joinPath(folder, "missing");
    await writeFile(joinPath(folder, "file"), "12345");
    assertThrows(() => openFile(missing), LobitError, `${missing}: there is no such file`);
    assertThrows(() => openFile(folder), LobitError, "expected a file, found a folder");
    assertThrows(
      () => openFile(joinPath(folder, "file", "x")),
      LobitError,
      "is a file, not a folder",
    );
    assertThrows(() => openFile("/dev/zero"), LobitError, "pipe or device");
    assertThrows(() => listFolder(missing), LobitError, "there is no such");
    assertThrows(() => writeAside(joinPath(missing, "out")), LobitError, "there is no such");
    assertThrows(() => readFile(joinPath(folder, "file"), 4), LobitError, "at most 4");
    assertEquals(kindOf(missing), "none");
    assertEquals(kindOf(folder), "folder");
    assertEquals(kindOf(joinPath(folder, "file")), "file");
    assertEquals(kindOf("/dev/zero"), "other");
    makeFolder(joinPath(folder, "a", "b"));
    makeFolder(joinPath(folder, "a", "b"));
    assertEquals(kindOf(joinPath(folder, "a", "b")), "folder");
  }));

Deno.test("a file that shrinks while it is read, or is closed, is an error", () =>
  withFolder(async (folder) => {
    const path = joinPath(folder, "file");
    await writeFile(path, "12345678");
    const source = openFile(path);
    await Deno.truncate(path, 4);
    await assertRejects(() => source.read(0, new Uint8Array(8)), LobitError, "became shorter");
    source.close();
    await assertRejects(() => source.read(0, new Uint8Array(1)), LobitError, "closed");
  }));

Deno.test("an absolute path given beside a folder stands for itself", () => {
  assertEquals(joinPath("a", "b/c"), "a/b/c");
  assertEquals(joinPath("a", "/b/c"), "/b/c");
});

/** Runs a program that imports host.ts under the given permissions; gives what it printed. */
async function runRestricted(permissions: string[], program: string): Promise<string> {
  const host = new URL("../../src/io/host.ts", import.meta.url).href;
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      script,
      `import * as host from ${JSON.stringify(host)};\n` +
        `const tell = async (work: () => unknown) => {\n` +
        `  try { console.log(await work()); } catch (e) { console.log(String(e)); }\n};\n${program}`,
    );
    const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-check", "--no-config", ...permissions, script],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(script);
  }
}

Deno.test("leave to read one folder is enough, and missing leave is named", () =>
  withFolder(async (folder) => {
    await writeFile(joinPath(folder, "a.txt"), "content");
    const read = await runRestricted(
      [`--allow-read=${folder}`],
      `
      await tell(() => host.readTextFile(${JSON.stringify(`${folder}/a.txt`)}));
      await tell(() => host.kindOf(${JSON.stringify(`${folder}/b.txt`)}));
      await tell(() => host.listFolder(${JSON.stringify(folder)}));
      await tell(() => host.readTextFile("/etc/hostname"));
      await tell(() => host.writeFile(${JSON.stringify(`${folder}/c.txt`)}, "x"));
      `,
    );
    const [content, kind, list, refused, unwritten] = read.trim().split("\n");
    assertEquals([content, kind, list], ["content", "none", '[ "a.txt" ]']);
    assertStringIncludes(
      refused!,
      "LobitError: /etc/hostname: Deno was started without leave to read",
    );
    assertStringIncludes(refused!, "--allow-read=/etc/hostname");
    assertStringIncludes(unwritten!, `--allow-write=${folder}`);
    assertEquals(listFolder(folder), ["a.txt"]);
  }));

Deno.test("leave to write one path alone makes that file but never risks an older one", () =>
  withFolder(async (folder) => {
    const path = joinPath(folder, "out.lobit");
    const written = await runRestricted(
      [`--allow-write=${path}`],
      `
      await tell(() => host.writeFile(${JSON.stringify(path)}, "first"));
      await tell(() => host.writeFile(${JSON.stringify(path)}, "second"));
      `,
    );
    assertEquals(readTextFile(path), "first");
    assertStringIncludes(written, `add --allow-write=${folder}`);
    await Deno.remove(path);
    await runRestricted(
      [`--allow-write=${path}`],
      `
      const file = host.writeAside(${JSON.stringify(path)});
      await file.write(new Uint8Array(10));
      file.abort();
      `,
    );
    assertEquals(listFolder(folder), []);
  }));
