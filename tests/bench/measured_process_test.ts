import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { cpuSecondsOf, measureProcess } from "../../bench/lib/measured_process.ts";
import { tempDir } from "../support/temp_dir.ts";

const MEGABYTES = 60;

/** Runs a script by the Bun that runs this test. */
function script(text: string): string[] {
  return [process.execPath, "-e", text];
}

test("wall time, CPU and peak memory are those of the program, not of its starter", async () => {
  using dir = tempDir("bench");
  // More than the program will have: the kernel counts it as the program's own.
  const ballast = Buffer.alloc(300e6, 1);
  const usage = await measureProcess(
    script(`
      const held = Buffer.alloc(${MEGABYTES}e6, 1);
      const end = performance.now() + 200;
      while (performance.now() < end);
      await Bun.sleep(100);
      process.exitCode = held[5] === 1 ? 0 : 1;
    `),
    { dir: dir.path, timeoutMs: 30_000 },
  );
  expect(ballast[1]).toBe(1);
  expect(usage.wallSeconds).toBeGreaterThan(0.3);
  expect(cpuSecondsOf(usage)).toBeGreaterThan(0.02);
  expect(cpuSecondsOf(usage)).toBeLessThan(usage.wallSeconds * 8);
  expect(usage.peakRssBytes).toBeGreaterThan(MEGABYTES * 1e6);
  expect(usage.peakRssBytes).toBeLessThan(300e6);
});

test("a program gets a file on its stdin, or nothing", async () => {
  using dir = tempDir("bench");
  writeFileSync(dir.file("input"), "from the file");
  const reader = script("if (await Bun.stdin.text() !== process.argv[1]) process.exit(1)");
  const options = { dir: dir.path, timeoutMs: 30_000 };
  await measureProcess([...reader, "from the file"], { ...options, stdinPath: dir.file("input") });
  await measureProcess([...reader, ""], options);
});

test("a program that fails is an error with its last words", async () => {
  using dir = tempDir("bench");
  const failing = measureProcess(script('console.error("no such topic"); process.exit(3)'), {
    dir: dir.path,
    timeoutMs: 30_000,
  });
  await expect(failing).rejects.toThrow(/ended with 3: no such topic/);
});

test("a program that hangs is killed", async () => {
  using dir = tempDir("bench");
  const hanging = measureProcess(["sleep", "60"], { dir: dir.path, timeoutMs: 100 });
  await expect(hanging).rejects.toThrow('"sleep 60" did not end within 100 ms: it said nothing');
});
