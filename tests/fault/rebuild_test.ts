import { beforeAll, expect, test } from "bun:test";
import { appendFileSync, renameSync } from "node:fs";
import type { CrashPointSpec } from "../../src/telemetry/crash_point.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { QUICK } from "../support/killed_lives.ts";
import { runShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

// A configuration that changes while batches are in doubt: what was sent goes where it was sent, and each line is there once.

const LINES = 400;
const FAST = `retry.interval_ms = 20\nretry.max_interval_ms = 200`;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

interface Setting {
  readonly topic: string;
  readonly sink?: string;
  readonly source?: string;
}

function configText(dir: TempDir, { topic, sink = "", source = "" }: Setting): string {
  return `data_dir = ${JSON.stringify(dir.file("data"))}
[sources.in]
type = "file"
include = [${JSON.stringify(dir.file("*.log"))}]
decoding.codec = "json"
${source}
[sinks.out]
type = "kafka"
inputs = ["in"]
bootstrap_servers = "${kafka.bootstrap}"
topic = "${topic}"
batch.max_bytes = 3000
${FAST}
${sink}
`;
}

/** Lines with a number, a key and some more. */
function lines(from: number, count: number): string {
  let text = "";
  for (let n = from; n < from + count; n++) {
    text += `${JSON.stringify({ n, user: `u${n % 17}`, zone: `z${n % 5}`, text: "x".repeat(n % 40) })}\n`;
  }
  return text;
}

/** Numbers of the records in these topics, as far as they exist, with the topic and the partition of each. */
async function numbersIn(topics: readonly string[]): Promise<Map<number, string[]>> {
  const places = new Map<number, string[]>();
  const isThere = await Promise.all(topics.map((topic) => kafka.hasTopic(topic)));
  for (const topic of topics.filter((_, i) => isThere[i])) {
    for (const { partition, value } of await kafka.readTopic(topic)) {
      const { n } = JSON.parse(String(value)) as { n: number };
      places.set(n, [...places.get(n) ?? [], `${topic} ${partition}`]);
    }
  }
  return places;
}

/** Kills a run with batches in doubt, goes on under another configuration, and looks for every line in all topics. */
async function change(
  crashAt: CrashPointSpec,
  topics: readonly string[],
  before: Setting,
  after: Setting,
  meanwhile: () => Promise<void> = () => Promise.resolve(),
): Promise<string> {
  await using dir = tempDir("rebuild");
  const file = dir.file("a.log");
  appendFileSync(file, lines(0, LINES));
  expect(await runShipper({ config: configText(dir, before), crashAt })).toMatchObject({ signal: "SIGKILL" });
  const sent = await numbersIn(topics);
  await meanwhile();
  appendFileSync(file, lines(LINES, LINES));
  const exit = await runShipper({
    config: configText(dir, after),
    args: ["--once"],
    testBuild: true,
    env: QUICK,
    timeoutMs: 40_000,
  });
  expect(exit).toMatchObject({ code: 0 });
  const places = await numbersIn(topics);
  const wrong = [...Array(2 * LINES).keys()].filter((n) => places.get(n)?.length !== 1);
  expect({ crashAt, wrong: wrong.map((n) => `${n}: ${places.get(n) ?? "lost"}`) }).toEqual({
    crashAt,
    wrong: [],
  });
  expect(places.size).toBe(2 * LINES);
  // What had arrived is where it was.
  for (const [n, place] of sent) expect(places.get(n)).toEqual(place);
  return exit.stderr;
}

/** The batch was not sent; it was, and nobody wrote its answer down. With one before it that is acknowledged, or not. */
for (const crashAt of ["after_intent_fsync:3", "after_ack:2", "after_send:3"] as const) {
  test.concurrent(`killed at ${crashAt}, then only_fields, key_field, the partitioner: exact`, async () => {
    const topic = await kafka.createTopic({ partitions: 3 });
    const keyed = { topic, sink: 'encoding.codec = "json"\nkey_field = "user"' };
    await change(crashAt, [topic], keyed, {
      topic,
      sink:
        'encoding.codec = "json"\nencoding.only_fields = ["n", "zone"]\nkey_field = "zone"\npartitioner = "sticky"',
    });
  }, 120_000);

  test.concurrent(`killed at ${crashAt}, then no key and another codec: exact`, async () => {
    const topic = await kafka.createTopic({ partitions: 2 });
    const keyed = { topic, sink: 'encoding.codec = "json"\nkey_field = "user"\ncompression = "lz4"' };
    await change(crashAt, [topic], keyed, { topic, sink: 'encoding.codec = "json"\ncompression = "zstd"' });
  }, 120_000);

  test.concurrent(`killed at ${crashAt}, then another topic: what was sent stays in its own`, async () => {
    const [old, next] = [await kafka.createTopic({ partitions: 2 }), await kafka.createTopic()];
    const sink = 'encoding.codec = "json"';
    await change(crashAt, [old, next], { topic: old, sink }, { topic: next, sink });
  }, 120_000);

  test.concurrent(`killed at ${crashAt}, then more partitions: exact`, async () => {
    const topic = await kafka.createTopic({ partitions: 2 });
    const setting = { topic, sink: 'encoding.codec = "json"\nkey_field = "user"' };
    await change(crashAt, [topic], setting, setting, () => kafka.addPartitions(topic, 7));
  }, 120_000);

  test.concurrent(`killed at ${crashAt}, then a date in the topic's name has changed: exact`, async () => {
    const base = await kafka.createTopic();
    // The second stands for the day.
    const setting = { topic: `${base}-%S`, sink: 'encoding.codec = "json"\ntopics_autocreate = true' };
    const names = Array.from({ length: 60 }, (_, second) => `${base}-${String(second).padStart(2, "0")}`);
    await change(crashAt, names, setting, setting, () => Bun.sleep(1_100));
  }, 120_000);
}

test("the file of a batch in doubt is renamed meanwhile, and its source is gone: exact", async () => {
  await using dir = tempDir("renamed");
  const topic = await kafka.createTopic();
  const file = dir.file("a.log");
  const renamed = dir.file("a.log.1");
  appendFileSync(file, lines(0, LINES));
  // Without its source nobody says how its lines are decoded: they are taken as they are.
  const config = configText(dir, { topic, sink: 'encoding.codec = "text"' }).replace(/^decoding.*$/m, "");
  expect(await runShipper({ config, crashAt: "after_intent_fsync:2" })).toMatchObject({ signal: "SIGKILL" });
  renameSync(file, renamed);
  const other = config.replaceAll("sources.in", "sources.other").replace('["in"]', '["other"]')
    .replace("*.log", "*.txt");
  appendFileSync(dir.file("b.txt"), lines(LINES, LINES));
  const exit = await runShipper({ config: other, args: ["--once"], testBuild: true, env: QUICK });
  expect(exit).toMatchObject({ code: 0 });
  const places = await numbersIn([topic]);
  // The batches in doubt, and the lines of the source that is there now.
  for (let n = LINES; n < 2 * LINES; n++) expect(places.get(n)).toHaveLength(1);
  expect(places.size).toBeGreaterThan(LINES);
  // Back again, the rest follows.
  renameSync(renamed, file);
  expect(await runShipper({ config, args: ["--once"], testBuild: true, env: QUICK })).toMatchObject({
    code: 0,
  });
  const all = await numbersIn([topic]);
  const wrong = [...Array(2 * LINES).keys()].filter((n) => all.get(n)?.length !== 1);
  expect(wrong.map((n) => `${n}: ${all.get(n) ?? "lost"}`)).toEqual([]);
}, 120_000);
