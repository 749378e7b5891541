import { beforeAll, describe, expect, test } from "bun:test";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { runShipper, type Shipper, startShipper } from "../support/shipper.ts";
import { storedPosition } from "../support/stored_position.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";
import { parseExposition, valueOf } from "../telemetry/exposition_parser.ts";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

const API = 'api.address = "127.0.0.1:0"';

async function page(shipper: Shipper, path: string): Promise<{ status: number; text: string }> {
  const [, address] = await shipper.waitForLog(/Listening on (127\.0\.0\.1:\d+)/);
  const response = await fetch(`http://${address}${path}`);
  return { status: response.status, text: await response.text() };
}

/** A figure of /metrics. */
async function figure(shipper: Shipper, name: string, labels: Record<string, string>): Promise<number> {
  const families = parseExposition((await page(shipper, "/metrics")).text);
  return valueOf(families, name, labels);
}

const kafkaSink = (name: string, inputs: string[], bootstrap: string, topic: string, more = "") =>
  `[sinks.${name}]
type = "kafka"
inputs = ${JSON.stringify(inputs)}
bootstrap_servers = "${bootstrap}"
topic = "${topic}"
${more}
`;

describe("two sources, two sinks", () => {
  test(
    "one sink stands still: the other goes on, figures tell it, and nothing is lost when it comes back",
    async () => {
      await using dir = tempDir("stalled");
      await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
      const [fast, slow] = [await kafka.createTopic(), await kafka.createTopic({ partitions: 2 })];
      const writers = ["a", "b"].map((name) => new OracleWriter("stalled", `${name}.log`));
      const source = (name: string) =>
        `[sources.${name}]\ntype = "file"\ninclude = [${JSON.stringify(dir.file(`${name}.log`))}]\n`;
      const config = `data_dir = ${JSON.stringify(dir.file("data"))}\n${API}\n${source("a")}${source("b")}` +
        kafkaSink("fast", ["a", "b"], kafka.bootstrap, fast, "buffer.max_events = 500") +
        kafkaSink("slow", ["b"], proxy.address, slow, "buffer.max_events = 500\nbatch.max_events = 100");
      for (const writer of writers) writer.append(dir.file(writer.file), 1_000);
      await using shipper = startShipper({ config });
      await waitUntil(
        "both work",
        async () => await kafka.countRecords(fast) === 2_000 && await kafka.countRecords(slow) === 1_000,
      );
      proxy.setFault({ stall: ["request"] });
      for (const writer of writers) {
        writer.append(dir.file(writer.file), 20_000);
      }
      const delivered = (sink: string) => figure(shipper, "shipper_sink_delivered_events_total", { sink });
      await waitUntil("the fast sink has everything", async () => await delivered("fast") === 42_000);

      const labels = (sink: string) => ({ sink });
      expect((await page(shipper, "/health")).status).toBe(200);
      expect(await kafka.countRecords(fast)).toBe(42_000);
      expect(await delivered("slow")).toBe(1_000);
      const families = parseExposition((await page(shipper, "/metrics")).text);
      const slowly = (name: string) => valueOf(families, name, labels("slow"));
      const waiting = slowly("shipper_buffer_events") + slowly("shipper_sink_in_flight_events");
      expect(waiting).toBeGreaterThan(100);
      expect(slowly("shipper_sink_events_in_total")).toBe(1_000 + waiting);
      expect(slowly("shipper_buffer_events")).toBeLessThanOrEqual(500);

      proxy.heal();
      await waitUntil("the slow sink has everything", async () => await kafka.countRecords(slow) === 21_000);
      shipper.signal("SIGTERM");
      expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
      await expectExactly(kafka, fast, writers);
      await expectExactly(kafka, slow, [writers[1]!]);
    },
    120_000,
  );

  test("a sink whose broker is not there does not hold the other, and its positions stay", async () => {
    await using dir = tempDir("absent");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("absent", "a.log");
    writer.append(dir.file("a.log"), 3_000);
    const head = `data_dir = ${
      JSON.stringify(dir.file("data"))
    }\nshutdown_timeout_secs = 0.2\n[sources.in]\ntype = "file"\ninclude = [${
      JSON.stringify(dir.file("*.log"))
    }]\n`;
    const good = kafkaSink("good", ["in"], kafka.bootstrap, topic);
    await using shipper = startShipper({
      config: head + good + kafkaSink("absent", ["in"], "127.0.0.1:1", topic),
    });
    await waitUntil("the good one has everything", async () => await kafka.countRecords(topic) === 3_000);
    shipper.signal("SIGTERM");
    const exit = await shipper.waitForExit();
    expect(exit.code).toBe(0);
    expect(exit.stderr).toContain("the next run reads them from their files again");
    const again = await kafka.createTopic();
    const config = head + good + kafkaSink("absent", ["in"], kafka.bootstrap, again);
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    await expectExactly(kafka, topic, [writer]);
    await expectExactly(kafka, again, [writer]);
  }, 90_000);

  test("several --config files are one configuration", async () => {
    await using dir = tempDir("merged");
    const topics = [await kafka.createTopic(), await kafka.createTopic()];
    const writers = ["a", "b"].map((name) => new OracleWriter("merged", `${name}.log`));
    for (const writer of writers) writer.append(dir.file(writer.file), 200);
    const parts = [
      `data_dir = ${JSON.stringify(dir.file("data"))}\n`,
      ...["a", "b"].map((name) =>
        `[sources.${name}]\ntype = "file"\ninclude = [${JSON.stringify(dir.file(`${name}.log`))}]\n`
      ),
      kafkaSink("all", ["a", "b"], kafka.bootstrap, topics[0]!),
      kafkaSink("only_b", ["b"], kafka.bootstrap, topics[1]!),
    ];
    const args = parts.flatMap((text, i) => {
      const path = dir.file(`part-${i}.toml`);
      writeFileSync(path, text);
      return ["--config", path];
    });
    expect(await runShipper({ args: [...args, "--once"] })).toMatchObject({ code: 0 });
    await expectExactly(kafka, topics[0]!, writers);
    await expectExactly(kafka, topics[1]!, [writers[1]!]);

    const twice = dir.file("twice.toml");
    writeFileSync(twice, parts[4]!);
    const refused = await runShipper({ args: [...args, "--config", twice, "--once"] });
    expect(refused.code).toBe(78);
    expect(refused.stderr).toContain("only_b");
  }, 90_000);
});

