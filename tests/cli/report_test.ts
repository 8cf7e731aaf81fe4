// `lobit quantize --report`: the page and its numbers, and everything that is refused before the work.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { readPage } from "../report/page.ts";
import { cli, DATA, MODEL, withFolder } from "./support.ts";

/** One item of each category. */
async function fewItems(folder: string): Promise<string> {
  const lines = (await Deno.readTextFile(DATA)).trimEnd().split("\n");
  const category = (line: string) => line.split("\t").at(-2)!;
  const seen = new Map<string, number>();
  const few = lines.slice(1).filter((line) => {
    const count = seen.get(category(line)) ?? 0;
    seen.set(category(line), count + 1);
    return count < 1;
  });
  const path = `${folder}/few.tsv`;
  await Deno.writeTextFile(path, [lines[0], ...few].join("\n"));
  return path;
}

Deno.test("A report holds plan, errors, times, accuracy and answers of the run", async () => {
  await withFolder(async (folder) => {
    const data = await fewItems(folder);
    const file = `${folder}/pocket.lobit`;
    const html = `${folder}/run.html`;
    const flags = ["--bits", "3", "--threads", "2", "--report", html, "--eval", data, "--json"];
    const made = await cli(["quantize", MODEL, "-o", file, ...flags]);
    assertEquals(made.code, 0, made.err);
    const result = JSON.parse(made.out);
    assertEquals(result.report, { html, json: `${folder}/run.json` });

    const report = JSON.parse(await Deno.readTextFile(`${folder}/run.json`));
    assertEquals([report.lobitReport, report.model, report.recipe], [1, MODEL, result.recipe]);
    assertEquals(report.file, { name: file, bytes: (await Deno.stat(file)).size });
    assertEquals([report.plan.bytes, report.peakMemory], [result.bytes, result.peakMemory]);
    assertEquals(report.plan.parts, result.parts);
    assertEquals(report.machine.threads, 2);
    assertEquals(
      report.stages.map(({ part, name }: { part: string; name: string }) => `${part} ${name}`),
      ["vision rtn", "projector rtn", "language rtn"],
    );
    const [quantizing, ...others] = report.timings;
    assertEquals(others.map(({ name }: { name: string }) => name), [
      "evaluating full precision",
      "errors of the weights",
      "evaluating quantized",
    ]);
    const stages = report.stages.reduce(
      (sum: number, { seconds }: { seconds: number }) => sum + seconds,
      0,
    );
    assert(stages > 0 && stages <= quantizing.seconds);
    for (const { name, format, error } of report.plan.weights) {
      assertEquals(error !== undefined, format !== "kept", name);
      if (error !== undefined) assert(error > 0 && error < 0.5, `${name}: ${error}`);
    }

    // The same numbers as `lobit eval` gives for both.
    for (const [model, found] of [[MODEL, "before"], [file, "after"]] as const) {
      const { out } = await cli(["eval", model, data, "--json", "--items", "--threads", "2"]);
      const { items, ...scores } = JSON.parse(out);
      assertEquals(report.accuracy[found], scores);
      assertEquals(result.accuracy[found], scores.average);
      assertEquals(items.length, 8);
      const right = items.filter(({ correct }: { correct: boolean }) => correct).length;
      const { kept, lost, gained, missed } = report.accuracy.outcomes;
      assertEquals(right, kept + (found === "before" ? lost : gained));
      assertEquals(kept + lost + gained + missed, 8);
      const answers = new Set(items.map(({ answer }: { answer: string }) => answer));
      for (const sample of report.samples) assert(answers.has(sample[found].text));
    }
    assertEquals(report.samples.length, 8);
    const page = await Deno.readTextFile(html);
    readPage(page);
    assertStringIncludes(page, report.samples[0].pictures[0]);

    // A second run may replace its own report.
    const again = await cli(["quantize", MODEL, "-o", file, "--report", html]);
    assertEquals(again.code, 0, again.err);
    assertStringIncludes(again.out, "run.json");
    const second = JSON.parse(await Deno.readTextFile(`${folder}/run.json`));
    assertEquals([second.accuracy, second.samples], [undefined, []]);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
      "few.tsv",
      "pocket.lobit",
      "run.html",
      "run.json",
    ]);
  });
});

Deno.test("A report that cannot be written is refused before any work", async () => {
  await withFolder(async (folder) => {
    const file = `${folder}/pocket.lobit`;
    const out = ["-o", file];
    await Deno.writeTextFile(`${folder}/config.json`, '{"other":1}');
    await Deno.writeTextFile(`${folder}/data.html`, "index\tquestion\tanswer\n0\tq\ta\n");
    const wrong: [string[], string][] = [
      [[...out, "--eval", DATA], "--eval belongs to --report"],
      [[...out, "--eval-limit", "3"], "--eval-limit belongs to --eval"],
      [[...out, "--report", `${folder}/r.html`, "--eval-limit", "3"], "--eval-limit belongs"],
      [["--dry-run", "--report", `${folder}/r.html`], "leave --dry-run out"],
      [[...out, "--report", `${folder}/r.txt`], "ends in .html"],
      [[...out, "--report", `${folder}/no/r.html`], "no such file or folder"],
      [[...out, "--report", `${folder}/config.html`], "config.json, which goes with the report"],
      [
        ["-o", `${folder}/r.json`, "--report", `${folder}/../${folder.split("/").at(-1)}/r.html`],
        "would replace",
      ],
      [
        [...out, "--report", `${folder}/data.html`, "--eval", `${folder}/data.html`],
        "would replace",
      ],
      [[...out, "--report", `${folder}/r.html`, "--eval", `${folder}/none.tsv`], "none.tsv"],
    ];
    for (const [flags, words] of wrong) {
      const { code, out, err } = await cli(["quantize", MODEL, ...flags]);
      assert(code === 1 || code === 2, `${flags.join(" ")}: ${code} ${err}`);
      assertEquals(out, "");
      assertStringIncludes(err, words);
    }
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
      "config.json",
      "data.html",
    ]);
    assertEquals(await Deno.readTextFile(`${folder}/config.json`), '{"other":1}');
  });
});
