import { closeSync, openSync, writeSync } from "node:fs";
import { numberedLine } from "./arrivals.ts";

/** Lines come up to so much late, so that they do not fall into step with anybody's timer. */
const JITTER_MS = 20;

/**
 * Appends numbered lines to a file, one write() each, `linesPerSecond` of them, and returns the clock of `performance.now()` just before each
 * was written. `afterLine` may hold the next one; a line that is late does not make the ones behind it hurry.
 */
export async function writePacedLines(
  path: string,
  linesPerSecond: number,
  range: { readonly first: number; readonly count: number },
  afterLine: (sentCount: number) => Promise<void> = () => Promise.resolve(),
): Promise<number[]> {
  const intervalMs = 1_000 / linesPerSecond;
  const file = openSync(path, "a");
  const sentMs: number[] = [];
  try {
    let dueMs = performance.now();
    for (let i = 0; i < range.count; i++) {
      const line = numberedLine(range.first + i);
      sentMs.push(performance.now());
      writeSync(file, line);
      await afterLine(i + 1);
      dueMs = Math.max(dueMs, sentMs.at(-1)! - intervalMs) + intervalMs;
      await Bun.sleep(Math.max(0, dueMs + Math.random() * JITTER_MS - performance.now()));
    }
  } finally {
    closeSync(file);
  }
  return sentMs;
}