describe("drop_newest", () => {
  test(
    "with a broker that stands still: what arrives and what is counted make up what was written",
    async () => {
      await using dir = tempDir("drop");
      await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
      const topic = await kafka.createTopic();
      const config = filesToKafka(dir, {
        bootstrap: proxy.address,
        topic,
        top: API,
        sink: 'buffer = { max_events = 200, when_full = "drop_newest" }\nbatch.max_events = 50',
      });
      writeFileSync(dir.file("app.log"), "line 0\n");
      await using shipper = startShipper({ config });
      await waitUntil("it works", async () => await kafka.countRecords(topic) === 1);
      proxy.setFault({ stall: ["request"] });
      const count = 20_000;
      for (let i = 1; i < count; i += 1_000) {
        const lines = Array.from({ length: Math.min(1_000, count - i) }, (_, k) => `line ${i + k}\n`);
        appendFileSync(dir.file("app.log"), lines.join(""));
      }
      const read = () => figure(shipper, "shipper_sink_events_in_total", { sink: "out" });
      await waitUntil("everything was read", async () => await read() === count);
      proxy.heal();
      const labels = { sink: "out", source: "in", reason: "buffer_full" };
      const dropped = await figure(shipper, "shipper_sink_dropped_events_total", labels);
      expect(dropped).toBeGreaterThan(10_000);
      const records = await kafka.waitForRecords(topic, count - dropped);
      expect(records).toHaveLength(count - dropped);
      const numbers = records.map((record) => Number(String(record.value).slice(5)));
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
      expect(new Set(numbers).size).toBe(numbers.length);
      shipper.signal("SIGTERM");
      const exit = await shipper.waitForExit();
      expect(exit.code).toBe(0);
      expect(exit.stderr).toContain(`"dropped":${dropped}`);
      // What was dropped was given up: it does not come again.
      expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
      expect(await kafka.countRecords(topic)).toBe(count - dropped);
    },
    120_000,
  );
});

describe("acks", () => {
  for (const acks of ["one", "none"]) {
    test(`${acks}: everything arrives, without a producer id`, async () => {
      await using dir = tempDir("acks");
      const topic = await kafka.createTopic({ partitions: 2 });
      const writer = new OracleWriter(`acks-${acks}`, "a.log");
      writer.append(dir.file("a.log"), 20_000);
      const sink = `acks = "${acks}"\ncompression = "lz4"`;
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, top: API, sink });
      await using shipper = startShipper({ config });
      await waitUntil("everything is there", async () => await kafka.countRecords(topic) === 20_000);
      const unconfirmed = await figure(shipper, "shipper_sink_sent_unconfirmed_events_total", {
        sink: "out",
      });
      expect(unconfirmed).toBe(acks === "none" ? 20_000 : 0);
      expect(await kafka.describeProducers(topic, 0)).toEqual([]);
      shipper.signal("SIGTERM");
      expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, [writer]);
      const size = readFileSync(dir.file("a.log")).length;
      expect(storedPosition(dir.file("data"), "in", "out")).toBe(size);
    }, 90_000);
  }

  test("all: with a producer id, one for the run", async () => {
    await using dir = tempDir("acks");
    const topic = await kafka.createTopic();
    const writer = new OracleWriter("acks-all", "a.log");
    writer.append(dir.file("a.log"), 5_000);
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic });
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    const [producer, ...others] = await kafka.describeProducers(topic, 0);
    expect(others).toEqual([]);
    expect(producer).toMatchObject({ producerEpoch: 0, lastSequence: 4_999 });
  }, 90_000);
});
