// The gate: everything that has to hold before a commit lands, run by `deno task test` and by CI. It needs nothing but
// this Deno, git, npm and the npm registry. Short steps run two at a time, then the tests; what failed is shown at the
// end, and the last line holds the counts of deno test's own summary.
const root = new URL("../", import.meta.url);
const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", root))) as {
  exports: Record<string, string>;
};
const exported = Object.values(config.exports);

interface Step {
  name: string;
  args: string[];
  /** A step that takes longer than this hangs. */
  minutes: number;
  env?: Record<string, string>;
  /** Shows the output as it comes: for the step that takes long. */
  live?: boolean;
  /** Looks at the output of a step that succeeded; what it answers is a failure. */
  judge?(output: string): string | undefined;
}

interface Outcome {
  step: Step;
  failure: string | undefined;
  output: string;
}

/** What may be published besides the sources: no tests, no kernels, no build scripts. */
const PUBLISHED = /^(deno\.json|mod\.ts|README\.md|LICENSE|(src|wasm|tests\/std\/cli)\/.+)$/;

/** Compares the file list of a publish dry run with what users need. */
function judgePublish(output: string): string | undefined {
  const paths = [...output.matchAll(/^\s*file:\/\/(\S+) \([^)]*\)$/gm)]
    .map((match) => match[1]!.slice(root.pathname.length));
  const unwanted = paths.filter((path) => !PUBLISHED.test(path) || path === "wasm/build.ts");
  const needed = ["deno.json", "README.md", "LICENSE", ...exported.map((path) => path.slice(2))];
  const missing = needed.filter((path) => !paths.includes(path));
  if (unwanted.length > 0) return `would publish ${unwanted.join(", ")}`;
  if (missing.length > 0) return `would not publish ${missing.join(", ")}`;
  return undefined;
}

const types: Step = {
  name: "type check",
  // --frozen: a lock file that misses a dependency fails here instead of being changed by CI.
  args: ["check", "--frozen", "--doc", "mod.ts", "src", "wasm", "tests", "npm"],
  minutes: 10,
};
const short: Step[] = [
  { name: "lint", args: ["lint"], minutes: 5 },
  {
    name: "publish dry run",
    args: ["publish", "--dry-run", "--allow-dirty"],
    minutes: 5,
    judge: judgePublish,
  },
  { name: "format", args: ["fmt", "--check"], minutes: 5 },
  { name: "documentation", args: ["doc", "--lint", ...exported], minutes: 5 },
  { name: "kernel build", args: ["task", "kernels", "--check"], minutes: 5 },
];
const tests: Step = {
  name: "tests",
  // The type check covered code and examples already; sanitizers find what a test leaves open.
  args: [
    ...["test", "--allow-all", "--doc", "--no-check", "--frozen", "--parallel"],
    ...["--sanitize-ops", "--sanitize-resources", "mod.ts", "src", "wasm", "tests"],
  ],
  minutes: 40,
  env: { DENO_JOBS: "2" },
  live: true,
};

/** Collects a stream's text, printing whole lines as they come if asked. */
async function read(stream: ReadableStream<Uint8Array>, live: boolean): Promise<string> {
  const decoder = new TextDecoder();
  let text = "", printed = 0;
  for await (const part of stream) {
    text += decoder.decode(part, { stream: true });
    const end = text.lastIndexOf("\n");
    if (live && end >= printed) {
      console.log(text.slice(printed, end).replace(/^/gm, "  "));
      printed = end + 1;
    }
  }
  return text;
}

async function run(step: Step): Promise<Outcome> {
  const start = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: step.args,
    cwd: root,
    env: { NO_COLOR: "1", ...step.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(step.minutes * 60_000),
  }).spawn();
  const [{ code, signal }, stdout, stderr] = await Promise.all([
    child.status,
    read(child.stdout, step.live === true),
    read(child.stderr, step.live === true),
  ]);
  const output = `${stdout}\n${stderr}`.trim();
  const seconds = (performance.now() - start) / 1000;
  let failure: string | undefined;
  if (signal && seconds >= step.minutes * 60) failure = `took over ${step.minutes} minutes`;
  else if (code !== 0) failure = `exit code ${code}`;
  else failure = step.judge?.(output);
  console.log(
    `${failure ? "FAILED" : "ok"}  ${step.name} (${seconds.toFixed(1)} s)` +
      `${failure ? `: ${failure}` : ""}`,
  );
  return { step, failure, output };
}

/** Runs the steps two at a time, as many as CI has cores. */
async function runAll(steps: Step[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const waiting = [...steps];
  const lane = async () => {
    for (let step = waiting.shift(); step; step = waiting.shift()) outcomes.push(await run(step));
  };
  await Promise.all([lane(), lane()]);
  return outcomes;
}

/** The part of a failed step's output worth repeating: from deno test's error section on, or the end. */
function telling(output: string): string {
  const errors = output.lastIndexOf("\n ERRORS \n");
  if (errors >= 0) return output.slice(errors).trim();
  return output.split("\n").filter((line) => !/^(Check|Download|Initialize) /.test(line))
    .slice(-200).join("\n");
}

const start = performance.now();
console.log(`deno ${Deno.version.deno}, ${navigator.hardwareConcurrency} cores`);
const outcomes = [await run(types), ...await runAll(short), await run(tests)];
const failed = outcomes.filter(({ failure }) => failure !== undefined);
for (const { step, failure, output } of failed) {
  console.log(`\n---- ${step.name}: ${failure}\n$ deno ${step.args.join(" ")}\n${telling(output)}`);
}
const summary = outcomes.at(-1)!.output.match(
  /^(?:ok|FAILED) \| (\d+) passed.*?\| (\d+) failed(?:.*?\| (\d+) ignored)?/m,
);
const [, passed = "0", broken = "0", ignored] = summary ?? [];
console.log(`\n${((performance.now() - start) / 60_000).toFixed(1)} minutes`);
if (!summary) console.log("the tests did not finish");
console.log(
  failed.length > 0
    ? `failed steps: ${failed.map(({ step }) => step.name).join(", ")}`
    : `all ${outcomes.length} steps passed`,
);
console.log(`${passed} passed, ${broken} failed${ignored ? `, ${ignored} skipped` : ""}`);
Deno.exit(failed.length > 0 ? 1 : 0);
