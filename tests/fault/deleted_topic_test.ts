import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { deliveryOptions, FAST, QUICK } from "../support/killed_lives.ts";
import { OracleWriter } from "../support/oracle.ts";
import { startProxy } from "../support/proxy.ts";
import { filesToKafka } from "../support/scenario.ts";
import { runShipper, type Shipper, startShipper } from "../support/shipper.ts";
import { waitUntilStored } from "../support/stored_position.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

// A topic is deleted while shipper runs: on_topic_missing says what becomes of its events.

const SLOW_MS = 60_000;
const TEST_MS = 150_000;
/** Lines in the topic before it is deleted, and those that are written afterwards. */
const EARLY = 300;
const LATE = 400;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 120_000);

type Delivery = "exactly_once" | "at_least_once" | "transactional";
type Policy = "drop" | "dead_letter";

function sinkOptions(delivery: Delivery, topic: string, policy: Policy, letters: string): string {
  const how = delivery === "at_least_once" ? 'delivery = "at_least_once"' : deliveryOptions(delivery, topic);
  return `${how}\n${FAST}\nbatch.max_events = 100\nbatch.timeout_ms = 1\nmetadata_refresh_ms = 1000
on_topic_missing = "${policy}"\ntopic_missing_timeout_ms = 1000` +
    (policy === "drop" ? "" : `\ndead_letter.file = ${JSON.stringify(letters)}`);
}

function apiOf(dir: TempDir): string {
  return `[api]\naddress = "unix:${dir.file("api.sock")}"`;
}

/** Sum of a metric over all its labels that `labels` is a part of. */
async function metric(dir: TempDir, name: string, labels = ""): Promise<number> {
  const answer = await fetch("http://localhost/metrics", { unix: dir.file("api.sock") });
  let sum = 0;
  for (const line of (await answer.text()).split("\n")) {
    if (line.startsWith(`${name}{`) && line.includes(labels)) sum += Number(line.split(" ").at(-1));
  }
  return sum;
}

const givenUp = (dir: TempDir, policy: Policy) =>
  metric(
    dir,
    policy === "drop" ? "shipper_sink_dropped_events_total" : "shipper_sink_dead_lettered_events_total",
    'reason="topic_missing"',
  );
const delivered = (dir: TempDir) => metric(dir, "shipper_sink_delivered_events_total");

