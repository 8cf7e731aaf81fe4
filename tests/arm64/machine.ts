// An emulated arm64 machine: qemu's user mode (Debian packages) runs the arm64 Deno from npm, kept in tests/.cache.
// Cortex-A76 is the Raspberry Pi 5's core (dot products), Cortex-A72 the Pi 4's (none). Emulation says whether results
// are right and what machine code V8 makes, nothing about speed, and little about memory ordering.

/** The cores that qemu is asked for. */
export const CPUS: readonly string[] = ["cortex-a72", "cortex-a76"];
/** The last version of Deno's arm64 package on npm. */
const VERSION = "2.9.5";
const PACKAGES = "qemu-user-static libc6-arm64-cross libgcc-s1-arm64-cross libstdc++6-arm64-cross";
const LIBRARIES = "/usr/aarch64-linux-gnu";

/** The repository. */
export const ROOT: string = new URL("../../", import.meta.url).pathname;
const CACHE = `${ROOT}tests/.cache/`;

/** Runs a program and answers its standard output; throws with all output when it fails. */
export async function run(
  command: string,
  args: string[],
  { cwd = ROOT, env = {} }: { cwd?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const child = new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    signal: AbortSignal.timeout(60 * 60_000),
  });
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (code !== 0) {
    const output = `${text(stdout)}\n${text(stderr)}`.trim();
    throw new Error(`exit code ${code} of ${command} ${args.join(" ")}\n${output}`);
  }
  return text(stdout);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

async function emulator(): Promise<string> {
  for (const name of ["qemu-aarch64-static", "qemu-aarch64"]) {
    const path = await run("which", [name]).then((text) => text.trim(), () => "");
    if (path !== "" && await exists(`${LIBRARIES}/lib/ld-linux-aarch64.so.1`)) return path;
  }
  throw new Error(
    `The emulator or the C library for arm64 is missing: apt-get install -y ${PACKAGES}`,
  );
}

async function arm64Deno(): Promise<string> {
  const folder = `${CACHE}deno-arm64-${VERSION}/`;
  const path = `${folder}package/deno`;
  if (await exists(path)) return path;
  await Deno.mkdir(folder, { recursive: true });
  const spec = `@deno/linux-arm64-glibc@${VERSION}`;
  const archive = (await run("npm", ["pack", "--silent", spec], { cwd: folder })).trim();
  await run("tar", ["xzf", archive], { cwd: folder });
  await Deno.remove(folder + archive);
  return path;
}

/** Deno on an emulated core. */
export interface Machine {
  /** Runs Deno; answers what it printed, throws when it fails. Types are checked natively: pass `--no-check`. */
  deno(cpu: string, args: string[], cwd?: string): Promise<string>;
}

/** Finds the emulator, fetches the arm64 Deno if it is not there yet. */
export async function machine(): Promise<Machine> {
  const [qemu, deno] = [await emulator(), await arm64Deno()];
  // Compiled code must not be shared with the native Deno.
  const env = { DENO_DIR: `${CACHE}deno-arm64-dir` };
  return {
    deno: (cpu, args, cwd = ROOT) =>
      run("nice", ["-n", "10", qemu, "-cpu", cpu, "-L", LIBRARIES, deno, ...args], { cwd, env }),
  };
}
