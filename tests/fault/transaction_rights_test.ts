import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { type Acl, type OwnCluster, ownCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactlyCommitted, filesToKafka } from "../support/scenario.ts";
import { startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

const CLUSTER_TIMEOUT_MS = 120_000;

let own: OwnCluster;
beforeAll(async () => {
  own = await ownCluster({ security: "sasl_ssl", acl: true });
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

test("every right that is missing is named, and delivery begins when the last one is there", async () => {
  await using dir = tempDir("txn-rights");
  const { kafka } = own;
  const topic = await kafka.createTopic({ partitions: 2 });
  const writer = new OracleWriter("txn-rights", "a.log");
  writer.append(dir.file(writer.file), 2_000);
  const allow = (resource: Acl["resource"], name: string, operation: Acl["operation"]) =>
    kafka.addAcl({ user: "shipper", resource, name, operation });
  const config = filesToKafka(dir, {
    bootstrap: kafka.listeners.SASL_PLAINTEXT!,
    topic,
    sink: 'delivery = "transactional"\ntransactional_id = "edge"\nposition_topic = "places"\n' +
      "retry.max_interval_ms = 300\nmetadata_refresh_ms = 1000\n" +
      'sasl = { enabled = true, mechanism = "SCRAM-SHA-512", username = "shipper", password = "shipper-secret" }\n',
  });
  await using shipper = startShipper({ config });
  await shipper.waitForLog(/Cannot use topic \\"places\\", in which positions are stored/u);
  await shipper.waitForLog(/Give this user READ, WRITE and DESCRIBE on topic \\"places\\"/u);
  await allow("topic", "places", "describe");
  await shipper.waitForLog(/Cannot create topic \\"places\\" for positions: TOPIC_AUTHORIZATION_FAILED/u);
  await shipper.waitForLog(
    /kafka-topics --create --topic places --partitions 16 --config cleanup.policy=compact/u,
  );
  await allow("topic", "places", "create");
  await shipper.waitForLog(/Created topic \\"places\\" for positions/u);
  await shipper.waitForLog(/Give this user WRITE and DESCRIBE on transactional id \\"edge\\"/u);
  expect(shipper.stderr).not.toContain("Positions of transactional id");
  await allow("transactional_id", "edge", "write");
  await allow("transactional_id", "edge", "describe");
  // A partition that is empty is not read.
  await shipper.waitForLog(/Positions of transactional id \\"edge\\" were read/u);
  await shipper.waitForLog(/TOPIC_AUTHORIZATION_FAILED/u);
  await allow("topic", "places", "write");
  await allow("topic", "places", "read");
  await allow("topic", topic, "write");
  await allow("topic", topic, "describe");
  const deadlineMs = performance.now() + 30_000;
  for (let count = 0; count < writer.count && performance.now() < deadlineMs;) {
    await Bun.sleep(200);
    count = (await kafka.readTopic(topic, { isolation: "read_committed" })).length;
  }
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
  await expectExactlyCommitted(kafka, topic, [writer]);
  expect(existsSync(dir.file("data"))).toBe(false);
}, 180_000);
