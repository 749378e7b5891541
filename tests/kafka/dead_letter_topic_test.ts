import { describe, expect, test } from "bun:test";
import type { DeadLetter } from "../../src/event/dead_letters.ts";
import { decodeHeaders, HEADERS_MAX } from "../../src/event/record_headers.ts";
import { DeadLetterTopic } from "../../src/kafka/dead_letter_topic.ts";
import { letterOverheadBytes, letterRecords, readLetterRecord } from "../../src/kafka/letter_records.ts";
import { ErrorCode } from "../../src/kafka/protocol/error_codes.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { FakeKafka } from "../support/fake_kafka.ts";
import { waitUntil } from "../support/wait_until.ts";
import { KeptLog, plainSink } from "./producer_harness.ts";
import { newCluster } from "./support.ts";

const letter: DeadLetter = {
  reason: "record_too_large",
  error: "2000 bytes exceed max_message_bytes",
  stream: { id: "1:2:3", source: "app", path: "/var/log/äpp.log" },
  offset: 4_096,
  timeMs: 1_767_225_600_000,
  sink: "events",
  topic: "logs",
  key: Buffer.from("k"),
  headers: [["trace", Buffer.from([0xff, 0])], ["trace", Buffer.from("")]],
  value: Buffer.from("0123456789"),
};

const readAll = (made: DeadLetter, bytesMax = 1_000) =>
  letterRecords(made, bytesMax).map(({ headers, value }) => readLetterRecord(decodeHeaders(headers), value)!);

describe("records of a letter", () => {
  test("hold all that is known of it in headers, and come back as they were", () => {
    const { key, headers, value } = letterRecords(letter, 1_000)[0]!;
    expect(value.toString()).toBe("0123456789");
    const names = decodeHeaders(headers).map(([name, bytes]) => `${name}=${bytes.toString("latin1")}`);
    expect(names.slice(1)).toEqual([
      "shipper.time=2026-01-01T00:00:00.000Z",
      "shipper.reason=record_too_large",
      "shipper.error=2000 bytes exceed max_message_bytes",
      "shipper.sink=events",
      "shipper.topic=logs",
      "shipper.source=app",
      `shipper.file=${Buffer.from("/var/log/äpp.log").toString("latin1")}`,
      "shipper.stream=1:2:3",
      "shipper.offset=4096",
      "shipper.key=k",
      "trace=\u00ff\u0000",
      "trace=",
    ]);
    const [read] = readAll(letter);
    expect(read).toEqual({
      letter: { ...letter, id: key.toString() },
      part: 0,
      partCount: 1,
      partBytes: 10,
      checksum: "",
    });
  });

  test("are several where the value is too large for one", () => {
    const parts = readAll(letter, 4);
    expect(parts.map(({ part, partCount }) => [part, partCount])).toEqual([[0, 3], [1, 3], [2, 3]]);
    expect(parts.map(({ partBytes }) => partBytes)).toEqual([4, 4, 4]);
    expect(Buffer.concat(parts.map((each) => each.letter.value)).equals(letter.value)).toBe(true);
    expect(new Set(parts.map(({ checksum }) => checksum)).size).toBe(1);
    expect(parts[0]!.checksum).toHaveLength(64);
    const [record] = letterRecords({ ...letter, value: Buffer.alloc(5_000) }, 1_000);
    expect(record!.headers.length + record!.key.length + 61 + 10).toBeLessThan(letterOverheadBytes(letter));
  });

  test("take the event's own headers along, however many, and names like ours", () => {
    for (
      const headers of [
        Array.from({ length: HEADERS_MAX }, (_, i) => [`h${i}`, Buffer.from(`${i}`)] as const),
        [["shipper.id", Buffer.from("forged")] as const],
      ]
    ) {
      const [read] = readAll({ ...letter, headers });
      expect(read!.letter.headers).toEqual(headers.map(([name, bytes]) => [name, bytes]));
      expect(read!.letter.id).not.toBe("forged");
    }
  });

  test("that are none are told from them", () => {
    expect(readLetterRecord([], Buffer.from("x"))).toBeNull();
    const headers = decodeHeaders(letterRecords(letter, 1_000)[0]!.headers);
    for (const name of ["id", "time", "reason", "sink", "source", "stream", "offset"]) {
      expect(readLetterRecord(headers.filter((each) => each[0] !== `shipper.${name}`), letter.value))
        .toBeNull();
    }
    const odd = headers.map(([name, bytes]): [string, Buffer] => [
      name,
      name === "shipper.offset" ? Buffer.from("1e99") : bytes,
    ]);
    expect(readLetterRecord(odd, letter.value)).toBeNull();
  });
});

