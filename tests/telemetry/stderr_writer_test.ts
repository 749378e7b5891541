import { afterEach, expect, test } from "bun:test";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PENDING_BYTES_MAX, StderrWriter } from "../../src/telemetry/stderr_writer.ts";
import { Fifo } from "../sink/fifo.ts";
import { tempDir } from "../support/temp_dir.ts";

const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function setup() {
  const fifo = new Fifo();
  const writer = new StderrWriter(fifo.writeFd);
  cleanups.push(() => fifo.close(), () => writer.close());
  return { fifo, writer };
}

test("stderr writer has written when it returns", () => {
  const { fifo, writer } = setup();
  writer.write("one\n");
  expect(fifo.read().toString()).toBe("one\n");
});

test("stderr writer keeps lines in order while the reader pauses, and never blocks", async () => {
  const { fifo, writer } = setup();
  const lines = Array.from({ length: 2_000 }, (_, i) => `${String(i).padStart(99, ".")}\n`);
  for (const line of lines) writer.write(line);
  const got = (await fifo.readExactly(200_000)).toString();
  expect(got).toBe(lines.join(""));
  await writer.flush(1_000);
  expect(writer.takeLostLines()).toBe(0);
});

test("stderr writer drops and counts what does not fit, and says so only when there is room again", async () => {
  const { fifo, writer } = setup();
  const line = "x".repeat(999) + "\n";
  const count = 2_000;
  for (let i = 0; i < count; i++) writer.write(line);
  expect(writer.takeLostLines()).toBe(0);
  let isFlushed = false;
  const flushed = writer.flush(4_000).then(() => isFlushed = true);
  let readBytes = 0;
  for (let part = fifo.read(); !isFlushed || part.length > 0; part = fifo.read()) {
    readBytes += part.length;
    if (part.length === 0) await Bun.sleep(1);
  }
  await flushed;
  expect(readBytes).toBeGreaterThan(PENDING_BYTES_MAX - 1_000);
  expect(readBytes).toBeLessThanOrEqual(PENDING_BYTES_MAX + 65_536);
  expect(writer.takeLostLines()).toBe(count - readBytes / 1_000);
  expect(writer.takeLostLines()).toBe(0);
});

test("stderr writer ends its flush at the deadline when nobody reads", async () => {
  const { writer } = setup();
  for (let i = 0; i < 200; i++) writer.write("x".repeat(999) + "\n");
  await writer.flush(20);
  writer.close();
  expect(writer.takeLostLines()).toBeGreaterThan(100);
});

test("stderr writer survives a reader that goes away", () => {
  const { fifo, writer } = setup();
  writer.write("one\n");
  fifo.closeReader();
  writer.write("two\n");
  writer.write("three\nfour\n");
  expect(writer.takeLostLines()).toBe(3);
});

test("stderr writer survives a reader that was never there, and a descriptor that is not open", () => {
  const { fifo } = setup();
  fifo.closeReader();
  const writer = new StderrWriter(fifo.writeFd);
  writer.write("one\n");
  expect(writer.takeLostLines()).toBe(1);
  const closed = new StderrWriter(999_999);
  closed.write("one\n");
  expect(closed.takeLostLines()).toBe(1);
});

test("stderr writer goes on after a full disk", () => {
  const fd = openSync("/dev/full", "w");
  cleanups.push(() => closeSync(fd));
  const writer = new StderrWriter(fd);
  writer.write("one\n");
  writer.write("two\n");
  expect(writer.takeLostLines()).toBe(2);
});

test("stderr writer shows no status line where there is no terminal", () => {
  using dir = tempDir("stderr");
  const fd = openSync(dir.file("err"), "w");
  cleanups.push(() => closeSync(fd));
  const writer = new StderrWriter(fd);
  expect(writer.isTerminal).toBe(false);
  writer.setStatusLine("50 %");
  writer.write("one\n");
  writer.setStatusLine(null);
  expect(readFileSync(dir.file("err"), "utf8")).toBe("one\n");
});

const child = `
  import { StderrWriter } from "${join(import.meta.dir, "../../src/telemetry/stderr_writer.ts")}";
  const writer = new StderrWriter(2);
`;

async function inTerminal(script: string): Promise<string> {
  using dir = tempDir("terminal");
  await Bun.write(dir.file("child.ts"), child + script);
  let text = "";
  const decoder = new TextDecoder();
  const made = Bun.spawn([process.execPath, dir.file("child.ts")], {
    terminal: {
      cols: 80,
      rows: 24,
      data: (_terminal, data) => void (text += decoder.decode(data, { stream: true })),
    },
  });
  await made.exited;
  made.terminal?.close();
  return text;
}

test("stderr writer keeps the status line below the log on a terminal", async () => {
  const text = await inTerminal(`
    writer.setStatusLine("50 %");
    writer.setStatusLine("50 %");
    writer.write("one\\n");
    writer.setStatusLine("60 %");
    writer.setStatusLine(null);
    writer.write("two\\n");
    process.exit(writer.isTerminal ? 0 : 1);
  `);
  expect(text).toBe("\r\x1b[K50 %\r\x1b[Kone\r\n50 %\r\x1b[K60 %\r\x1b[Ktwo\r\n");
});

test("stderr writer does not block on a socket that nobody reads", async () => {
  using dir = tempDir("socket");
  await Bun.write(
    dir.file("child.ts"),
    child + `
      import { fstatSync } from "node:fs";
      const line = "x".repeat(99_999) + "\\n";
      for (let i = 0; i < 100; i++) writer.write(line);
      await writer.flush(10);
      writer.close();
      console.log(fstatSync(2).isSocket(), writer.takeLostLines() > 50);
      process.exit(0);
    `,
  );
  // Bun gives a child a socket pair for "pipe".
  const made = Bun.spawn([process.execPath, dir.file("child.ts")], { stdout: "pipe", stderr: "pipe" });
  expect(await made.stdout.text()).toBe("true true\n");
  expect(await made.exited).toBe(0);
});
