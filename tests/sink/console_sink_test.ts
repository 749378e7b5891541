import { afterEach, expect, test } from "bun:test";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { ConsoleSinkConfig } from "../../src/config/config.ts";
import { StartError } from "../../src/errors.ts";
import { createConsoleSink } from "../../src/sink/console_sink.ts";
import type { Log } from "../../src/telemetry/log.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { tempDir } from "../support/temp_dir.ts";
import { bufferFor, deliveryOf } from "./deliveries.ts";
import { Fifo } from "./fifo.ts";

const config: ConsoleSinkConfig = {
  type: "console",
  name: "out",
  inputs: ["app"],
  target: "stdout",
  encoding: { codec: "text", onlyFields: null, exceptFields: null, timestampFormat: "rfc3339" },
  buffer: { type: "memory", maxEvents: 1, maxSizeBytes: 1, whenFull: "block" },
  gapMarkers: false,
  healthcheck: true,
};
const never = new AbortController().signal;
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function fifo(): Fifo {
  const made = new Fifo();
  cleanups.push(() => made.close());
  return made;
}

function setup(fd: number) {
  const messages: string[] = [];
  const keep = (message: string) => void messages.push(message);
  const log: Log = { debug: keep, info: keep, warn: keep, error: keep };
  const metrics = new SinkMetrics();
  const sink = createConsoleSink({ config, metrics, log, fd, clock: { now: () => 3_000 } });
  return { sink, metrics, messages, buffer: bufferFor(metrics) };
}

function scratchFile(flags: string): { path: string; fd: number } {
  const dir = tempDir("console");
  const path = dir.file("out");
  if (flags === "r") Bun.spawnSync(["touch", path]);
  const fd = openSync(path, flags);
  cleanups.push(() => {
    closeSync(fd);
    dir.remove();
  });
  return { path, fd };
}

test("console sink writes every value and a newline, counts them and acknowledges", async () => {
  const { path, fd } = scratchFile("w");
  const { sink, metrics, buffer } = setup(fd);
  const first = deliveryOf(["one", "", "zwölf"]);
  const second = deliveryOf(["x"]);
  buffer.write(first.delivery);
  buffer.write(second.delivery);
  buffer.end();
  await sink.run(buffer, never);
  expect(readFileSync(path, "utf8")).toBe("one\n\nzwölf\nx\n");
  expect([first.outcome.status, second.outcome.status]).toEqual(["delivered", "delivered"]);
  expect(metrics.deliveredEventsCount).toBe(4);
  expect(metrics.deliveredBytesCount).toBe(10);
  expect(metrics.sentBytesCount).toBe(14);
  expect(metrics.sentBatchesCount).toBe(1);
  expect(metrics.inFlightEvents).toBe(0);
  expect(metrics.lastAckMs).toBe(3_000);
  expect(metrics.latencySeconds.sum).toBe(8);
});

test("console sink writes any values whole and in order, also larger than one write", async () => {
  const value = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.tuple(fc.constantFrom(262_142, 262_143, 262_144, 262_145, 600_000), fc.constantFrom("a", "b"))
      .map(([size, letter]) => letter.repeat(size)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(value, { maxLength: 6 }), { maxLength: 5 }), async (batches) => {
      const { path, fd } = scratchFile("w");
      const { sink, metrics, buffer } = setup(fd);
      const made = batches.map(deliveryOf);
      for (const { delivery } of made) buffer.write(delivery);
      buffer.end();
      await sink.run(buffer, never);
      expect(readFileSync(path).equals(Buffer.from(batches.flat().map((line) => line + "\n").join("")))).toBe(
        true,
      );
      expect(made.every(({ outcome }) => outcome.status === "delivered")).toBe(true);
      expect(metrics.deliveredEventsCount).toBe(batches.flat().length);
      expect(metrics.inFlightEvents).toBe(0);
    }),
    { numRuns: 40 },
  );
});

test("console sink writes more lines than one write can hold", async () => {
  const { path, fd } = scratchFile("w");
  const { sink, metrics, buffer } = setup(fd);
  buffer.write(deliveryOf(new Array<string>(40_000).fill("")).delivery);
  buffer.end();
  await sink.run(buffer, never);
  expect(readFileSync(path, "utf8")).toBe("\n".repeat(40_000));
  expect(metrics.sentBatchesCount).toBe(3);
});

