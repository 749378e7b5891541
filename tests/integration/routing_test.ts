import { beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { seqOf, TimedWriter } from "../support/timed_lines.ts";
import { waitUntil } from "../support/wait_until.ts";

// Keys, headers and topics of events, against a real cluster.

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

const unique = (name: string) => `${name}-${crypto.randomUUID().slice(0, 8)}`;
const valuesOf = async (topic: string) => (await kafka.readTopic(topic)).map(({ value }) => String(value));

for (const buffer of ["memory", "disk"]) {
  test(
    `keys and headers arrive as the configuration makes them of each event (buffer: ${buffer})`,
    async () => {
      await using dir = tempDir("headers");
      const topic = await kafka.createTopic();
      const lines = [
        '{"id":"t1","user":"é","message":"one"}',
        '{"message":"two"}',
        '{"id":7,"message":"three"}',
      ];
      writeFileSync(dir.file("app.log"), lines.join("\n") + "\n");
      const sink =
        `key = "{{user}}:{{id}}"\nheaders = { trace = "{{id}}", env = "prod", file = "{{file}}" }\n` +
        (buffer === "disk" ? 'buffer.type = "disk"\nbuffer.max_size = "4MiB"\n' : "");
      const source = 'decoding.codec = "json"';
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, source, sink });
      const dry = await runShipper({ config, args: ["--dry-run"] });
      const headers = (id: string | null) => ({
        ...(id === null ? {} : { trace: id }),
        env: "prod",
        file: dir.file("app.log"),
      });
      expect(dry.stdout.split("\n")[0]).toBe(
        `sink=out topic=${topic} partition=by-key key="é:t1" headers=${
          JSON.stringify(headers("t1"))
        } value="one"`,
      );
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      const records = await kafka.readTopic(topic);
      expect(records.map(({ value, key }) => [String(value), String(key)])).toEqual([
        ["one", "é:t1"],
        ["two", ""],
        ["three", ""],
      ]);
      expect(
        records.map(({ headers: found }) =>
          Object.fromEntries(found.map(([name, each]) => [name, String(each)]))
        ),
      )
        .toEqual([headers("t1"), headers(null), headers("7")]);
    },
    90_000,
  );
}

test("a key with {{uuid}} is another one for each record, and spreads them", async () => {
  await using dir = tempDir("uuid");
  const topic = await kafka.createTopic({ partitions: 4 });
  const writer = new OracleWriter("uuid", "app.log");
  writer.append(dir.file("app.log"), 2_000);
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: 'key = "{{uuid}}"' });
  expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, [writer]);
  const records = await kafka.readTopic(topic);
  expect(new Set(records.map(({ key }) => String(key))).size).toBe(2_000);
  for (const each of [0, 1, 2, 3]) {
    expect(records.filter(({ partition }) => partition === each).length).toBeGreaterThan(400);
  }
}, 90_000);

describe("topics that lines name", () => {
  test(
    "are those that are allowed, whatever the lines hold; the rest is kept in the fallback topic, and counted",
    async () => {
      await using dir = tempDir("hostile");
      const name = unique("tpl");
      const [web, other, rest] = [`${name}-web`, `${name}x-other`, `${name}-rest`];
      for (const topic of [web, other, rest]) await kafka.createTopic({ name: topic });
      const wanted = [
        web,
        other,
        "__consumer_offsets",
        "__transaction_state",
        "..",
        "a/b",
        "x".repeat(300),
        "{{host}}",
      ];
      const lines = wanted.map((topic, i) => JSON.stringify({ topic, message: `m${i}` }));
      lines.push('{"message":"m8"}', "m9");
      writeFileSync(dir.file("app.log"), lines.join("\n") + "\n");
      const sink =
        `allowed_topics = ["${name}-*", "nothing"]\non_template_error = "fallback_topic"\nfallback_topic = "${rest}"`;
      const source = 'decoding.codec = "json"';
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic: "{{topic}}", source, sink });
      const exit = await runShipper({ config, args: ["--once"] });
      expect(exit.code, exit.stderr).toBe(0);
      expect(await valuesOf(web)).toEqual(["m0"]);
      expect(await valuesOf(other)).toEqual([]);
      expect(await valuesOf(rest)).toEqual(["m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"]);
      for (const reason of ["topic_not_allowed", "topic_invalid", "template_error"]) {
        expect(exit.stderr).toContain(`"reason":"${reason}"`);
      }
    },
    90_000,
  );

  test("without anything said are warned of, and are none of Kafka's own", async () => {
    await using dir = tempDir("open");
    const web = await kafka.createTopic({ name: unique("web") });
    const before = await kafka.countRecords("__consumer_offsets").catch(() => 0);
    const lines = [web, "__consumer_offsets", "__cluster_metadata"].map((t, i) =>
      JSON.stringify({ t, message: `m${i}` })
    );
    writeFileSync(dir.file("app.log"), lines.join("\n") + "\n");
    const source = 'decoding.codec = "json"';
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic: "{{t}}", source });
    const exit = await runShipper({ config, args: ["--once"] });
    expect(exit.code).toBe(1);
    expect(exit.stderr).toContain("open-topic");
    expect(exit.stderr).toContain('"reason":"topic_not_allowed"');
    expect(exit.stderr).toContain('"dropped":2');
    expect(await valuesOf(web)).toEqual(["m0"]);
    expect(await kafka.countRecords("__consumer_offsets").catch(() => 0)).toBe(before);
  }, 90_000);
});

