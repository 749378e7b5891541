import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { filesToKafka } from "../support/scenario.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Events whose topic is not there, and that are kept as dead letters.

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

const unique = (name: string) => `${name}-${crypto.randomUUID().slice(0, 8)}`;
const valuesOf = async (topic: string) => (await kafka.readTopic(topic)).map(({ value }) => String(value));

describe("events whose topic is not there, as dead letters", () => {
  interface Letter {
    readonly id: string;
    readonly reason: string;
    readonly topic: string | null;
    readonly offset: number;
    readonly value: string;
    readonly key: string | null;
  }

  const lettersIn = (path: string): Letter[] =>
    existsSync(path)
      ? readFileSync(path, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))
      : [];

  test("killed at any moment: each line is in its topic once, or a letter", async () => {
    await using dir = tempDir("diverted-kill");
    const name = unique("tpl");
    await kafka.createTopic({ name: `${name}-web`, partitions: 2 });
    const letters = dir.file("letters.jsonl");
    const sink =
      `on_topic_missing = "dead_letter"\ntopic_missing_timeout_ms = 50\ndead_letter.file = "${letters}"\n` +
      "batch.max_bytes = 2000\nbatch.timeout_ms = 1\nretry.interval_ms = 20";
    const source = 'decoding.codec = "json"';
    const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic: `${name}-{{kind}}`, source, sink });
    let count = 0;
    for (let cycle = 0; cycle < 10; cycle++) {
      const lines = Array.from(
        { length: 300 },
        () => JSON.stringify({ kind: count % 3 === 0 ? "gone" : "web", message: `m${count++}` }),
      );
      writeFileSync(dir.file("app.log"), lines.join("\n") + "\n", { flag: "a" });
      await using shipper = startShipper({ config });
      await Bun.sleep(60 + 65 * cycle);
      await shipper.kill();
    }
    const exit = await runShipper({ config, args: ["--once"] });
    expect(exit.code, exit.stderr).toBe(0);
    const numbers = (values: readonly string[]) =>
      values.map((value) => Number(value.slice(1))).sort((a, b) => a - b);
    const all = Array.from({ length: count }, (_, i) => i);
    expect(numbers(await valuesOf(`${name}-web`))).toEqual(all.filter((i) => i % 3 !== 0));
    // A letter may be there twice, under the same id.
    const byId = new Map(lettersIn(letters).map(({ id, value }) => [id, value]));
    expect(numbers([...byId.values()])).toEqual(all.filter((i) => i % 3 === 0));
  }, 120_000);

  for (const delivery of ["exactly_once", "transactional"]) {
    test(
      `whose topic nobody makes are kept too, and sent once somebody has made it (${delivery})`,
      async () => {
        await using dir = tempDir("missing-letters");
        const topic = unique("late");
        const letters = dir.file("letters.jsonl");
        const path = dir.file("app.log");
        writeFileSync(path, "early 1\nearly 2\n");
        const sink =
          `delivery = "${delivery}"\non_topic_missing = "dead_letter"\ntopic_missing_timeout_ms = 300\ndead_letter.file = "${letters}"` +
          (delivery === "transactional" ? `\ntransactional_id = "${topic}"` : "");
        const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink });
        await using shipper = startShipper({ config });
        await waitUntil("the letters are there", () => lettersIn(letters).length === 2);
        expect(lettersIn(letters)).toMatchObject(
          [1, 2].map((i) => ({ reason: "topic_missing", topic, value: `early ${i}` })),
        );
        await kafka.createTopic({ name: topic, partitions: 2 });
        let count = 0;
        const arrives = async () => {
          writeFileSync(path, `late ${count++}\n`, { flag: "a" });
          return await kafka.countRecords(topic) > 0;
        };
        await waitUntil("what comes then arrives", arrives, { pollMs: 200 });
        shipper.signal("SIGTERM");
        expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
        const isolation = delivery === "transactional"
          ? "read_committed" as const
          : "read_uncommitted" as const;
        const sent = (await kafka.readTopic(topic, { isolation })).map(({ value }) => String(value));
        const kept = lettersIn(letters).map(({ value }) => value);
        expect([...sent, ...kept].sort()).toEqual(
          ["early 1", "early 2", ...Array.from({ length: count }, (_, i) => `late ${i}`)].sort(),
        );
      },
      120_000,
    );
  }
});
