import { beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { FAST, QUICK } from "../support/killed_lives.ts";
import { OracleWriter } from "../support/oracle.ts";
import { filesToKafka } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// A topic is deleted and made again, with other numbers of partitions, while shipper is killed at any moment. What was in each topic is read right
// before it is deleted: every line has to be in one of them, or a letter.

const ROUNDS = 6;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 120_000);

/** The values of a topic once it does not grow: whoever writes to it is stopped. */
async function valuesOf(topic: string): Promise<string[]> {
  let before = -1;
  await waitUntil("it does not grow", async () => {
    const now = await kafka.countRecords(topic);
    const isSame = now === before;
    before = now;
    return isSame;
  }, { timeoutMs: 30_000, pollMs: 300 });
  return (await kafka.readTopic(topic)).map(({ value }) => String(value));
}

function lettersIn(path: string): string[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").split("\n").filter((line) => line.endsWith("}"));
  return lines.map((line) => JSON.parse(line).value);
}

for (const key of ["", 'key = "{{message}}"\n']) {
  test(
    `deleted and made again while it is killed: no line is lost, none is in a topic twice (${
      key === "" ? "no keys" : "keys"
    })`,
    async () => {
      await using dir = tempDir("deleted-kill");
      const random = seededRandom(`deleted topics, ${key === "" ? "no keys" : "keys"}`);
      const topic = await kafka.createTopic({ partitions: 3 });
      const letters = dir.file("letters.jsonl");
      const config = filesToKafka(dir, {
        bootstrap: kafka.bootstrap,
        topic,
        sink:
          `${FAST}\n${key}batch.max_events = 50\nbatch.timeout_ms = 1\non_topic_missing = "dead_letter"\n` +
          `topic_missing_timeout_ms = 200\ndead_letter.file = ${JSON.stringify(letters)}`,
      });
      const writers = ["a.log", "b.log"].map((file) => new OracleWriter("deleted-kill", file));
      const write = () => {
        for (const writer of writers) writer.append(dir.file(writer.file), random.between(100, 600));
      };
      const seen = new Map<string, number>();
      for (let round = 0; round < ROUNDS; round++) {
        await using shipper = startShipper({ config, testBuild: true, env: QUICK });
        write();
        await Bun.sleep(random.between(100, 1_200));
        shipper.signal("SIGSTOP");
        const values = await valuesOf(topic);
        expect(new Set(values).size).toBe(values.length);
        for (const value of values) seen.set(value, (seen.get(value) ?? 0) + 1);
        await kafka.deleteTopic(topic);
        write();
        shipper.signal("SIGCONT");
        await Bun.sleep(random.between(0, 1_500));
        if (round % 2 === 0) await shipper.kill();
        await kafka.createTopic({ name: topic, partitions: random.between(1, 6) });
        write();
        await Bun.sleep(random.between(0, 600));
        await shipper.kill();
      }
      const exit = await runShipper({
        config,
        args: ["--once"],
        testBuild: true,
        env: QUICK,
        timeoutMs: 60_000,
      });
      expect(exit.code, exit.stderr).toBe(0);
      const last = await valuesOf(topic);
      expect(new Set(last).size).toBe(last.length);
      const kept = new Set(lettersIn(letters));
      expect(kept.size).toBeGreaterThan(0);
      for (const value of [...last, ...kept]) seen.set(value, seen.get(value) ?? 0);
      const written = writers.flatMap((writer) =>
        readFileSync(dir.file(writer.file), "utf8").split("\n").filter((line) => line !== "")
      );
      expect(written.filter((line) => !seen.has(line))).toEqual([]);
      expect(seen.size).toBe(written.length);
    },
    180_000,
  );
}
