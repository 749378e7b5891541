import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Acl, type OwnCluster, ownCluster } from "../support/kafka.ts";
import { QUICK } from "../support/killed_lives.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Rights that are missing, taken away and given back: what is missing is named, nothing is given up, and all is there once in the end.

const CLUSTER_TIMEOUT_MS = 120_000;
const FAST =
  "retry.interval_ms = 20\nretry.max_interval_ms = 200\nmetadata_refresh_ms = 1000\nbatch.max_bytes = 20000";

let own: OwnCluster;
beforeAll(async () => {
  own = await ownCluster({ security: "sasl_ssl", acl: true });
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

/** Each test has a user of its own only by its topic: rights are given for that. */
function setup(dir: TempDir, topic: string, user: "shipper" | "stranger", more = "") {
  const sink = `${FAST}\n${more}
sasl = { enabled = true, mechanism = "PLAIN", username = "${user}", password = "${user}-secret" }`;
  const config = filesToKafka(dir, { bootstrap: own.kafka.listeners.SASL_PLAINTEXT!, topic, sink });
  const right = (operation: Acl["operation"]): Acl => ({ user, resource: "topic", name: topic, operation });
  const allow = (operation: Acl["operation"]) => own.kafka.addAcl(right(operation));
  const forbid = (operation: Acl["operation"]) => own.kafka.removeAcl(right(operation));
  const writer = new OracleWriter(dir.path.split("/").at(-1)!, "a.log");
  const append = (count: number) => writer.append(dir.file(writer.file), count);
  const arrived = () =>
    waitUntil("all is delivered", async () => await own.kafka.countRecords(topic) >= writer.count, {
      timeoutMs: 30_000,
      pollMs: 50,
    });
  return { config, allow, forbid, writer, append, arrived };
}

test(
  "no right at all: WRITE, DESCRIBE and the producer id are named, and the right is enough when it comes",
  async () => {
    await using dir = tempDir("no-right");
    const topic = await own.kafka.createTopic();
    const { config, allow, writer, append, arrived } = setup(dir, topic, "shipper");
    append(500);
    await using shipper = startShipper({ config });
    await shipper.waitForLog(/user \\"shipper\\" lacks WRITE and DESCRIBE on topic .*; its events wait/u);
    await shipper.waitForLog(
      new RegExp(
        `kafka-acls .* --allow-principal User:shipper --operation Write --operation Describe --topic ${topic}`,
        "u",
      ),
    );
    await shipper.waitForLog(
      /Cannot get a producer id: user \\"shipper\\" lacks IDEMPOTENT_WRITE on the cluster and WRITE on every topic/u,
    );
    expect(await own.kafka.countRecords(topic)).toBe(0);
    await allow("write");
    await arrived();
    // Of the right to read, which helps after a crash, something is said once.
    await shipper.waitForLog(/READ/u, 30_000);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
    await expectExactly(own.kafka, topic, [writer]);
  },
  120_000,
);

test(
  "DESCRIBE alone: WRITE is named; WRITE is taken away twice while it ships, once with kill -9: exact",
  async () => {
    await using dir = tempDir("revoked");
    const topic = await own.kafka.createTopic({ partitions: 2 });
    const { config, allow, forbid, writer, append, arrived } = setup(dir, topic, "stranger");
    await allow("describe");
    // What it takes for a producer id before there is WRITE on the topic.
    const other = await own.kafka.createTopic();
    await own.kafka.addAcl({ user: "stranger", resource: "topic", name: other, operation: "write" });
    append(500);
    let shipper = startShipper({ config, testBuild: true, env: QUICK });
    try {
      const told =
        /Cannot write to topic .*: user \\"stranger\\" lacks WRITE on topic .* \(TOPIC_AUTHORIZATION_FAILED\)/u;
      await shipper.waitForLog(told);
      expect(await own.kafka.countRecords(topic)).toBe(0);
      await allow("write");
      await arrived();
      for (const isKilled of [false, true]) {
        const seen = shipper.stderr.match(new RegExp(told, "gu"))!.length;
        const timer = setInterval(() => append(20), 20);
        await Bun.sleep(300);
        await forbid("write");
        await waitUntil(
          "it is told again",
          () => (shipper.stderr.match(new RegExp(told, "gu")) ?? []).length > seen,
          {
            timeoutMs: 40_000,
          },
        );
        if (isKilled) {
          await shipper.kill();
          shipper = startShipper({ config, testBuild: true, env: QUICK });
          await shipper.waitForLog(told);
        }
        clearInterval(timer);
        await allow("write");
        await arrived();
      }
      shipper.signal("SIGTERM");
      const exit = await shipper.waitForExit();
      expect(exit).toMatchObject({ code: 0 });
      expect(exit.stderr).not.toContain('"dropped":1');
    } finally {
      await shipper.kill();
    }
    await expectExactly(own.kafka, topic, [writer]);
  },
  180_000,
);

test("no right to the topic of dead letters: named, and events wait", async () => {
  await using dir = tempDir("dead-right");
  const topic = await own.kafka.createTopic();
  const dead = await own.kafka.createTopic();
  const more = `max_message_bytes = 3000\ndead_letter.topic = "${dead}"`;
  const { config, allow, writer, append } = setup(dir, topic, "shipper", more);
  await allow("all");
  append(50);
  await Bun.write(dir.file("b.log"), `${"x".repeat(5_000)}\n`);
  await using shipper = startShipper({ config });
  await shipper.waitForLog(
    new RegExp(`user \\\\"shipper\\\\" lacks WRITE and DESCRIBE on topic \\\\"${dead}\\\\"`, "u"),
  );
  await own.kafka.addAcl({ user: "shipper", resource: "topic", name: dead, operation: "write" });
  await waitUntil("the letter is there", async () => await own.kafka.countRecords(dead) > 0, {
    timeoutMs: 40_000,
  });
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactly(own.kafka, topic, [writer]);
}, 120_000);
