import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { CrashPointSpec } from "../../src/telemetry/crash_point.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import {
  deliveryOptions,
  expectDeliveredBy,
  FAST,
  finish,
  killOften,
  QUICK,
} from "../support/killed_lives.ts";
import { expectLetters, lettersIn, MixedLog } from "../support/mixed_log.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// Events that the brokers never take: the rest is delivered exactly once, and they are in the file of dead letters, whatever is killed.

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

const WAYS = [
  {
    name: "exactly once",
    sink: "",
    points: ["after_replace:2", "before_replace:2", "after_send:3", "after_ack:4"],
  },
  {
    name: "exactly once with a disk buffer",
    sink: 'buffer.type = "disk"\nbuffer.max_size = "8MiB"',
    points: ["after_replace:1", "after_intent_fsync:3", "before_ack_frame:2"],
  },
] as const;

for (const { name, sink, points } of WAYS) {
  test.concurrent(`${name}, killed at named points: the rest exactly, and every letter`, async () => {
    await using dir = tempDir("letters");
    const topic = await kafka.createTopic({ partitions: 2, configs: { "max.message.bytes": "4000" } });
    const log = new MixedLog("letters", dir);
    const file = dir.file("dead.jsonl");
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      sink: `${FAST}\ndead_letter.file = "${file}"\nbatch.max_bytes = 3000\n${sink}`,
    });
    log.append(200, 4);
    for (const crashAt of points as readonly CrashPointSpec[]) {
      const exit = await runShipper({ config, crashAt, args: ["--once"], env: QUICK, timeoutMs: 40_000 });
      expect({ crashAt, ...exit }).toMatchObject({ signal: "SIGKILL" });
      log.append(100, 2);
    }
    // What is kept is not lost: --once has done all it can.
    await finish(config, 40_000);
    await expectExactly(kafka, topic, [log.writer]);
    expectLetters(lettersIn(file), log, sink !== "");
    const again = await runShipper({ config, args: ["--once"] });
    expect(again.stderr).toContain('"delivered":0,"dropped":0}');
  }, 180_000);
}

for (const delivery of ["exactly_once", "transactional"] as const) {
  test.concurrent(`${delivery}, kill -9 at random times: the rest exactly, and every letter`, async () => {
    await using dir = tempDir("letters-killed");
    const random = seededRandom(`letters ${delivery}`);
    const topic = await kafka.createTopic({ partitions: 3, configs: { "max.message.bytes": "4000" } });
    const log = new MixedLog("letters-killed", dir);
    const file = dir.file("dead.jsonl");
    const more = deliveryOptions(delivery, topic);
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      sink: `${FAST}\ndead_letter.file = "${file}"\ncompression = "lz4"\n${more}`,
    });
    await killOften(config, random, delivery === "transactional" ? 4 : 8, () => log.append(150, 3));
    await finish(config);
    await expectDeliveredBy(delivery, kafka, topic, log.writer);
    expectLetters(lettersIn(file), log);
  }, 240_000);
}

test.concurrent(
  "a file that cannot be written holds events back, and none is lost when it can be again",
  async () => {
    await using dir = tempDir("letters-blocked");
    const topic = await kafka.createTopic();
    const log = new MixedLog("letters-blocked", dir);
    const folder = dir.file("not-yet");
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      sink: `${FAST}\nmax_message_bytes = 3000\ndead_letter.file = "${folder}/dead.jsonl"`,
    });
    log.append(300, 2);
    await using shipper = startShipper({ config });
    await shipper.waitForLog(/Cannot write dead letters to .*ENOENT.*1 event waits/u);
    expect(await kafka.countRecords(topic)).toBeLessThan(log.writer.count);
    mkdirSync(folder);
    await waitUntil("all is delivered", async () => await kafka.countRecords(topic) === log.writer.count, {
      timeoutMs: 40_000,
    });
    shipper.signal("SIGTERM");
    const exit = await shipper.waitForExit();
    expect(exit).toMatchObject({ code: 0 });
    expect(exit.stderr).toContain(`"delivered":${log.writer.count},"dropped":0,"dead_lettered":2`);
    await expectExactly(kafka, topic, [log.writer]);
    expect(expectLetters(lettersIn(`${folder}/dead.jsonl`), log)).toBe(0);
  },
  120_000,
);

