import { beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import {
  checkTopic,
  expectExactly,
  expectExactlyCommitted,
  filesToKafka,
  stdinToKafka,
} from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** Its own positions: nobody's transactions are waited for. */
const sinkOf = (topic: string) =>
  `delivery = "transactional"\ntransactional_id = "${topic}"\nposition_topic = "positions-${topic}"\n`;

test("stdin is delivered in transactions, and it is said what a crash would lose", async () => {
  await using dir = tempDir("txn-stdin");
  const topic = await kafka.createTopic({ partitions: 2 });
  const writer = new OracleWriter("txn-stdin", "stdin");
  const config = stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: sinkOf(topic) });
  const exit = await runShipper({ config, stdin: writer.lines(5_000) });
  expect(exit).toMatchObject({ code: 0 });
  expect(exit.stderr).toContain(
    "reads stdin with the buffer in memory: lines that are not acknowledged are lost",
  );
  expect(exit.stderr).toContain(
    `delivers in transactions, as transactional id \\"${topic}\\": readers have to set isolation.level=read_committed`,
  );
  await expectExactlyCommitted(kafka, topic, [writer]);
  expect(existsSync(dir.file("data"))).toBe(false);
}, 120_000);

test(
  "a sink in transactions beside one with a journal, of the same files: both are exact over kill -9",
  async () => {
    await using dir = tempDir("txn-both");
    const [committed, plain] = [
      await kafka.createTopic({ partitions: 3 }),
      await kafka.createTopic({ partitions: 3 }),
    ];
    const writers = ["a.log", "b.log"].map((name) => new OracleWriter("txn-both", name));
    const config = `${
      filesToKafka(dir, {
        bootstrap: kafka.bootstrap,
        topic: committed,
        sink: `batch.max_bytes = 20000\n${sinkOf(committed)}`,
      })
    }
[sinks.plain]
type = "kafka"
inputs = ["in"]
bootstrap_servers = "${kafka.bootstrap}"
topic = "${plain}"
batch.max_bytes = 20000
`;
    const write = () => {
      for (const writer of writers) writer.append(dir.file(writer.file), 3_000);
    };
    write();
    for (const crashAt of ["after_ack:2", "txn_after_positions", "txn_after_commit_send:2"] as const) {
      expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
      write();
    }
    const end = await runShipper({ config, args: ["--once"] });
    expect(end).toMatchObject({ code: 0 });
    await expectExactlyCommitted(kafka, committed, writers);
    await expectExactly(kafka, plain, writers);
  },
  180_000,
);

test("a journal of an earlier configuration is left alone, and that is said", async () => {
  await using dir = tempDir("txn-switch");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("txn-switch", "a.log");
  writer.append(dir.file(writer.file), 100);
  expect(
    await runShipper({ config: filesToKafka(dir, { bootstrap: kafka.bootstrap, topic }), args: ["--once"] }),
  )
    .toMatchObject({ code: 0 });
  const before = readdirSync(dir.file("data"), { recursive: true }).sort();
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: sinkOf(topic) });
  const exit = await runShipper({ config, args: ["--once"] });
  expect(exit).toMatchObject({ code: 0 });
  expect(exit.stderr).toContain('are not used: delivery = \\"transactional\\" keeps positions in Kafka');
  expect(readdirSync(dir.file("data"), { recursive: true }).sort()).toEqual(before);
}, 120_000);

test("metrics, the status page and /ready tell of transactions", async () => {
  await using dir = tempDir("txn-status");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("txn-status", "a.log");
  writer.append(dir.file(writer.file), 100);
  const top = '[api]\naddress = "127.0.0.1:0"\n';
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, top, sink: sinkOf(topic) });
  await using shipper = startShipper({ config });
  const [, address] = await shipper.waitForLog(/Listening on ([^ ]+) for/u);
  const get = async (path: string) => await (await fetch(`http://${address}${path}`)).text();
  const isThere = async () =>
    (await checkTopic(kafka, topic, [writer], "read_committed")).report().receivedCount === writer.count;
  await waitUntil("all is committed", isThere, { timeoutMs: 40_000, pollMs: 100 });
  const metrics = await get("/metrics");
  expect(Number(/shipper_sink_transactions_total\{sink="out",result="committed"\} (\d+)/u.exec(metrics)?.[1]))
    .toBeGreaterThan(0);
  expect(metrics).toContain('shipper_sink_transactions_total{sink="out",result="aborted"} 0');
  const lastCommit = Number(
    /shipper_sink_last_commit_timestamp_seconds\{sink="out"\} ([\d.e+]+)/u.exec(metrics)?.[1],
  );
  expect(Math.abs(Date.now() / 1_000 - lastCommit)).toBeLessThan(30);
  expect(await get("/")).toContain("transactions committed, 0 aborted; last commit: ");
  expect((await fetch(`http://${address}/ready`)).status).toBe(200);
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
}, 120_000);

test("a sink that cannot start is not ready, and says why", async () => {
  await using dir = tempDir("txn-unready");
  const topic = await kafka.createTopic();
  const top = '[api]\naddress = "127.0.0.1:0"\n';
  await using shipper = startShipper({
    config: filesToKafka(dir, { bootstrap: "127.0.0.1:1", topic, top, sink: sinkOf(topic) }),
  });
  const [, address] = await shipper.waitForLog(/Listening on ([^ ]+) for/u);
  const ready = await fetch(`http://${address}/ready`);
  expect(ready.status).toBe(503);
  expect(await ready.text()).toMatch(/Positions are not read from Kafka yet|Cannot connect/u);
  shipper.signal("SIGTERM");
  const stopMs = performance.now();
  expect(await shipper.waitForExit(20_000)).toMatchObject({ code: 0 });
  // Nothing was read: there is nothing to wait for.
  expect(performance.now() - stopMs).toBeLessThan(20_000);
}, 120_000);
