import { beforeAll, expect, test } from "bun:test";
import { appendFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { bufferDir } from "../../src/disk_buffers.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleChecker, OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { filesToKafka, stdinToKafka } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const MARKER = '{"shipper_gap":';

interface Marker {
  readonly source?: string;
  readonly file?: string;
  readonly cause: string;
  readonly events?: number;
  readonly bytes?: number;
  readonly from_offset?: number;
  readonly to_offset?: number;
  readonly first: string;
  readonly last: string;
  readonly sink: string;
}

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** What a topic holds: markers, and the values of everything else. */
async function contentOf(topic: string): Promise<{ markers: Marker[]; values: string[] }> {
  const records = await kafka.readTopic(topic);
  const values = records.map(({ value }) => String(value));
  const isMarker = (value: string) => value.startsWith(MARKER);
  for (const { key, value } of records) if (isMarker(String(value))) expect(key).toBeNull();
  return {
    markers: values.filter(isMarker).map((value) => JSON.parse(value).shipper_gap),
    values: values.filter((value) => !isMarker(value)),
  };
}

const sum = (numbers: readonly (number | undefined)[]) => numbers.reduce<number>((a, b) => a + (b ?? 0), 0);

/** The counter of the last line of the log. */
function droppedBy(stderr: string): number {
  return Number(/"message":"Stopped","delivered":\d+,"dropped":(\d+)/.exec(stderr)![1]);
}

test(
  "drop_newest with a broker that stands still: markers and delivered events are all that was written",
  async () => {
    await using dir = tempDir("gaps-full");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic({ partitions: 3 });
    const sink = `gap_markers = true\nbuffer.max_events = 1000\nbuffer.when_full = "drop_newest"\n` +
      `batch.max_events = 200\nretry.max_interval_ms = 300`;
    await using shipper = startShipper({
      config: stdinToKafka(dir, { bootstrap: proxy.address, topic, sink }),
      stdin: "pipe",
    });
    const writer = new OracleWriter("gaps", "stdin");
    await shipper.writeStdin(writer.lines(100));
    await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
    let gapCount = 0;
    for (let round = 0; round < 2; round++) {
      proxy.setFault({ stall: ["request"] });
      for (let i = 0; i < 20; i++) {
        await shipper.writeStdin(writer.lines(1_000));
        await Bun.sleep(20);
      }
      await shipper.waitForLog(/new events of source/);
      // Longer than it takes to tell a gap: there is no room for it.
      await Bun.sleep(1_200);
      proxy.heal();
      await waitUntil("the gap is told", async () => (await contentOf(topic)).markers.length > gapCount);
      gapCount = (await contentOf(topic)).markers.length;
    }
    await shipper.writeStdin(writer.lines(10));
    shipper.endStdin();
    const exit = await shipper.waitForExit();
    expect(exit).toMatchObject({ code: 0, signal: null });
    const { markers, values } = await contentOf(topic);
    const dropped = droppedBy(exit.stderr);
    expect(dropped).toBeGreaterThan(10_000);
    expect(sum(markers.map(({ events }) => events))).toBe(dropped);
    expect(values.length + dropped).toBe(writer.count);
    expect(new Set(values).size).toBe(values.length);
    // Joined while it lasts, not one for each chunk.
    expect(markers.length).toBeLessThan(10);
    for (const marker of markers) {
      expect(marker).toMatchObject({ source: "in", cause: "buffer_full", sink: "out" });
      expect(marker.file).toBeUndefined();
      expect(Date.parse(marker.first)).toBeLessThanOrEqual(Date.parse(marker.last));
      expect(marker.from_offset).toBeLessThan(marker.to_offset!);
    }
  },
  120_000,
);

test(
  "a disk buffer that drops its oldest: markers and delivered events are all that was written",
  async () => {
    await using dir = tempDir("gaps-disk");
    await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
    const topic = await kafka.createTopic();
    const sink = `gap_markers = true\nbuffer.type = "disk"\nbuffer.max_size = "8MiB"\n` +
      `buffer.when_full = "drop_oldest"\nretry.max_interval_ms = 300`;
    await using shipper = startShipper({
      config: stdinToKafka(dir, { bootstrap: proxy.address, topic, sink }),
      stdin: "pipe",
    });
    const writer = new OracleWriter("gaps", "stdin", 2_000);
    await shipper.writeStdin(writer.lines(100));
    await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
    proxy.setFault({ stall: ["request"] });
    while (!shipper.stderr.includes("oldest events are dropped") && writer.count < 200_000) {
      await shipper.writeStdin(writer.lines(500));
    }
    proxy.heal();
    shipper.endStdin();
    const exit = await shipper.waitForExit();
    expect(exit).toMatchObject({ code: 0, signal: null });
    const { markers, values } = await contentOf(topic);
    const dropped = droppedBy(exit.stderr);
    expect(dropped).toBeGreaterThan(100);
    expect(sum(markers.map(({ events }) => events))).toBe(dropped);
    expect(new Set(values).size + dropped).toBe(writer.count);
  },
  120_000,
);

test("a disk buffer whose folder is gone: what was in it is told by the next run", async () => {
  await using dir = tempDir("gaps-gone");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic();
  const sink = `gap_markers = true\nbuffer.type = "disk"\nbuffer.max_size = "8MiB"`;
  const top = "shutdown_timeout_secs = 1";
  const config = stdinToKafka(dir, { bootstrap: proxy.address, topic, sink, top });
  {
    await using shipper = startShipper({ config, stdin: "pipe" });
    await shipper.writeStdin("one\n");
    await waitUntil("it ships", async () => await kafka.countRecords(topic) === 1);
    proxy.setFault({ stall: ["request"] });
    const writer = new OracleWriter("gone", "stdin");
    await shipper.writeStdin(writer.lines(5_000));
    // The journal learns of what is in the buffer once a second.
    await Bun.sleep(2_500);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
  }
  rmSync(bufferDir(dir.file("data"), "out"), { recursive: true });
  proxy.heal();
  const exit = await runShipper({ config, stdin: "" });
  expect(exit).toMatchObject({ code: 1, signal: null });
  const lost = Number(/"message":"Lost (\d+) events of batches or of the disk buffer/.exec(exit.stderr)![1]);
  const { markers } = await contentOf(topic);
  expect(lost).toBeGreaterThan(0);
  expect(sum(markers.map(({ events }) => events))).toBe(lost);
  for (const { cause } of markers) expect(["buffer_gone", "source_gone"]).toContain(cause);
}, 120_000);

test("--once waits for what may still be refused, and tells it with its place in the file", async () => {
  await using dir = tempDir("gaps-once");
  const topic = await kafka.createTopic();
  const lines = ["one", "x".repeat(5_000), "three", "y".repeat(6_000), "z".repeat(6_000)];
  writeFileSync(dir.file("a.log"), lines.join("\n") + "\n");
  const sink = "gap_markers = true\nmax_message_bytes = 2000";
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
  const exit = await runShipper({ config, args: ["--once"] });
  // Something was dropped, which --once is not content with.
  expect(exit).toMatchObject({ code: 1, signal: null });
  const { markers, values } = await contentOf(topic);
  expect(values).toEqual(["one", "three"]);
  expect(markers).toEqual([expect.objectContaining({
    source: "in",
    file: dir.file("a.log"),
    cause: "record_too_large",
    events: 3,
    from_offset: 4,
    to_offset: lines.join("\n").length + 1,
  })]);
  expect(exit.stderr).toContain('"dropped":3');
}, 90_000);

test("an event without a topic is told in the topic of the markers", async () => {
  await using dir = tempDir("gaps-topic");
  const topic = await kafka.createTopic();
  const other = await kafka.createTopic();
  writeFileSync(dir.file("a.log"), `{"to":"${topic}","message":"good"}\n{"message":"nowhere"}\n`);
  const sink = `gap_markers = true\ngap_markers_topic = "${other}"`;
  const config = filesToKafka(dir, {
    bootstrap: kafka.bootstrap,
    topic: "{{to}}",
    sink,
    source: 'decoding.codec = "json"',
  });
  expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 1 });
  expect(await contentOf(topic)).toEqual({ markers: [], values: ["good"] });
  const { markers, values } = await contentOf(other);
  expect(values).toEqual([]);
  expect(markers).toEqual([expect.objectContaining({ cause: "template_error", events: 1 })]);
}, 90_000);

