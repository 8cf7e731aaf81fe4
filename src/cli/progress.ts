// Progress of long work on standard error: one line redrawn on a terminal, a plain line every few seconds otherwise. The
// time left comes from the units of work done since the start; nothing is claimed before a second has passed.
import type { Progress as RunProgress, StageProgress } from "../recipe/run.ts";
import type { Console } from "./console.ts";

const QUIET_MS = 1000;
const REDRAW_MS = 100;
const LINE_MS = 5000;
const BAR = 24;

/** A running display. */
export interface Progress {
  /** Says how far the work is, first before any of it is done; `note` is what is being worked on. */
  update(done: number, total: number, note?: string): void;
  /** Clears the terminal's line. */
  end(): void;
}

/** Starts a display; `now` gives milliseconds. */
export function startProgress(
  console: Pick<Console, "err" | "errIsTerminal" | "width">,
  label: string,
  now: () => number = () => performance.now(),
): Progress {
  const start = now();
  let shown = start;
  let before: number | undefined;
  let drawn = false;
  return {
    update(done, total, note = "") {
      const at = now();
      // What was done when the display started, e.g. by a run that is resumed, says nothing about the rate.
      before ??= done;
      const elapsed = at - start;
      const finished = done >= total;
      if (elapsed < QUIET_MS) return;
      const gap = console.errIsTerminal ? REDRAW_MS : shown === start ? 0 : LINE_MS;
      if (at - shown < gap && !finished) return;
      shown = at;
      const share = total > 0 ? Math.min(1, done / total) : 1;
      const percent = `${Math.floor(100 * share)} %`;
      const rate = (done - before) / elapsed;
      const left = rate > 0 && !finished ? `, ${duration((total - done) / rate)} left` : "";
      if (!console.errIsTerminal) {
        console.err(`${label}: ${percent} in ${duration(elapsed)}${left}${note && `, ${note}`}\n`);
        return;
      }
      const filled = Math.round(BAR * share);
      const bar = "█".repeat(filled) + "░".repeat(BAR - filled);
      const line = `${label} ${bar} ${percent.padStart(5)}${left}  ${note}`;
      console.err(`\r\x1b[2K${line.slice(0, Math.max(20, console.width - 1))}`);
      drawn = true;
    },
    end() {
      if (drawn) console.err("\r\x1b[2K");
      drawn = false;
    },
  };
}

/**
 * A display that begins anew with every stage of a run, for each has a pace of its own; it starts as `first`.
 *
 * @param label of a stage, by its place and name.
 */
export function startStages(
  console: Pick<Console, "err" | "errIsTerminal" | "width">,
  first: string,
  label: (at: StageProgress, stage: string) => string,
): { update(progress: RunProgress, note: string): void; end(): void } {
  let display = startProgress(console, first);
  let place = 0;
  return {
    update({ stage, at, step }, note) {
      if (at.place !== place) {
        display.end();
        display = startProgress(console, label(at, stage));
        place = at.place;
      }
      const { done, total } = step ? { done: step.step, total: step.steps } : at;
      display.update(done, total, note);
    },
    end: () => display.end(),
  };
}

/** A time span for people: `8 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}
