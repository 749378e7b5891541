import { existsSync } from "node:fs";
import { beforeAll, describe, expect, test } from "bun:test";
import type { CrashPointName } from "../../src/telemetry/crash_point.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactlyCommitted, filesToKafka, rotate } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

const LINES_PER_FILE = 1_200;
/** Several batches in each transaction. */
const BATCH_BYTES = 20_000;

/** After T2, T3, in T4 (between batches, before and after the positions), in T5, before T6. */
const POINTS: readonly CrashPointName[] = [
  "txn_after_init",
  "txn_after_positions_read",
  "after_partial_send",
  "after_send",
  "txn_before_positions",
  "txn_after_positions",
  "txn_after_commit_send",
  "txn_after_commit",
];

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** `topic` names its own positions: tests that run beside each other do not wait for each other's transactions. */
function transactional(dir: TempDir, topic: string, options = ""): string {
  return filesToKafka(dir, {
    bootstrap: kafka.bootstrap,
    topic,
    sink:
      `delivery = "transactional"\ntransactional_id = "${topic}"\nposition_topic = "positions-${topic}"\n` +
      `batch.max_bytes = ${BATCH_BYTES}\n${options}`,
  });
}

for (
  const { partitions, keys } of [{ partitions: 1, keys: "" }, { partitions: 6, keys: "" }, {
    partitions: 6,
    keys: 'key_field = "message"\n',
  }]
) {
  const how = `${partitions} partition(s)${keys === "" ? "" : " with keys"}`;
  describe(`kill -9 in a transaction, ${how}: none lost, none twice, in order for read_committed`, () => {
    for (const point of POINTS) {
      test.concurrent(point, async () => {
        const random = seededRandom(`${point}, ${how}`);
        await using dir = tempDir("txn");
        const topic = await kafka.createTopic({ partitions });
        const writers = ["a.log", "b.log", "c.log"].map((name) => new OracleWriter("txn", name));
        const write = () => {
          for (const writer of writers) writer.append(dir.file(writer.file), LINES_PER_FILE);
        };
        const config = transactional(dir, topic, keys);
        write();
        // A start passes the first two once.
        const isOnce = point === "txn_after_init" || point === "txn_after_positions_read";
        const die = async (passing: number) => {
          const exit = await runShipper({ config, crashAt: `${point}:${passing}`, timeoutMs: 50_000 });
          expect([point, exit.signal]).toEqual([point, "SIGKILL"]);
          write();
        };
        await die(1);
        const between = await runShipper({ config, args: ["--once"], testBuild: true });
        expect(between.code).toBe(0);
        write();
        // The first transaction is the marker alone, the second has lines; a third one is not sure to come.
        await die(isOnce ? 1 : random.between(1, 2));
        // What was read in part has another name now, and was stored under the old one.
        rotate(dir.file("a.log"), 0);
        write();
        const end = await runShipper({ config, args: ["--once"], testBuild: true });
        expect([end.code, end.stderr]).toEqual([0, expect.any(String)]);
        await expectExactlyCommitted(kafka, topic, writers);
        expect(existsSync(dir.file("data"))).toBe(false);
      }, 180_000);
    }
  });
}