test("a file that was truncated before it was read: the bytes that are lost are told", async () => {
  await using dir = tempDir("gaps-truncated");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic();
  const sink =
    "gap_markers = true\nbuffer.max_events = 100\nbatch.max_events = 50\nretry.max_interval_ms = 300";
  const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink });
  writeFileSync(dir.file("a.log"), "first\n");
  await using shipper = startShipper({ config });
  await waitUntil("it ships", async () => await kafka.countRecords(topic) === 1);
  proxy.setFault({ stall: ["request"] });
  appendFileSync(dir.file("a.log"), "a line that nobody reads\n".repeat(100_000));
  await Bun.sleep(500);
  truncateSync(dir.file("a.log"), 0);
  proxy.heal();
  const [, bytes] = await shipper.waitForLog(/Lost at least (\d+) bytes of/);
  await waitUntil("it is told", async () => (await contentOf(topic)).markers.length > 0);
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 1, signal: null });
  const { markers } = await contentOf(topic);
  expect(markers).toEqual([
    expect.objectContaining({ file: dir.file("a.log"), cause: "truncated_unread", bytes: Number(bytes) }),
  ]);
}, 120_000);

test("kill -9 while a marker is on its way: the marker may be gone, every line is there once", async () => {
  await using dir = tempDir("gaps-kill");
  await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
  const topic = await kafka.createTopic();
  const sink =
    "gap_markers = true\nmax_message_bytes = 100000\nbatch.timeout_ms = 1500\nretry.max_interval_ms = 300";
  const config = filesToKafka(dir, { bootstrap: proxy.address, topic, sink });
  const writer = new OracleWriter("kill", "a.log");
  writer.append(dir.file("a.log"), 100);
  {
    await using shipper = startShipper({ config });
    await waitUntil("it ships", async () => await kafka.countRecords(topic) === 100);
    appendFileSync(dir.file("a.log"), "x".repeat(150_000) + "\n");
    await shipper.waitForLog(/dropped and counted/);
    proxy.setFault({ stall: ["request"] });
    // The marker comes to the partition while a batch of lines is open, which is then written down and sent.
    for (let i = 0; i < 25; i++) {
      writer.append(dir.file("a.log"), 10);
      await Bun.sleep(100);
    }
    await shipper.kill();
  }
  proxy.heal();
  const exit = await runShipper({ config, args: ["--once"] });
  expect(exit).toMatchObject({ code: 0, signal: null });
  expect(exit.stderr).not.toMatch(/"level":"error"/);
  const { values } = await contentOf(topic);
  const checker = new OracleChecker(writer.run, [writer]);
  for (const value of values) checker.take(0, value);
  checker.assertComplete();
}, 120_000);

test("the console gets them as lines, and nothing is told without the option", async () => {
  await using dir = tempDir("gaps-console");
  const config = (more: string) =>
    `data_dir = "${dir.file("data")}"
[sources.in]
type = "stdin"
[sinks.out]
type = "console"
inputs = ["in"]
buffer.max_events = 10
buffer.when_full = "drop_newest"
${more}`;
  const stdin = "line\n".repeat(50_000);
  for (const isOn of [true, false]) {
    const exit = await runShipper({ config: config(isOn ? "gap_markers = true" : ""), stdin });
    expect(exit.code).toBe(0);
    const lines = exit.stdout.trimEnd().split("\n");
    const markers = lines.filter((line) => line.startsWith(MARKER)).map((line) =>
      JSON.parse(line).shipper_gap
    );
    const dropped = droppedBy(exit.stderr);
    expect(dropped).toBeGreaterThan(0);
    expect(sum(markers.map(({ events }) => events))).toBe(isOn ? dropped : 0);
    expect(lines.length - markers.length + dropped).toBe(50_000);
  }
}, 90_000);