test("console sink holds still while the reader does not read, and takes no more from the buffer", async () => {
  const pipe = fifo();
  const { sink, metrics, buffer } = setup(pipe.writeFd);
  const line = "x".repeat(999);
  const made = Array.from({ length: 40 }, () => deliveryOf(new Array<string>(100).fill(line)));
  for (const { delivery } of made) buffer.write(delivery);
  buffer.end();
  const run = sink.run(buffer, never);
  await Bun.sleep(50);
  expect(metrics.deliveredEventsCount).toBe(0);
  expect(metrics.inFlightEvents).toBe(300);
  expect(buffer.eventCount).toBe(3_700);
  expect(made[0]!.outcome.status).toBe(null);
  const got = await pipe.readExactly(4_000_000);
  await run;
  expect(got.equals(Buffer.from((line + "\n").repeat(4_000)))).toBe(true);
  expect(made.every(({ outcome }) => outcome.status === "delivered")).toBe(true);
});

test("console sink does not make the shared descriptor non-blocking", async () => {
  const pipe = fifo();
  const { sink, buffer } = setup(pipe.writeFd);
  buffer.write(deliveryOf(["one"]).delivery);
  buffer.end();
  await sink.run(buffer, never);
  const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${pipe.writeFd}`, "utf8"))![1]!;
  expect(parseInt(flags, 8) & 0o4000).toBe(0);
});

test("console sink acknowledges what got out before the reader went away, and nothing else", async () => {
  const pipe = fifo();
  const { sink, metrics, buffer } = setup(pipe.writeFd);
  const line = "x".repeat(999);
  const made = Array.from({ length: 6 }, () => deliveryOf(new Array<string>(50).fill(line)));
  for (const { delivery } of made) buffer.write(delivery);
  buffer.end();
  const run = sink.run(buffer, never);
  await Bun.sleep(20);
  pipe.closeReader();
  const error = await run.then(() => null, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StartError);
  expect((error as StartError).code).toBe("stdout-closed");
  expect((error as StartError).exitCode).toBe(1);
  expect((error as StartError).message).toStartWith(
    'Cannot write to the standard output for sink "out": nobody reads it any more (EPIPE)',
  );
  expect((error as StartError).message).toStartWith(`${metrics.lastError}; `);
  // The pipe took 64 KiB: the first batch whole, the second one in part.
  expect(made.map(({ outcome }) => outcome.status)).toEqual([
    "delivered",
    "errored",
    "errored",
    "errored",
    "errored",
    "errored",
  ]);
  expect(metrics.deliveredEventsCount).toBe(65);
  expect(metrics.inFlightEvents).toBe(0);
});

test("console sink gives up at once when it is killed while it waits for the reader", async () => {
  const pipe = fifo();
  const { sink, metrics, buffer } = setup(pipe.writeFd);
  const kill = new AbortController();
  const made = Array.from({ length: 10 }, () => deliveryOf(["x".repeat(100_000)]));
  for (const { delivery } of made) buffer.write(delivery);
  const run = sink.run(buffer, kill.signal);
  await Bun.sleep(10);
  kill.abort();
  await run;
  expect(made.every(({ outcome }) => outcome.status === "errored")).toBe(true);
  expect(metrics.inFlightEvents).toBe(0);
  expect(metrics.bufferedEvents).toBe(0);
});

test("console sink does nothing when it is killed before it starts", async () => {
  const { path, fd } = scratchFile("w");
  const { sink, buffer } = setup(fd);
  const { delivery, outcome } = deliveryOf(["one"]);
  buffer.write(delivery);
  await sink.run(buffer, AbortSignal.abort());
  expect(outcome.status).toBe("errored");
  expect(readFileSync(path, "utf8")).toBe("");
});

test("two console sinks on one descriptor do not tear each other's lines", async () => {
  const pipe = fifo();
  const a = setup(pipe.writeFd);
  const b = setup(pipe.writeFd);
  for (let i = 0; i < 10; i++) {
    a.buffer.write(deliveryOf(new Array<string>(10).fill("a".repeat(19_999))).delivery);
    b.buffer.write(deliveryOf(new Array<string>(10).fill("b".repeat(19_999))).delivery);
  }
  a.buffer.end();
  b.buffer.end();
  const runs = Promise.all([a.sink.run(a.buffer, never), b.sink.run(b.buffer, never)]);
  const lines = (await pipe.readExactly(4_000_000)).toString().trimEnd().split("\n");
  await runs;
  expect(lines.length).toBe(200);
  expect(lines.every((line) => /^(a{19999}|b{19999})$/.test(line))).toBe(true);
});

test("console sink's health check says that nobody reads the pipe", async () => {
  const pipe = fifo();
  const { sink } = setup(pipe.writeFd);
  expect(await sink.checkHealth(never)).toBe(null);
  pipe.closeReader();
  const failure = await sink.checkHealth(never);
  expect(failure?.code).toBe("stdout-closed");
  expect(failure?.message).toContain("nobody reads it any more (ENXIO)");
});

test("console sink's health check warns when the output is the null device", async () => {
  const fd = openSync("/dev/null", "w");
  cleanups.push(() => closeSync(fd));
  const { sink, messages } = setup(fd);
  expect(await sink.checkHealth(never)).toBe(null);
  expect(messages).toEqual(['The standard output is closed or /dev/null: what sink "out" writes is gone']);
});

test("console sink fails with a clear message on a descriptor that is not open for writing", async () => {
  const { fd } = scratchFile("r");
  const { sink, buffer } = setup(fd);
  const { delivery, outcome } = deliveryOf(["one"]);
  buffer.write(delivery);
  expect((await sink.checkHealth(never))?.message).toContain("it is not open for writing (EBADF)");
  const error = await sink.run(buffer, never).then(() => null, (thrown: unknown) => thrown);
  expect((error as StartError).message).toContain("it is not open for writing (EBADF)");
  expect(outcome.status).toBe("errored");
});

test("console sink keeps trying while the disk is full", async () => {
  const fd = openSync("/dev/full", "w");
  cleanups.push(() => closeSync(fd));
  const { sink, metrics, messages, buffer } = setup(fd);
  const { delivery, outcome } = deliveryOf(["one"]);
  buffer.write(delivery);
  const kill = new AbortController();
  const run = sink.run(buffer, kill.signal);
  while (messages.length === 0) await Bun.sleep(1);
  expect(messages).toEqual(["Cannot write to the standard output: ENOSPC; trying again every 1 s"]);
  expect(metrics.retries.values).toEqual(new Map([["ENOSPC", 1]]));
  expect(outcome.status).toBe(null);
  kill.abort();
  await run;
  expect(outcome.status).toBe("errored");
});

const child = `
  import { createConsoleSink } from "${join(import.meta.dir, "../../src/sink/console_sink.ts")}";
  import { SinkMetrics } from "${join(import.meta.dir, "../../src/telemetry/metrics.ts")}";
  import { tempDir } from "../support/temp_dir.ts";
import { bufferFor, deliveryOf } from "${join(import.meta.dir, "deliveries.ts")}";
  const metrics = new SinkMetrics();
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const sink = createConsoleSink({ config: { name: "out", target: "stdout" }, metrics, log });
  const buffer = bufferFor(metrics);
  for (let i = 0; i < 100; i++) buffer.write(deliveryOf(new Array(100).fill("x".repeat(99))).delivery);
  buffer.end();
  const code = await sink.run(buffer, new AbortController().signal).then(() => "ok", (error) => error.code);
  console.error(code, metrics.deliveredEventsCount + metrics.inFlightEvents + metrics.bufferedEvents);
`;

test("console sink writes to a child's real standard output: pipe, socket, and a reader that leaves", async () => {
  using dir = tempDir("console");
  const script = dir.file("child.ts");
  await Bun.write(script, child);
  const shell = (command: string) =>
    Bun.spawn(["sh", "-c", command, "sh", process.execPath, script], { stdout: "pipe", stderr: "pipe" });
  const cases: [string, string, RegExp][] = [
    ['"$1" "$2" | wc -c', "1000000", /^ok 10000\n$/],
    // "pipe" is a socket pair here.
    ['exec "$1" "$2"', "x".repeat(99) + "\n", /^ok 10000\n$/],
    ['"$1" "$2" | head -c 100', "x".repeat(99) + "\n", /^stdout-closed \d{3,4}\n$/],
  ];
  for (const [command, output, report] of cases) {
    const made = shell(command);
    const [stdout, stderr] = await Promise.all([made.stdout.text(), made.stderr.text()]);
    expect([command, stdout.trim()]).toEqual([
      command,
      output.length === 100 && !command.includes("|") ? output.repeat(10_000).trim() : output.trim(),
    ]);
    expect(stderr).toMatch(report);
  }
});
