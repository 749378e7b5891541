import { beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { chmodSync, closeSync, mkdirSync, openSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { createServer } from "node:net";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { runShipper, type Shipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const MIB = 1_048_576;
const LONG_LINE_BYTES = 100 * MIB;
const LINE_BYTES_MAX = 262_144;
/** root may read everything: without these it is like any other user. */
const WITHOUT_RIGHTS = process.getuid?.() === 0
  ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
  : [];

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

async function valuesOf(topic: string): Promise<Buffer[]> {
  return (await kafka.readTopic(topic)).map((record) => record.value!);
}

function waitForCount(topic: string, count: number): Promise<unknown> {
  return waitUntil(`${count} records`, async () => await kafka.countRecords(topic) === count, { pollMs: 30 });
}

async function end(shipper: Shipper): Promise<string> {
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit();
  expect(exit).toMatchObject({ code: 0, signal: null });
  return exit.stderr;
}

describe("what matches the pattern and cannot be read", () => {
  test(
    "a file without the right to read it is told once, the others go on, and it is read when it may be",
    async () => {
      await using dir = tempDir("unreadable");
      const topic = await kafka.createTopic();
      const writers = ["a.log", "b.log"].map((name) => new OracleWriter("unreadable", name));
      for (const writer of writers) writer.append(dir.file(writer.file), 100);
      chmodSync(dir.file("b.log"), 0);
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
      await using shipper = startShipper({ config, wrapper: WITHOUT_RIGHTS });
      await waitForCount(topic, 100);
      await shipper.waitForLog(/b\.log.*EACCES/);
      await Bun.sleep(2_500);
      expect(shipper.stderr.match(/EACCES/g)).toHaveLength(1);
      chmodSync(dir.file("b.log"), 0o644);
      await waitForCount(topic, 200);
      await end(shipper);
      await expectExactly(kafka, topic, writers);
    },
    90_000,
  );

  test(
    "folders, FIFOs, sockets, devices and dead links are left alone, and nothing waits for them",
    async () => {
      await using dir = tempDir("kinds");
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("kinds", "z.log");
      writer.append(dir.file("z.log"), 100);
      mkdirSync(dir.file("folder.log"));
      Bun.spawnSync(["mkfifo", dir.file("fifo.log")]);
      symlinkSync("/dev/zero", dir.file("device.log"));
      symlinkSync(dir.file("nowhere"), dir.file("dead.log"));
      symlinkSync(dir.file("loop.log"), dir.file("loop.log"));
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(dir.file("socket.log"), resolve));
      try {
        const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
        expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0, signal: null });
        await using shipper = startShipper({ config });
        await shipper.waitForLog(/fifo\.log/);
        writer.append(dir.file("z.log"), 100);
        await waitForCount(topic, 200);
        const log = await end(shipper);
        for (const name of ["folder.log", "fifo.log", "device.log", "socket.log"]) {
          expect(log.match(new RegExp(`"${name}|/${name}`, "g"))?.length ?? 0).toBe(1);
        }
        await expectExactly(kafka, topic, [writer]);
      } finally {
        server.close();
      }
    },
    90_000,
  );
});

