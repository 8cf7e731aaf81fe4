import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { duration, startProgress } from "../../src/cli/progress.ts";

function display(terminal: boolean, width = 80) {
  let now = 1_000_000;
  let text = "";
  const console = { errIsTerminal: terminal, width, err: (piece: string) => void (text += piece) };
  const progress = startProgress(console, "work", () => now);
  return {
    progress,
    wait: (ms: number) => void (now += ms),
    take() {
      const taken = text;
      text = "";
      return taken;
    },
  };
}

Deno.test("Nothing is claimed before a second has passed", () => {
  for (const terminal of [false, true]) {
    const { progress, wait, take } = display(terminal);
    progress.update(0, 100);
    wait(999);
    progress.update(50, 100);
    assertEquals(take(), "");
    wait(1);
    progress.update(51, 100);
    assert(take() !== "");
  }
});

Deno.test("The time left follows from the work done since the start", () => {
  const { progress, wait, take } = display(false);
  progress.update(0, 400);
  wait(10_000);
  progress.update(100, 400, "block 3");
  assertEquals(take(), "work: 25 % in 10 s, 30 s left, block 3\n");
});

Deno.test("Work done before a resumed run does not make it look faster", () => {
  const { progress, wait, take } = display(false);
  progress.update(300, 400);
  wait(10_000);
  progress.update(310, 400);
  assertStringIncludes(take(), "1 min 30 s left");
});

Deno.test("Piped progress is a plain line every few seconds", () => {
  const { progress, wait, take } = display(false);
  progress.update(0, 100);
  for (let second = 1; second <= 20; second++) {
    wait(1000);
    progress.update(second, 100);
  }
  progress.end();
  const lines = take().split("\n").slice(0, -1);
  assert(lines.length >= 3 && lines.length <= 6, lines.join("|"));
  assert(lines.every((line) => /^work: \d+ % in [\w ]+, [\w ]+ left$/.test(line)), lines.join("|"));
});

Deno.test("On a terminal one line is redrawn, never wider than it, and cleared at the end", () => {
  const { progress, wait, take } = display(true, 40);
  progress.update(0, 100);
  wait(2000);
  progress.update(50, 100, "a very long note that does not fit into the line at all");
  const drawn = take();
  assert(drawn.startsWith("\r\x1b[2K") && !drawn.includes("\n"));
  assert(drawn.slice("\r\x1b[2K".length).length < 40);
  wait(10);
  progress.update(51, 100);
  assertEquals(take(), "", "redrawn at most ten times a second");
  progress.end();
  assertEquals(take(), "\r\x1b[2K");
});

Deno.test("Time spans read as people say them", () => {
  assertEquals([0, 59_400, 60_000, 200_000, 7_500_000].map(duration), [
    "0 s",
    "59 s",
    "1 min",
    "3 min 20 s",
    "2 h 5 min",
  ]);
});