async function start(topics: Record<string, number>, config = {}) {
  const kafka = await FakeKafka.start(1, topics);
  const cluster = newCluster(kafka.bootstrapServers);
  const log = new KeptLog();
  const metrics = new SinkMetrics();
  const letters = new DeadLetterTopic({
    config: { ...plainSink, bootstrapServers: kafka.bootstrapServers, ...config },
    topic: "dead",
    cluster,
    metrics,
    log,
    now: Date.now,
    random: () => 0.5,
    retryMs: 10,
  });
  const safe: number[] = [];
  const put = (offset: number, value = letter.value) =>
    letters.put({ ...letter, offset, value }, () => safe.push(offset));
  const until = (count: number) => waitUntil(`${count} letters are safe`, () => safe.length >= count);
  const close = async () => {
    letters.close();
    cluster.close();
    await kafka[Symbol.asyncDispose]();
  };
  return { kafka, log, metrics, letters, safe, put, until, [Symbol.asyncDispose]: close };
}

describe("a topic of dead letters", () => {
  test("has them when they are called safe", async () => {
    await using at = await start({ dead: 3 });
    for (let i = 0; i < 200; i++) at.put(i, Buffer.from(`value ${i}`));
    await at.until(200);
    expect(at.kafka.values("dead").sort()).toEqual(
      Array.from({ length: 200 }, (_, i) => `value ${i}`).sort(),
    );
    expect(at.kafka.violations).toEqual([]);
    expect(at.metrics.deliveredEventsCount).toBe(0);
  });

  test("that is missing holds them until it is there, and says so", async () => {
    await using at = await start({}, {
      messageTimeoutMs: 50,
      retryMaxAttempts: 1,
      topicMissingTimeoutMs: 20,
    });
    at.put(1);
    const missing = 'Cannot send to topic "dead": the cluster does not know it';
    await waitUntil("it is told", () => at.metrics.lastError?.includes(missing));
    await Bun.sleep(300);
    expect(at.metrics.lastError).toContain(missing);
    expect(at.safe).toEqual([]);
    at.kafka.addTopic("dead", 1);
    await at.until(1);
  });

  test("gets what is too large for it in parts, which it may make smaller", async () => {
    await using at = await start({ dead: 1 }, { maxMessageBytes: 10_000 });
    at.kafka.refuse = ({ bytes }) =>
      bytes.length > 4_000 ? { errorCode: ErrorCode.MESSAGE_TOO_LARGE } : undefined;
    const value = Buffer.alloc(30_000, "0123456789");
    at.put(1, value);
    await at.until(1);
    at.put(2, Buffer.from("small"));
    await at.until(2);
    const values = at.kafka.values("dead");
    expect(values.at(-1)).toBe("small");
    // Some of the larger parts were taken before one was refused, perhaps; the last ones are whole.
    expect(values.join("").includes(value.toString())).toBe(true);
    expect(at.log.texts("error")).toEqual([]);
  });

  test("that takes no records at all holds them, and is told", async () => {
    await using at = await start({ dead: 1 });
    at.kafka.refuse = () => ({ errorCode: ErrorCode.INVALID_RECORD });
    at.put(1);
    await waitUntil(
      "it is told",
      () => at.log.texts("warn").some((text) => text.includes("takes no dead letters")),
    );
    expect(at.safe).toEqual([]);
    at.kafka.refuse = () => undefined;
    await at.until(1);
  });

  test("calls nothing back after it was closed", async () => {
    await using at = await start({});
    at.put(1);
    await Bun.sleep(20);
    at.letters.close();
    at.kafka.addTopic("dead", 1);
    at.put(2);
    await Bun.sleep(50);
    expect(at.safe).toEqual([]);
  });
});