describe("a topic that nobody makes", () => {
  for (const delivery of ["exactly_once", "at_least_once", "transactional"]) {
    test(
      `is given up after the time that was set; others go on, and a restart repeats nothing (${delivery})`,
      async () => {
        await using dir = tempDir("missing");
        const name = unique("tpl");
        await kafka.createTopic({ name: `${name}-known` });
        const lines = Array.from(
          { length: 300 },
          (_, i) => JSON.stringify({ kind: i % 3 === 0 ? "gone" : "known", message: `m${i}` }) + "\n",
        );
        writeFileSync(dir.file("app.log"), lines.join(""));
        const sink = `delivery = "${delivery}"\non_topic_missing = "drop"\ntopic_missing_timeout_ms = 500` +
          `\ntransactional_id = "${name}"`.repeat(delivery === "transactional" ? 1 : 0);
        const source = 'decoding.codec = "json"';
        const options = { bootstrap: kafka.bootstrap, topic: `${name}-{{kind}}`, source, sink };
        const config = filesToKafka(dir, options);
        const exit = await runShipper({ config, args: ["--once"] });
        expect(exit.code, exit.stderr).toBe(1);
        expect(exit.stderr).toContain(`has had no topic \\"${name}-gone\\" for 500 ms`);
        expect(exit.stderr).toContain('"dropped":100');
        const isolation = delivery === "transactional" ? { isolation: "read_committed" as const } : {};
        const known = async () =>
          (await kafka.readTopic(`${name}-known`, isolation)).map(({ value }) => String(value));
        const wanted = Array.from({ length: 300 }, (_, i) => `m${i}`).filter((_, i) => i % 3 !== 0);
        expect(await known()).toEqual(wanted);
        await kafka.createTopic({ name: `${name}-gone` });
        expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
        expect(await known()).toEqual(wanted);
        expect(await valuesOf(`${name}-gone`)).toEqual([]);
      },
      120_000,
    );
  }

  test("that is the only one is given up too, and used once somebody has made it", async () => {
    await using dir = tempDir("missing-one");
    const topic = unique("late");
    const path = dir.file("app.log");
    writeFileSync(path, "early\n");
    const sink = 'on_topic_missing = "drop"\ntopic_missing_timeout_ms = 200';
    await using shipper = startShipper({
      config: filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink }),
    });
    await waitUntil("it is given up", () => shipper.stderr.includes("has had no topic"));
    await kafka.createTopic({ name: topic });
    const arrives = async () => {
      writeFileSync(path, "late\n", { flag: "a" });
      return await kafka.countRecords(topic) > 0;
    };
    await waitUntil("what comes then arrives", arrives, { pollMs: 200 });
    expect(await valuesOf(topic)).not.toContain("early");
    expect(new Set(await valuesOf(topic))).toEqual(new Set(["late"]));
  }, 90_000);
});

for (const partitioner of ["murmur2_random", "fnv1a", "consistent", "round_robin", "least_bytes"]) {
  test(
    `1 partition becomes 8 while it runs: every line once, in order by file and partition (${partitioner})`,
    async () => {
      await using dir = tempDir("grown");
      const topic = await kafka.createTopic();
      const writers = ["a.log", "b.log"].map((name) => new OracleWriter("grown", name));
      for (const writer of writers) writer.append(dir.file(writer.file), 500);
      const key = partitioner.includes("_") && !partitioner.startsWith("murmur2")
        ? ""
        : 'key = "{{message}}"\n';
      const sink =
        `metadata_refresh_ms = 500\nbatch.max_events = 100\npartitioner = "${partitioner}"\n${key}`;
      await using shipper = startShipper({
        config: filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink }),
      });
      using load = new SteadyLoad(dir, writers, 4_000);
      await waitUntil("it works", async () => await kafka.countRecords(topic) >= 1_000);
      await kafka.addPartitions(topic, 8);
      const isUsed = async () => Object.values((await kafka.offsets(topic)).ends).every((end) => end > 0);
      await waitUntil("all partitions are used", isUsed, { pollMs: 100 });
      const count = load.stop();
      await waitUntil("everything is there", async () => await kafka.countRecords(topic) === count);
      shipper.signal("SIGTERM");
      expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, writers);
    },
    120_000,
  );
}

