import { afterAll, beforeAll, expect, test } from "bun:test";
import { type OwnCluster, ownCluster } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactlyCommitted, filesToKafka, SteadyLoad } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Partitions without a replica elsewhere lose their leader in the middle of transactions, for longer than it takes the controller to notice. Kafka 4.3
// then calls transactions complete whose markers were not written there (src/kafka/transaction/hanging_transaction.ts).

const CLUSTER_TIMEOUT_MS = 180_000;
const WAIT_MS = 90_000;
const LINES_PER_SECOND = 2_000;
const LOG_TAIL_CHARS = 4_000;

let own: OwnCluster;
beforeAll(async () => {
  own = await ownCluster({ brokers: 2 });
}, CLUSTER_TIMEOUT_MS);
afterAll(() => own?.stop(), CLUSTER_TIMEOUT_MS);

test("a broker is killed until its partitions have no leader: exact", async () => {
  await using dir = tempDir("txn-leaderless");
  const random = seededRandom("leaderless");
  // Broker 1 is the controller, and has a replica of transactions and positions, as the other has.
  const topic = await own.kafka.createTopic({ assignment: [[1], [2], [2], [1]] });
  const writers = ["a.log", "b.log", "c.log"].map((name) => new OracleWriter("txn-leaderless", name));
  const sink =
    `delivery = "transactional"\ntransactional_id = "${topic}"\nbatch.max_bytes = 20000\ncommit_interval_ms = 500\n` +
    `retry.max_interval_ms = 500\nconnect_timeout_ms = 2000\nsocket_timeout_ms = 5000\nrequest_timeout_ms = 4000\nkey = "{{message}}"\npartitioner = "murmur2"\n`;
  const config = filesToKafka(dir, { bootstrap: own.kafka.bootstrap, topic, sink });
  const committed = async () => (await own.kafka.readTopic(topic, { isolation: "read_committed" })).length;
  using load = new SteadyLoad(dir, writers, LINES_PER_SECOND);
  await using shipper = startShipper({ config });
  await waitUntil("it commits", async () => await committed() > 1_000, { timeoutMs: WAIT_MS, pollMs: 200 });
  for (let round = 0; round < 2; round++) {
    await Bun.sleep(random.between(0, 300));
    await own.cluster.brokers[1]!.kill();
    const isNoticed = async () => (await own.kafka.describeTopic(topic)).some(({ leader }) => leader < 0);
    await waitUntil("its partitions have no leader", isNoticed, { timeoutMs: WAIT_MS, pollMs: 200 });
    await Bun.sleep(random.between(0, 1_000));
    await own.cluster.startBroker(1);
    const before = load.count;
    await waitUntil("all is committed", async () => await committed() >= before, {
      timeoutMs: WAIT_MS,
      pollMs: 500,
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${shipper.stderr.slice(-LOG_TAIL_CHARS)}`);
    });
  }
  load.stop();
  const all = load.count;
  await waitUntil("all is committed", async () => await committed() >= all, {
    timeoutMs: WAIT_MS,
    pollMs: 500,
  });
  shipper.signal("SIGTERM");
  expect(await shipper.waitForExit(WAIT_MS)).toMatchObject({ code: 0 });
  await expectExactlyCommitted(own.kafka, topic, writers);
}, 600_000);