describe("bytes", () => {
  for (const codec of ["text", "raw"]) {
    test(`binary garbage and NULs pass through ${codec} untouched`, async () => {
      await using dir = tempDir("garbage");
      const topic = await kafka.createTopic();
      const lines: Buffer[] = [];
      for (let i = 0; i < 2_000; i++) {
        const line = randomBytes(i % 700);
        for (let at = line.indexOf(10); at >= 0; at = line.indexOf(10)) line[at] = 0;
        // A carriage return at the end belongs to the line's end.
        if (line.length > 0 && line[line.length - 1] === 13) line[line.length - 1] = 0;
        lines.push(line);
      }
      lines.push(Buffer.alloc(100_000));
      writeFileSync(dir.file("a.log"), Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")])));
      const config = filesToKafka(dir, {
        bootstrap: kafka.bootstrap,
        topic,
        sink: `encoding.codec = "${codec}"\ncompression = "snappy"`,
      });
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      const values = await valuesOf(topic);
      expect(values.length).toBe(lines.length);
      expect(Buffer.concat(values).equals(Buffer.concat(lines))).toBe(true);
      expect(values.map((value) => value.length)).toEqual(lines.map((line) => line.length));
    }, 90_000);
  }

  test("binary garbage becomes JSON that can be parsed, whatever it was", async () => {
    await using dir = tempDir("garbage-json");
    const topic = await kafka.createTopic();
    const garbage = randomBytes(500_000);
    writeFileSync(dir.file("a.log"), garbage);
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: `encoding.codec = "json"` });
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    const messages = (await valuesOf(topic)).map((value) =>
      (JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(value)) as { message: string }).message
    );
    const newlines = garbage.filter((byte) => byte === 10).length;
    expect(messages.length).toBe(garbage[garbage.length - 1] === 10 ? newlines : newlines + 1);
  }, 90_000);

  test(
    "CRLF, empty lines, empty files, a file of one newline, and a last line without newline under --once",
    async () => {
      await using dir = tempDir("edges");
      const topic = await kafka.createTopic();
      writeFileSync(dir.file("a.log"), "one\r\n\r\n\ntwo\rmiddle\nthree");
      writeFileSync(dir.file("b.log"), "");
      writeFileSync(dir.file("c.log"), "\n");
      writeFileSync(dir.file("d.log"), "\r\n");
      writeFileSync(dir.file("e.log"), "last\r");
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      const values = (await valuesOf(topic)).map(String).sort();
      expect(values).toEqual(["one", "", "", "two\rmiddle", "three", "", "", "last"].sort());
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      expect(await kafka.countRecords(topic)).toBe(values.length);
    },
    90_000,
  );

  for (const hasEnd of [true, false]) {
    test(
      `a line of 100 MB ${hasEnd ? "" : "without end "}is cut and named, and memory stays bounded`,
      async () => {
        await using dir = tempDir("long-line");
        const topic = await kafka.createTopic();
        const fd = openSync(dir.file("a.log"), "w");
        writeSync(fd, "before\n");
        const block = Buffer.alloc(MIB, "x");
        for (let written = 0; written < LONG_LINE_BYTES; written += block.length) writeSync(fd, block);
        if (hasEnd) writeSync(fd, "\nafter\n");
        closeSync(fd);
        const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
        await using shipper = startShipper({ config });
        await waitForCount(topic, hasEnd ? 3 : 2);
        await shipper.waitForLog(/a\.log.* was cut/);
        expect(await shipper.peakRssBytes()).toBeLessThan(128 * MIB);
        await end(shipper);
        if (!hasEnd) expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
        const lengths = (await valuesOf(topic)).map((value) => value.length);
        expect(lengths).toEqual(hasEnd ? [6, LINE_BYTES_MAX, 5] : [6, LINE_BYTES_MAX]);
      },
      120_000,
    );
  }
});

describe("many files", () => {
  test("1,000 files at once", async () => {
    await using dir = tempDir("thousand");
    const topic = await kafka.createTopic({ partitions: 3 });
    const writers = Array.from({ length: 1_000 }, (_, i) => new OracleWriter("thousand", `${i}.log`));
    for (const writer of writers) writer.append(dir.file(writer.file), 20);
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    await using shipper = startShipper({ config });
    await waitForCount(topic, 20_000);
    for (const writer of writers) writer.append(dir.file(writer.file), 5);
    await waitForCount(topic, 25_000);
    await end(shipper);
    await expectExactly(kafka, topic, writers);
  }, 120_000);

  test("500 files with a limit of 64 open files are all shipped, in turn", async () => {
    await using dir = tempDir("ulimit");
    const topic = await kafka.createTopic();
    const writers = Array.from({ length: 500 }, (_, i) => new OracleWriter("ulimit", `${i}.log`));
    for (const writer of writers) writer.append(dir.file(writer.file), 20);
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    const wrapper = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"];
    await using shipper = startShipper({ config, wrapper });
    await waitForCount(topic, 10_000);
    for (const writer of writers) writer.append(dir.file(writer.file), 5);
    await waitForCount(topic, 12_500);
    await end(shipper);
    await expectExactly(kafka, topic, writers);
  }, 120_000);
});