function lettersIn(path: string): { readonly id: string; readonly reason: string; readonly value: string }[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

async function stop(shipper: Shipper): Promise<string> {
  shipper.signal("SIGTERM");
  const exit = await shipper.waitForExit(SLOW_MS);
  expect(exit).toMatchObject({ code: 0, signal: null });
  return exit.stderr;
}

async function until(what: string, shipper: Shipper, condition: () => Promise<boolean>): Promise<void> {
  await waitUntil(what, condition, { timeoutMs: SLOW_MS, pollMs: 50 }).catch((error: Error) => {
    throw new Error(`${error.message}\n${shipper.stderr.slice(-4_000)}`);
  });
}

describe("a topic that is deleted while it is written to", () => {
  for (const delivery of ["exactly_once", "at_least_once", "transactional"] as const) {
    for (const [policy, partitionsAfter] of [["drop", 1], ["dead_letter", 5]] as const) {
      test(
        `${delivery}, ${policy}: everything is given up and counted, and what comes later goes to the new one, which has ${partitionsAfter} partitions`,
        () => deleteAndMakeAgain(delivery, policy, partitionsAfter),
        TEST_MS,
      );
    }
  }
});

async function deleteAndMakeAgain(
  delivery: Delivery,
  policy: Policy,
  partitionsAfter: number,
): Promise<void> {
  await using dir = tempDir("deleted");
  const topic = await kafka.createTopic({ partitions: 3 });
  const letters = dir.file("letters.jsonl");
  const config = filesToKafka(dir, {
    bootstrap: kafka.bootstrap,
    topic,
    top: apiOf(dir),
    sink: `${sinkOptions(delivery, topic, policy, letters)}\nkey = "{{message}}"`,
  });
  await using shipper = startShipper({ config, testBuild: true, env: QUICK });
  const early = new OracleWriter("deleted", "early.log");
  early.append(dir.file(early.file), EARLY);
  await until("the early lines are delivered", shipper, async () => await delivered(dir) === EARLY);
  await kafka.deleteTopic(topic);
  const late = new OracleWriter("deleted", "late.log");
  late.append(dir.file(late.file), LATE);
  await until("they are given up", shipper, async () => await givenUp(dir, policy) === LATE);
  expect(await delivered(dir)).toBe(EARLY);
  expect(await metric(dir, "shipper_sink_in_flight_events")).toBe(0);
  await kafka.createTopic({ name: topic, partitions: partitionsAfter });
  // Lines that are written before it has heard of the new topic are given up too.
  let afterCount = 0;
  const after = new OracleWriter("deleted", "after.log");
  await until("lines go to the new topic", shipper, async () => {
    after.append(dir.file(after.file), 20);
    afterCount += 20;
    return await delivered(dir) > EARLY;
  });
  const last = new OracleWriter("deleted", "last.log");
  last.append(dir.file(last.file), 200);
  const total = EARLY + LATE + afterCount + 200;
  await until(
    "all is settled",
    shipper,
    async () => await delivered(dir) + await givenUp(dir, policy) === total,
  );
  const inNew = await delivered(dir) - EARLY;
  const log = await stop(shipper);
  const isolation = delivery === "transactional" ? "read_committed" as const : "read_uncommitted" as const;
  const values = (await kafka.readTopic(topic, { isolation })).map(({ value }) => String(value));
  expect(values).toHaveLength(inNew);
  expect(new Set(values).size).toBe(inNew);
  expect(values.filter((value) => value.startsWith("deleted last.log"))).toHaveLength(200);
  expect(values.filter((value) => /deleted (early|late)\.log/.test(value))).toEqual([]);
  expect((await kafka.describeTopic(topic)).length).toBe(partitionsAfter);
  if (policy === "drop") {
    expect(log).toContain(`has had no topic \\"${topic}\\" for 1000 ms`);
    if (delivery !== "transactional") {
      expect(log).toContain("may have been written to it before it was deleted");
    }
    return;
  }
  const kept = new Map(lettersIn(letters).map((letter) => [letter.id, letter]));
  expect(kept.size).toBe(total - EARLY - inNew);
  expect(new Set([...kept.values()].map(({ reason }) => reason))).toEqual(new Set(["topic_missing"]));
  // Each line is in the new topic, or a letter: never both, as far as shipper is concerned.
  const keptValues = new Set([...kept.values()].map(({ value }) => value));
  expect(values.filter((value) => keptValues.has(value))).toEqual([]);
  expect([...keptValues].filter((value) => value.includes(" late.log "))).toHaveLength(LATE);
}

for (const policy of ["drop", "dead_letter"] as const) {
  test(
    `batches that a killed run left in doubt in a topic that is no more are given up (${policy}): nothing waits, nothing is sent`,
    async () => {
      await using dir = tempDir("deleted-killed");
      await using proxy = await startProxy(kafka.proxied!.targetPort, kafka.proxied!.listenPort);
      const topic = await kafka.createTopic({ partitions: 3 });
      const letters = dir.file("letters.jsonl");
      const config = filesToKafka(dir, {
        bootstrap: proxy.address,
        topic,
        sink: sinkOptions("exactly_once", topic, policy, letters),
      });
      const writer = new OracleWriter("deleted-killed", "a.log");
      {
        await using shipper = startShipper({ config, testBuild: true, env: QUICK });
        new OracleWriter("deleted-killed", "first.log").append(dir.file("first.log"), 1);
        await until("it delivers", shipper, async () => await kafka.countRecords(topic) === 1);
        await waitUntilStored(dir.file("data"), dir.file("first.log"));
        // Written, and the answer is lost.
        proxy.setFault({ swallow: ["response"] });
        writer.append(dir.file(writer.file), LATE);
        await until("some are written", shipper, async () => await kafka.countRecords(topic) > 1);
        await shipper.kill();
      }
      proxy.heal();
      await kafka.deleteTopic(topic);
      const args = ["--once"];
      const first = await runShipper({ config, args, testBuild: true, env: QUICK, timeoutMs: SLOW_MS });
      expect(first.code, first.stderr).toBe(policy === "drop" ? 1 : 0);
      expect(first.stderr).toContain("they count as not written");
      if (policy === "drop") expect(first.stderr).toMatch(new RegExp(`"dropped":${LATE}\\b`));
      else expect(new Set(lettersIn(letters).map(({ id }) => id)).size).toBe(LATE);
      await kafka.createTopic({ name: topic });
      const second = await runShipper({ config, args, testBuild: true, env: QUICK, timeoutMs: SLOW_MS });
      expect(second.code, second.stderr).toBe(0);
      expect(await kafka.countRecords(topic)).toBe(0);
    },
    TEST_MS,
  );
}

for (const partitionsAfter of [1, 6]) {
  test(
    `made again with ${partitionsAfter} partitions in place of 3 while its events wait: each line once in the new one`,
    async () => {
      await using dir = tempDir("remade");
      const topic = await kafka.createTopic({ partitions: 3 });
      const sink = sinkOptions("exactly_once", topic, "drop", "").replace(
        /timeout_ms = 1000$/,
        "timeout_ms = 600000",
      );
      const config = filesToKafka(dir, {
        bootstrap: kafka.bootstrap,
        topic,
        top: apiOf(dir),
        sink: `${sink}\nkey = "{{message}}"`,
      });
      await using shipper = startShipper({ config, testBuild: true, env: QUICK });
      const early = new OracleWriter("remade", "early.log");
      early.append(dir.file(early.file), EARLY);
      await until("the early lines are delivered", shipper, async () => await delivered(dir) === EARLY);
      await kafka.deleteTopic(topic);
      const late = new OracleWriter("remade", "late.log");
      late.append(dir.file(late.file), LATE);
      await until(
        "it is heard of",
        shipper,
        async () => shipper.stderr.includes("the cluster does not know it"),
      );
      await kafka.createTopic({ name: topic, partitions: partitionsAfter });
      const last = new OracleWriter("remade", "last.log");
      last.append(dir.file(last.file), 200);
      await until("all is delivered", shipper, async () => await delivered(dir) === EARLY + LATE + 200);
      await stop(shipper);
      const report = await checkLines(topic, [late, last]);
      expect(report).toEqual({ late: LATE, last: 200, others: 0, repeated: 0 });
    },
    TEST_MS,
  );
}

/** Order by file is not kept over a change of partitions: docs/delivery.md. */
async function checkLines(topic: string, [late, last]: readonly OracleWriter[]): Promise<object> {
  const values = (await kafka.readTopic(topic)).map(({ value }) => String(value));
  const of = (writer: OracleWriter | undefined) =>
    values.filter((value) => value.startsWith(`${writer!.run} ${writer!.file} `)).length;
  return {
    late: of(late),
    last: of(last),
    others: values.length - of(late) - of(last),
    repeated: values.length - new Set(values).size,
  };
}
