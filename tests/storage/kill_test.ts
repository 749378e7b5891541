import { expect, test } from "bun:test";
import { LogChangedError } from "../../src/storage/log_errors.ts";
import { readLog } from "../../src/storage/log_reader.ts";
import { tempDir } from "../support/temp_dir.ts";
import { randomNumbers } from "./simulated_files.ts";
import { EventReader } from "./support.ts";

const KILLS = 8;

for (const durability of ["machine", "process"] as const) {
  test(`A process that is killed with ${durability} leaves what it said it committed`, async () => {
    using dir = tempDir("log");
    const random = randomNumbers(durability.length);
    let kept = 0;
    for (let i = 0; i < KILLS; i++) {
      const printed = await runAndKill(dir.file("journal"), durability, 60 + random() * 200);
      expect(printed.found).toBe(kept);
      expect(printed.problems).toBe("");
      const reader = new EventReader();
      readLog(dir.file("journal"), "journal", ({ type, payload }) => reader.onFrame(type, payload));
      expect(reader.next).toBeGreaterThanOrEqual(printed.committed);
      expect(printed.committed).toBeGreaterThan(0);
      kept = reader.next;
    }
  });
}

test("Another process may read while the log is written, and sees no less than before", async () => {
  using dir = tempDir("log");
  const program = new URL("./kill_child.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, program, dir.file("journal"), "process"], { stdout: "ignore" });
  try {
    let last = 0;
    let segments = 0;
    let reads = 0;
    const endMs = performance.now() + 15_000;
    while ((segments < 8 || reads < 200) && performance.now() < endMs) {
      const reader = new EventReader();
      try {
        const found = readLog(
          dir.file("journal"),
          "journal",
          ({ type, payload }) => reader.onFrame(type, payload),
        );
        segments = found.lastSegment;
      } catch (error) {
        if (!(error instanceof LogChangedError)) throw error;
        continue;
      }
      const next = Math.max(0, reader.next);
      expect(next).toBeGreaterThanOrEqual(last);
      last = next;
      reads++;
      await Bun.sleep(1);
    }
    expect(segments).toBeGreaterThanOrEqual(8);
    expect(last).toBeGreaterThan(100);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
});

/** Kills the child some time after its first commit. */
async function runAndKill(
  dir: string,
  durability: string,
  afterMs: number,
): Promise<{ readonly found: number; readonly committed: number; readonly problems: string }> {
  const program = new URL("./kill_child.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, program, dir, durability], { stdout: "pipe" });
  let text = "";
  let timer: ReturnType<typeof setTimeout> | null = null;
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes("committed")) timer ??= setTimeout(() => child.kill("SIGKILL"), afterMs);
  }
  await child.exited;
  if (timer !== null) clearTimeout(timer);
  const lines = text.split("\n").slice(0, -1);
  const numberOf = (line: string | undefined) => Number(line?.split(" ").at(-1) ?? -1);
  return {
    found: numberOf(lines.find((line) => line.startsWith("found"))),
    committed: numberOf(lines.findLast((line) => line.startsWith("committed"))),
    problems: lines.filter((line) => line.startsWith("problem")).join(),
  };
}
