import { afterAll, beforeAll, expect, test } from "bun:test";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { checkTopic, expectExactly, filesToKafka } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, type ShipperExit } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Brokers that forget a producer after 2 s: what a start after a day off finds.

const CLUSTER_TIMEOUT_MS = 120_000;
const LINES = 500;
/** The least that can be configured. */
const DEDUP_WINDOW_SECS = 60;

let own: OwnCluster;
beforeAll(async () => {
  own = await ownCluster({
    security: "sasl_ssl",
    acl: true,
    settings: {
      "producer.id.expiration.ms": "2000",
      "producer.id.expiration.check.interval.ms": "500",
    },
  });
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

async function waitUntilForgotten(topic: string): Promise<void> {
  await waitUntil(
    "the broker has forgotten the producer",
    async () => (await own.kafka.describeProducers(topic, 0)).length === 0,
    { timeoutMs: 40_000, pollMs: 200 },
  );
}

for (
  const [what, crashAt] of [
    ["arrived", "after_ack:4"],
    ["did not arrive", "after_intent_fsync:4"],
  ] as const
) {
  test.concurrent(
    `a batch in doubt that ${what} is looked for in the topic, when its producer is forgotten: exact`,
    async () => {
      await using dir = tempDir("forgotten");
      const { kafka } = own;
      seededRandom(`forgotten producer, a batch that ${what}`);
      const topic = await kafka.createTopic();
      const writer = new OracleWriter("forgotten", "a.log");
      writer.append(dir.file(writer.file), 2_000);
      const sink = "batch.max_bytes = 20000";
      const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
      expect(await runShipper({ config, crashAt })).toMatchObject({ signal: "SIGKILL" });
      expect(await kafka.countRecords(topic)).toBeGreaterThan(0);
      await waitUntilForgotten(topic);
      writer.append(dir.file(writer.file), 2_000);
      const exit = await runShipper({ config, args: ["--once"] });
      expect(exit).toMatchObject({ code: 0 });
      expect(exit.stderr).not.toContain("Cannot tell");
      await expectExactly(kafka, topic, [writer]);
    },
    120_000,
  );
}

interface Undecidable {
  readonly dir: TempDir;
  readonly topic: string;
  readonly writer: OracleWriter;
  readonly run: (policy: string) => Promise<ShipperExit>;
}

/**
 * One batch that was written, whose producer the broker has forgotten, longer ago than half of dedup_window_secs, and a user who may not
 * read the topic: nobody can tell.
 */
async function undecidable(dir: TempDir): Promise<Undecidable> {
  const { kafka } = own;
  const topic = await kafka.createTopic();
  const user = "shipper";
  await kafka.addAcl({ user, resource: "topic", name: topic, operation: "write" });
  const writer = new OracleWriter("undecidable", "a.log");
  writer.append(dir.file(writer.file), LINES);
  const configOf = (policy: string) =>
    filesToKafka(dir, {
      bootstrap: kafka.listeners.SASL_PLAINTEXT!,
      topic,
      sink: `sasl = { enabled = true, mechanism = "PLAIN", username = "${user}", password = "shipper-secret" }
dedup_window_secs = ${DEDUP_WINDOW_SECS}\non_undecidable = "${policy}"`,
    });
  expect(await runShipper({ config: configOf("duplicate"), crashAt: "after_ack" })).toMatchObject({
    signal: "SIGKILL",
  });
  expect(await kafka.countRecords(topic)).toBe(LINES);
  await Bun.sleep(DEDUP_WINDOW_SECS / 2 * 1_000 + 1_000);
  writer.append(dir.file(writer.file), LINES);
  return { dir, topic, writer, run: (policy) => runShipper({ config: configOf(policy), args: ["--once"] }) };
}

function saidUndecidable(exit: ShipperExit): number {
  return exit.stderr.split("\n").filter((line) => line.includes("Cannot tell whether")).length;
}

test.concurrent('undecidable: "duplicate" sends the batch again, and says so once', async () => {
  await using dir = tempDir("duplicate");
  seededRandom("undecidable, duplicate");
  const { topic, writer, run } = await undecidable(dir);
  const exit = await run("duplicate");
  expect(exit).toMatchObject({ code: 0 });
  expect(saidUndecidable(exit)).toBe(1);
  expect((await checkTopic(own.kafka, topic, [writer])).report()).toMatchObject({
    receivedCount: 3 * LINES,
    lostCount: 0,
    duplicatedCount: LINES,
    foreignCount: 0,
    damagedCount: 0,
  });
}, 120_000);

test.concurrent('undecidable: "drop" does not, counts the lines as lost, and ends with 1', async () => {
  await using dir = tempDir("drop");
  seededRandom("undecidable, drop");
  const { topic, writer, run } = await undecidable(dir);
  const exit = await run("drop");
  expect(exit).toMatchObject({ code: 1 });
  expect(saidUndecidable(exit)).toBe(1);
  expect(exit.stderr).toContain(`Lost ${LINES} events`);
  await expectExactly(own.kafka, topic, [writer]);
  // It is decided for good.
  expect(await run("drop")).toMatchObject({ code: 0 });
  await expectExactly(own.kafka, topic, [writer]);
}, 120_000);

test.concurrent('undecidable: "stop" ends with 1 and leaves it open for another policy', async () => {
  await using dir = tempDir("stop");
  seededRandom("undecidable, stop");
  const { topic, writer, run } = await undecidable(dir);
  for (let i = 0; i < 2; i++) {
    const exit = await run("stop");
    expect(exit).toMatchObject({ code: 1 });
    expect(exit.stderr).toContain('on_undecidable = \\"stop\\" ends the run');
  }
  expect(await run("duplicate")).toMatchObject({ code: 0 });
  const report = (await checkTopic(own.kafka, topic, [writer])).report();
  expect(report).toMatchObject({ lostCount: 0, duplicatedCount: LINES });
}, 120_000);

test.concurrent("with the right to read given back, what could not be decided is found", async () => {
  await using dir = tempDir("granted");
  seededRandom("undecidable, then granted");
  const { topic, writer, run } = await undecidable(dir);
  expect(await run("stop")).toMatchObject({ code: 1 });
  await own.kafka.addAcl({ user: "shipper", resource: "topic", name: topic, operation: "read" });
  const exit = await run("stop");
  expect(exit).toMatchObject({ code: 0 });
  await expectExactly(own.kafka, topic, [writer]);
}, 120_000);
