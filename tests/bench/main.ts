// `deno task bench`: every measurement behind RESULTS.md, one after the other, as Markdown on standard output. Takes about
// half an hour; nothing else should run on the machine. `--quick` takes fewer rounds.
const quick = Deno.args.includes("--quick");
const here = new URL("./", import.meta.url).pathname;

interface Part {
  title: string;
  args: string[];
}

const run = ["run", "-A", "--v8-flags=--no-liftoff"];
const parts: Part[] = [
  {
    title: "Speed of InternVL3-1B's shape and the machine's ceilings",
    args: [
      ...[...run, `${here}../../src/cli/bin.ts`, "bench", "--bits", "2", "--threads", "1,2"],
      ...["--repeat", quick ? "2" : "5", "--profile", "--markdown"],
    ],
  },
  {
    title: "Packed products beside the bare loop",
    args: [...run, `${here}packed_bench.ts`, ...(quick ? ["--quick"] : [])],
  },
  { title: "First tokens", args: ["run", "-A", `${here}first_token.ts`, quick ? "3" : "9"] },
  {
    title: "Peers",
    args: ["run", "-A", `${here}peers/main.ts`, "--rounds", quick ? "3" : "5"],
  },
];

for (const { title, args } of parts) {
  console.log(`\n## ${title}\n`);
  const { code } = await new Deno.Command(Deno.execPath(), { args }).spawn().status;
  if (code !== 0) Deno.exit(code);
}
