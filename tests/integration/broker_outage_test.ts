import { afterAll, beforeAll, expect, test } from "bun:test";
import { createServer } from "node:net";
import { freePorts } from "../../scripts/lib/ports.ts";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import {
  expectAtLeastOnce,
  expectExactly,
  filesToKafka,
  stdinToKafka,
  SteadyLoad,
} from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

const OUTAGE_MS = 8_000;
const CLUSTER_TIMEOUT_MS = 120_000;
const RECOVERY_MS = 30_000;
/** The default is 10 s, which tests need not wait for. */
const RETRY = "retry.max_interval_ms = 1000\n";

let own: OwnCluster;
beforeAll(async () => {
  own = await ownCluster();
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

/** The one broker, there again. A test that failed in the middle leaves it dead for nobody. */
async function brokerUp(): Promise<void> {
  if (own.cluster.brokers[0]!.pid === null) await own.cluster.startBroker(0);
}

function waitForCount(topic: string, count: number): Promise<unknown> {
  return waitUntil(
    `topic "${topic}" holds ${count} records`,
    async () => await own.kafka.countRecords(topic) >= count,
    { timeoutMs: RECOVERY_MS, pollMs: 50 },
  );
}

test("a broker that is down at start is waited for, and then gets everything", async () => {
  await brokerUp();
  await using dir = tempDir("late-broker");
  const { kafka, cluster } = own;
  const topic = await kafka.createTopic({ partitions: 2 });
  const writers = ["a.log", "b.log"].map((name) => new OracleWriter("late-broker", name));
  await cluster.brokers[0]!.kill();
  for (const writer of writers) writer.append(dir.file(writer.file), 1_000);
  await using shipper = startShipper({
    config: filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: RETRY }),
  });
  const [reason] = await shipper.waitForLog(/Health check of sink .*trying again for as long as it takes/);
  expect(reason).toContain(kafka.bootstrap);
  for (const writer of writers) writer.append(dir.file(writer.file), 1_000);
  await cluster.startBroker(0);
  await waitForCount(topic, 4_000);
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0, signal: null });
  await expectExactly(kafka, topic, writers);
}, 120_000);

for (const how of ["kill", "stop"] as const) {
  test(
    `a broker that is gone for a while under load (${how}) costs nothing: none lost, none twice, in order`,
    async () => {
      await brokerUp();
      await using dir = tempDir("outage");
      const { kafka, cluster } = own;
      const topic = await kafka.createTopic({ partitions: 3 });
      const writers = ["a.log", "b.log", "c.log"].map((name) => new OracleWriter(`outage-${how}`, name));
      const config = filesToKafka(dir, {
        bootstrap: kafka.bootstrap,
        topic,
        sink: `${RETRY}compression = "lz4"`,
      });
      await using shipper = startShipper({ config });
      using load = new SteadyLoad(dir, writers, 3_000);
      await waitForCount(topic, 2_000);
      await cluster.brokers[0]![how]();
      await Bun.sleep(OUTAGE_MS);
      await cluster.startBroker(0);
      const before = await kafka.countRecords(topic);
      await waitForCount(topic, before + 1_000);
      await waitForCount(topic, load.stop());
      shipper.signal("SIGTERM");
      const exit = await shipper.waitForExit();
      expect(exit).toMatchObject({ code: 0, signal: null });
      await expectExactly(kafka, topic, writers);
      // The operator is told that it is down and that it goes on, and not a thousand times.
      expect(exit.stderr).toContain("goes on");
      expect(exit.stderr.split("\n").length).toBeLessThan(60);
    },
    180_000,
  );
}

test(
  "SIGTERM while the broker is down for good ends in time with 0, and the next run delivers the rest",
  async () => {
    await brokerUp();
    await using dir = tempDir("down-for-good");
    const { kafka, cluster } = own;
    const topic = await kafka.createTopic({ partitions: 2 });
    const writers = ["a.log", "b.log"].map((name) => new OracleWriter("down-for-good", name));
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, top: "shutdown_timeout_secs = 2" });
    {
      await using shipper = startShipper({ config });
      using load = new SteadyLoad(dir, writers, 2_000);
      await waitForCount(topic, 1_000);
      await cluster.brokers[0]!.kill();
      await shipper.waitForLog(/"level":"warn"/);
      const written = load.count;
      await waitUntil("more is written", () => load.count > written + 1_000);
      load.stop();
      const startMs = performance.now();
      shipper.signal("SIGTERM");
      const exit = await shipper.waitForExit(20_000);
      expect(exit).toMatchObject({ code: 0, signal: null });
      expect(exit.stderr).toContain("the next run reads them from their files again");
      expect(performance.now() - startMs).toBeLessThan(15_000);
    }
    await brokerUp();
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
    await expectAtLeastOnce(kafka, topic, writers);
  },
  120_000,
);

test("stdin that cannot be delivered before the end is told as lost, with exit code 1", async () => {
  await brokerUp();
  await using dir = tempDir("stdin-down");
  const { kafka, cluster } = own;
  const topic = await kafka.createTopic();
  await cluster.brokers[0]!.kill();
  const config = stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic, top: "shutdown_timeout_secs = 1" });
  await using shipper = startShipper({ config, stdin: "one\ntwo\nthree\n" });
  await shipper.waitForLog(/"level":"warn"/);
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit(20_000);
  expect(exit).toMatchObject({ code: 1, signal: null });
  expect(exit.stderr).toMatch(/Lost up to 3 events from stdin/);
}, 120_000);

test("a port where nobody listens is told, and does not end the run", async () => {
  await using dir = tempDir("wrong-port");
  const [port] = await freePorts(1);
  new OracleWriter("wrong-port", "a.log").append(dir.file("a.log"), 10);
  const bootstrap = `127.0.0.1:${port}`;
  const config = filesToKafka(dir, { bootstrap, topic: "any", top: "shutdown_timeout_secs = 1" });
  await using shipper = startShipper({ config });
  const [line] = await shipper.waitForLog(/Health check of sink .*/);
  expect(line).toContain(bootstrap);
  expect(line).toContain("ECONNREFUSED");
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit(20_000)).toMatchObject({ code: 0, signal: null });
}, 90_000);

test("a port where something else answers is told, and does not end the run", async () => {
  await using dir = tempDir("not-kafka");
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const bootstrap = `127.0.0.1:${(server.address() as { port: number }).port}`;
    new OracleWriter("not-kafka", "a.log").append(dir.file("a.log"), 10);
    const config = filesToKafka(dir, { bootstrap, topic: "any", top: "shutdown_timeout_secs = 1" });
    await using shipper = startShipper({ config });
    const [line] = await shipper.waitForLog(/Health check of sink .*/);
    expect(line).toContain(bootstrap);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit(20_000)).toMatchObject({ code: 0, signal: null });
  } finally {
    server.close();
  }
}, 90_000);