describe("timestamp_source", () => {
  const DAY_MS = 86_400_000;
  const source = 'decoding.codec = "json"';

  test(
    '"event" gives records the times that lines name, else that of reading; "ship", the default, that of sending',
    async () => {
      await using dir = tempDir("times");
      const startMs = Date.now() - 3 * DAY_MS;
      const writer = new TimedWriter("times", "a.log", startMs);
      writer.append(dir.file("a.log"), 500);
      const beforeMs = Date.now();
      writeFileSync(dir.file("b.log"), '{"message":"untimed"}\n');
      for (const [timestampSource, codec] of [["event", "zstd"], ["event", "none"], ["ship", "none"]]) {
        await using data = tempDir("times-data");
        const topic = await kafka.createTopic();
        const include = [dir.file("*.log")];
        const sink = `timestamp_source = "${timestampSource}"\ncompression = "${codec}"`;
        const config = filesToKafka(data, { bootstrap: kafka.bootstrap, topic, source, sink, include });
        const exit = await runShipper({ config, args: ["--once"] });
        expect(exit.code, exit.stderr).toBe(0);
        const records = await kafka.readTopic(topic);
        expect(records).toHaveLength(501);
        for (const { value, timestampMs, timestampType } of records) {
          expect(timestampType).toBe("create");
          if (timestampSource === "event" && String(value) !== "untimed") {
            expect(timestampMs).toBe(writer.timeMs(seqOf(value)));
          } else expect(timestampMs).toBeGreaterThanOrEqual(beforeMs);
        }
      }
    },
    120_000,
  );

  for (const delivery of ["exactly_once", "transactional"]) {
    test(
      `times that the topic does not take are replaced by the time of now, and counted (${delivery})`,
      async () => {
        await using dir = tempDir("redated");
        const configs = {
          "message.timestamp.before.max.ms": String(DAY_MS),
          "message.timestamp.after.max.ms": String(3_600_000),
        };
        const topic = await kafka.createTopic({ configs });
        const nowMs = Date.now();
        const times = [nowMs - 2 * DAY_MS, nowMs - DAY_MS / 2, nowMs, nowMs + DAY_MS, nowMs - 5_000];
        const line = (i: number) =>
          JSON.stringify({ message: `m${i}`, timestamp: new Date(times[i % times.length]!).toISOString() });
        writeFileSync(dir.file("a.log"), Array.from({ length: 50 }, (_, i) => line(i) + "\n").join(""));
        const sink = `timestamp_source = "event"\ndelivery = "${delivery}"` +
          (delivery === "transactional" ? `\ntransactional_id = "${topic}"` : "");
        const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, source, sink });
        const exit = await runShipper({ config, args: ["--once"] });
        expect(exit.code, exit.stderr).toBe(0);
        expect(exit.stderr).toContain("does not take the times of");
        const isolation = delivery === "transactional"
          ? "read_committed" as const
          : "read_uncommitted" as const;
        const records = await kafka.readTopic(topic, { isolation });
        expect(records.map(({ value }) => String(value))).toEqual(
          Array.from({ length: 50 }, (_, i) => `m${i}`),
        );
        for (const [i, { timestampMs }] of records.entries()) {
          const timeMs = times[i % times.length]!;
          const isTaken = timeMs >= nowMs - DAY_MS && timeMs <= nowMs + 3_600_000;
          if (isTaken) expect(timestampMs).toBe(timeMs);
          else expect(Math.abs(timestampMs - Date.now())).toBeLessThan(60_000);
        }
      },
      120_000,
    );
  }

  test("a topic with LogAppendTime takes any", async () => {
    await using dir = tempDir("append-time");
    const topic = await kafka.createTopic({ configs: { "message.timestamp.type": "LogAppendTime" } });
    writeFileSync(dir.file("a.log"), '{"message":"a","timestamp":"1971-01-01T00:00:00Z"}\n{"message":"b"}\n');
    const sink = 'timestamp_source = "event"';
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, source, sink });
    const exit = await runShipper({ config, args: ["--once"] });
    expect(exit.code).toBe(0);
    expect(exit.stderr).not.toContain("does not take the times");
    expect((await kafka.readTopic(topic)).map(({ timestampType }) => timestampType)).toEqual([
      "append",
      "append",
    ]);
  }, 90_000);
});