test.concurrent("letters are replayed once, byte by byte, and not again", async () => {
  await using dir = tempDir("letters-replayed");
  const topic = await kafka.createTopic();
  const other = await kafka.createTopic({ partitions: 3 });
  const log = new MixedLog("letters-replayed", dir);
  const sink = `${FAST}\ndead_letter.file = "${dir.file("dead.jsonl")}"\nmax_message_bytes = `;
  const config = (maxBytes: number) =>
    filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: `${sink}${maxBytes}` });
  log.append(200, 40);
  expect(await runShipper({ config: config(3_000), args: ["--once"] })).toMatchObject({ code: 0 });
  const call = async (maxBytes: number, ...args: string[]) => {
    const file = dir.file("replay.toml");
    writeFileSync(file, config(maxBytes));
    const exit = await runShipper({ args: [...args, "--config", file, "--sink", "out", "--json"] });
    return { code: exit.code, said: JSON.parse(exit.stdout) };
  };
  const again = { sink: "out", replayed: 0, refused: 40, without_topic: 0, replayed_before: 0 };
  expect(await call(3_000, "dlq", "replay")).toEqual({ code: 1, said: again });
  const done = { sink: "out", replayed: 40, refused: 0, without_topic: 0, replayed_before: 0 };
  expect(await call(30_000, "dlq", "replay", "--to", other)).toEqual({ code: 0, said: done });
  const none = { sink: "out", replayed: 0, refused: 0, without_topic: 0, replayed_before: 40 };
  expect(await call(30_000, "dlq", "replay")).toEqual({ code: 0, said: none });
  const values = (await kafka.readTopic(other)).map(({ value }) => String(value));
  expect(values.sort()).toEqual([...log.big].sort());
  await expectExactly(kafka, topic, [log.writer]);
  const { said } = await call(30_000, "dlq", "ls");
  expect(said.sinks[0].letters.every((each: { replayed: boolean }) => each.replayed)).toBe(true);
}, 120_000);

test.concurrent("a source whose pattern matches the file of dead letters does not read it", async () => {
  await using dir = tempDir("letters-loop");
  const topic = await kafka.createTopic();
  const log = new MixedLog("letters-loop", dir);
  const file = dir.file("dead [1].log");
  const config = filesToKafka(dir, {
    bootstrap: kafka.bootstrap,
    topic,
    sink: `${FAST}\nmax_message_bytes = 3000\ndead_letter.file = ${JSON.stringify(file)}`,
  });
  log.append(100, 2);
  for (let run = 0; run < 2; run++) {
    expect(await runShipper({ config, args: ["--once"] })).toMatchObject({ code: 0 });
  }
  await expectExactly(kafka, topic, [log.writer]);
  expect(lettersIn(file).length).toBe(2);
}, 120_000);

test.concurrent(
  'on_too_large = "truncate": a record of JSON stays JSON, through kill -9, exactly once',
  async () => {
    await using dir = tempDir("letters-cut");
    const topic = await kafka.createTopic({ configs: { "max.message.bytes": "4000" } });
    const log = new MixedLog("letters-cut", dir);
    const config = filesToKafka(dir, {
      bootstrap: kafka.bootstrap,
      topic,
      sink: `${FAST}\non_too_large = "truncate"\nencoding.codec = "json"\nencoding.only_fields = ["message"]`,
    });
    log.append(100, 3);
    for (const crashAt of ["after_send:2", "after_replace:1", "before_ack_frame:2"] as const) {
      expect(await runShipper({ config, crashAt, args: ["--once"], env: QUICK })).toMatchObject({
        signal: "SIGKILL",
      });
    }
    await finish(config, 40_000);
    const messages = (await kafka.readTopic(topic)).map(({ value }) =>
      JSON.parse(String(value)).message as string
    );
    const cut = messages.filter((message) => message.startsWith("big "));
    expect(cut.length).toBe(3);
    cut.forEach((message) => {
      expect(message.length).toBeGreaterThan(3_500);
      expect(log.big.some((line) => line.startsWith(message))).toBe(true);
    });
    expect(messages.length - cut.length).toBe(log.writer.count);
    expect(new Set(messages).size).toBe(messages.length);
    const lines = new Set(readFileSync(log.path, "utf8").split("\n"));
    for (const message of messages) expect(lines.has(message) || cut.includes(message)).toBe(true);
  },
  120_000,
);
