import { beforeAll, describe, expect, test } from "bun:test";
import { closeSync, constants, openSync, readSync, writeFileSync, writeSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, stdinToKafka } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const MIB = 1_048_576;
/** Runs its arguments with what the shell text says of stdin. */
const shell = (redirect: string) => ["sh", "-c", `exec "$@" ${redirect}`, "sh"];

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

async function valuesOf(topic: string): Promise<string[]> {
  return (await kafka.readTopic(topic)).map((record) => String(record.value));
}

test(
  "producer | shipper: when the producer ends, all is delivered, in order, and the exit code is 0",
  async () => {
    await using dir = tempDir("pipe");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("pipe", "stdin");
    await using shipper = startShipper({
      config: stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: `compression = "zstd"` }),
      stdin: "pipe",
    });
    for (let round = 0; round < 50; round++) await shipper.writeStdin(writer.lines(2_000));
    shipper.endStdin();
    expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null, stdout: "" });
    await expectExactly(kafka, topic, [writer]);
  },
  90_000,
);

test("a slow broker blocks the pipe and not memory, and nothing is lost", async () => {
  await using dir = tempDir("slow");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic({ configs: { "retention.bytes": "-1" } });
  const writer = new OracleWriter("slow", "stdin", 2_000);
  const sink = `buffer.max_size = ${8 * MIB}\ncompression = "lz4"`;
  await using shipper = startShipper({
    config: stdinToKafka(dir, { bootstrap: proxy.address, topic, sink }),
    stdin: "pipe",
  });
  await shipper.writeStdin(writer.lines(100));
  await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
  proxy.setFault({ stall: ["request"] });

  let writtenBytes = 0;
  let isDone = false;
  const writing = (async () => {
    while (writtenBytes < 160 * MIB) {
      const text = writer.lines(1_000);
      await shipper.writeStdin(text);
      writtenBytes += text.length;
    }
    isDone = true;
  })();
  let before = -1;
  await waitUntil("the pipe is full", async () => {
    if (writtenBytes === before) return true;
    before = writtenBytes;
    await Bun.sleep(500);
    return false;
  });
  expect(isDone).toBe(false);
  // What it may hold: the buffer, 24 MiB of record batches, one read.
  expect(writtenBytes).toBeLessThan(80 * MIB);
  const rssBytes = await shipper.peakRssBytes();
  expect(rssBytes).toBeLessThan(200 * MIB);
  proxy.heal();
  await writing;
  expect(await shipper.peakRssBytes()).toBeLessThan(250 * MIB);
  shipper.endStdin();
  expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
  await expectExactly(kafka, topic, [writer]);
}, 120_000);

describe("SIGTERM while stdin is open", () => {
  test("what was read is delivered, and the exit code is 0", async () => {
    await using dir = tempDir("open");
    const topic = await kafka.createTopic();
    await using shipper = startShipper({
      config: stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic }),
      stdin: "pipe",
    });
    await shipper.writeStdin("one\ntwo\nhalf");
    await waitUntil("whole lines are there", async () => await kafka.countRecords(topic) === 2);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit(20_000)).toMatchObject({ code: 0, signal: null });
    // The half line was taken out of the pipe: it exists nowhere else.
    expect(await valuesOf(topic)).toEqual(["one", "two", "half"]);
  }, 90_000);

  /** Fills the pipe while the broker answers nothing, stops shipper, and tells what was written and what is left in the pipe. */
  async function stopWithFullPipe(topic: string, isHealed: boolean) {
    await using dir = tempDir("fifo");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const fifo = dir.file("fifo");
    Bun.spawnSync(["mkfifo", fifo]);
    // Both ends are held here, so that what shipper left in it can be read afterwards.
    const fd = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      const config = stdinToKafka(dir, {
        bootstrap: proxy.address,
        topic,
        top: `shutdown_timeout_secs = ${isHealed ? 10 : 1}`,
        sink: `buffer.max_events = 2000\nbatch.max_events = 500`,
      });
      await using shipper = startShipper({ config, wrapper: shell(`<"${fifo}"`) });
      const writer = new OracleWriter("fifo", "stdin");
      let written = writer.lines(100);
      writeSync(fd, written);
      await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
      proxy.setFault({ stall: ["request"] });
      for (let fullCount = 0; fullCount < 20;) {
        const line = writer.line();
        try {
          writeSync(fd, line); // smaller than PIPE_BUF: whole or not at all
          written += line;
          fullCount = 0;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
          fullCount++;
          await Bun.sleep(20);
        }
      }
      shipper.signal("SIGTERM");
      await shipper.waitForLog(/Stopping on SIGTERM/);
      if (isHealed) proxy.heal();
      return { exit: await shipper.waitForExit(), written, left: readAll(fd) };
    } finally {
      closeSync(fd);
    }
  }

  test("every byte that was taken out of the pipe is delivered, also when the broker was slow", async () => {
    const topic = await kafka.createTopic();
    const { exit, written, left } = await stopWithFullPipe(topic, true);
    expect(exit).toMatchObject({ code: 0, signal: null });
    const delivered = (await valuesOf(topic)).join("\n");
    expect(written.startsWith(delivered)).toBe(true);
    // A line that was torn by the end is delivered as far as it was read.
    const rest = written.slice(delivered.length);
    expect(rest.replace(/^\n/, "").length).toBe(left.length);
    expect(rest.endsWith(left)).toBe(true);
  }, 120_000);

  test("every line that was taken out of the pipe and not delivered in time is told as lost", async () => {
    const topic = await kafka.createTopic();
    const { exit, written, left } = await stopWithFullPipe(topic, false);
    expect(exit).toMatchObject({ code: 1, signal: null });
    const taken = written.slice(0, written.length - left.length);
    const takenCount = taken.split("\n").length - (taken.endsWith("\n") ? 1 : 0);
    expect(exit.stderr).toContain(`Lost up to ${takenCount - 100} events from stdin`);
  }, 120_000);
});

function readAll(fd: number): string {
  const chunks: Buffer[] = [];
  const buffer = Buffer.alloc(65_536);
  for (;;) {
    try {
      const length = readSync(fd, buffer);
      if (length === 0) break;
      chunks.push(Buffer.from(buffer.subarray(0, length)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") break;
      throw error;
    }
  }
  return Buffer.concat(chunks).toString();
}

describe("what stdin may be", () => {
  async function run(redirect: string) {
    await using dir = tempDir("stdin-kind");
    const topic = await kafka.createTopic();
    writeFileSync(dir.file("input"), "one\ntwo\n");
    const exit = await runShipper({
      config: stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic }),
      wrapper: shell(redirect.replace("FILE", dir.file("input"))),
    });
    return { exit, values: await valuesOf(topic) };
  }

  test("closed: an empty one", async () => {
    const { exit, values } = await run("<&-");
    expect(exit).toMatchObject({ code: 0, signal: null });
    expect(values).toEqual([]);
  }, 90_000);

  test("/dev/null: an empty one", async () => {
    const { exit, values } = await run("</dev/null");
    expect(exit).toMatchObject({ code: 0, signal: null });
    expect(values).toEqual([]);
  }, 90_000);

  test("a file", async () => {
    const { exit, values } = await run("<FILE");
    expect(exit).toMatchObject({ code: 0, signal: null });
    expect(values).toEqual(["one", "two"]);
  }, 90_000);

  test("a folder: told, with exit code 78", async () => {
    const { exit } = await run("</");
    expect(exit).toMatchObject({ code: 78, signal: null });
    expect(exit.stderr).toContain("EISDIR");
    expect(exit.stderr).not.toContain("Health check");
  }, 90_000);
});
