import { beforeAll, expect, test } from "bun:test";
import { appendFileSync, writeFileSync } from "node:fs";
import { decodeLetter } from "../../src/dead_letter/letter_json.ts";
import type { StoredLetter } from "../../src/event/dead_letters.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { deliveryOptions, expectDeliveredBy, FAST, finish, killOften } from "../support/killed_lives.ts";
import { expectLetters, MixedLog } from "../support/mixed_log.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Dead letters in a topic, and lines that name no topic: the rest is delivered exactly once, and they are kept, whatever is killed.

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

for (const delivery of ["exactly_once", "transactional"] as const) {
  test.concurrent(
    `${delivery}, letters in a topic, kill -9 at random times: the rest exactly, and every letter`,
    async () => {
      await using dir = tempDir("letters-topic");
      const random = seededRandom(`letters in a topic ${delivery}`);
      const topic = await kafka.createTopic({ partitions: 3, configs: { "max.message.bytes": "4000" } });
      // A letter is in two parts.
      const dead = await kafka.createTopic({ partitions: 2, configs: { "max.message.bytes": "6000" } });
      const log = new MixedLog("letters-topic", dir);
      const more = deliveryOptions(delivery, topic);
      const config = filesToKafka(dir, {
        bootstrap: kafka.bootstrap,
        topic,
        sink: `${FAST}\ndead_letter.topic = "${dead}"\nheaders = { file = "{{file}}" }\n${more}`,
      });
      await killOften(config, random, delivery === "transactional" ? 3 : 6, () => log.append(150, 3));
      await finish(config);
      await expectDeliveredBy(delivery, kafka, topic, log.writer);
      const call = async (...args: string[]) => {
        const file = dir.file("dlq.toml");
        writeFileSync(file, config);
        return (await runShipper({ args: [...args, "--config", file, "--sink", "out", "--json"] })).stdout;
      };
      const { letters: listed } = JSON.parse(await call("dlq", "ls")).sinks[0];
      const letters: StoredLetter[] = [];
      for (const { id } of listed) letters.push(decodeLetter(await call("dlq", "show", "--id", id))!);
      expect(expectLetters(letters, log)).toBe(0);
      expect(letters[0]!.headers.map(([name, value]) => [name, String(value)])).toEqual([["file", log.path]]);
      const other = await kafka.createTopic();
      expect(JSON.parse(await call("dlq", "replay", "--to", other))).toMatchObject({
        replayed: log.big.length,
      });
      expect(JSON.parse(await call("dlq", "replay", "--to", other))).toMatchObject({ replayed: 0 });
      const values = (await kafka.readTopic(other)).map(({ value }) => String(value));
      expect(values.sort()).toEqual([...log.big].sort());
    },
    240_000,
  );
}

test.concurrent("a topic of dead letters that is missing holds events back until it is there", async () => {
  await using dir = tempDir("letters-missing");
  const topic = await kafka.createTopic();
  const log = new MixedLog("letters-missing", dir);
  const dead = `${topic}-dead`;
  const config = filesToKafka(dir, {
    bootstrap: kafka.bootstrap,
    topic,
    sink: `${FAST}\nmax_message_bytes = 3000\ndead_letter.topic = "${dead}"`,
  });
  log.append(300, 2);
  await using shipper = startShipper({ config });
  await shipper.waitForLog(
    new RegExp(`Cannot send to topic \\\\"${dead}\\\\": the cluster does not know it`, "u"),
  );
  expect(await kafka.countRecords(topic)).toBeLessThan(log.writer.count);
  await kafka.createTopic({ name: dead });
  await waitUntil("all is delivered", async () => await kafka.countRecords(topic) === log.writer.count, {
    timeoutMs: 40_000,
  });
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit();
  expect(exit).toMatchObject({ code: 0 });
  expect(exit.stderr).toContain(`"delivered":${log.writer.count},"dropped":0,"dead_lettered":2`);
  await expectExactly(kafka, topic, [log.writer]);
  const parts = (await kafka.readTopic(dead)).map(({ value }) => String(value));
  expect(parts.join("").length).toBe(log.big.join("").length);
}, 120_000);

for (const place of ["file", "topic"] as const) {
  test.concurrent(
    `lines that name no topic are kept in a ${place}, kill -9 at random times: every one, and the rest exactly`,
    async () => {
      await using dir = tempDir("letters-unnamed");
      const random = seededRandom(`letters unnamed ${place}`);
      const topic = await kafka.createTopic();
      const dead = await kafka.createTopic();
      const where = place === "file"
        ? `dead_letter.file = "${dir.file("dead.jsonl")}"`
        : `dead_letter.topic = "${dead}"`;
      const config = filesToKafka(dir, {
        bootstrap: kafka.bootstrap,
        topic: `{{topic}}`,
        source: 'decoding.codec = "json"',
        sink: `${FAST}\nallowed_topics = ["${topic}"]\n${where}`,
      });
      const writer = new OracleWriter("letters-unnamed", "a");
      const path = dir.file("a.log");
      const unnamed: string[] = [];
      await killOften(config, random, 6, () => {
        for (let i = 0; i < 60; i++) {
          const message = writer.line().slice(0, -1);
          let text = `${JSON.stringify({ topic, message })}\n`;
          if (i % 7 === 0) {
            unnamed.push(`{"line":${unnamed.length}${i % 2 === 0 ? "" : ',"topic":"elsewhere"'}}`);
            text += `${unnamed.at(-1)}\n`;
          }
          appendFileSync(path, text);
        }
      });
      await finish(config);
      await expectExactly(kafka, topic, [writer]);
      const file = dir.file("dlq.toml");
      writeFileSync(file, config);
      const { stdout } = await runShipper({ args: ["dlq", "ls", "--config", file, "--json"] });
      const { letters } = JSON.parse(stdout).sinks[0];
      expect(letters.length).toBe(unnamed.length);
      const reasons = letters.map(({ reason }: { reason: string }) => reason);
      expect([...new Set(reasons)].sort()).toEqual(["template_error", "topic_not_allowed"]);
      const args = ["dlq", "replay", "--config", file, "--sink", "out", "--json"];
      expect((await runShipper({ args })).code).toBe(1);
      const other = await kafka.createTopic();
      expect(JSON.parse((await runShipper({ args: [...args, "--to", other] })).stdout).replayed).toBe(
        unnamed.length,
      );
      const values = (await kafka.readTopic(other)).map(({ value }) => String(value));
      expect(values.sort()).toEqual([...unnamed].sort());
    },
    240_000,
  );
}
