import { beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleChecker, OracleWriter } from "../support/oracle.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";
import { waitUntil } from "../support/wait_until.ts";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** A configuration with one file source and one sink; `sink` holds more lines of the sink. */
function config(options: { dataDir: string; include: string; topic: string; sink?: string }): string {
  return `data_dir = ${JSON.stringify(options.dataDir)}
[sources.app]
type = "file"
include = [${JSON.stringify(options.include)}]
[sinks.events]
type = "kafka"
inputs = ["app"]
bootstrap_servers = "${kafka.bootstrap}"
topic = "${options.topic}"
${options.sink ?? ""}
`;
}

async function check(topic: string, run: string, writers: readonly OracleWriter[]): Promise<OracleChecker> {
  const checker = new OracleChecker(run, writers);
  await kafka.scanTopic(topic, (record) => checker.take(record.partition, String(record.value)));
  return checker;
}

describe("--once ships a file whole and in order, and the Java client reads it", () => {
  // 20,000 lines are more than what is compressed on the main thread at once: the Worker in the binary is used too.
  for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"]) {
    test(codec, async () => {
      await using dir = tempDir("codec");
      const topic = await kafka.createTopic({ partitions: 3 });
      const writer = new OracleWriter(`codec-${codec}`, "a.log");
      writer.append(dir.file("a.log"), 20_000);
      const text = config({
        dataDir: dir.file("data"),
        include: dir.file("*.log"),
        topic,
        sink: `compression = "${codec}"`,
      });
      const exit = await runShipper({ config: text, args: ["--once"] });
      expect(exit).toMatchObject({ code: 0, stdout: "" });
      expect(exit.stderr).not.toMatch(/"level":"(warn|error)"/);
      (await check(topic, `codec-${codec}`, [writer])).assertComplete();
    }, 90_000);
  }
});

test("positions are kept: a second run ships only what is new", async () => {
  await using dir = tempDir("positions");
  const topic = await kafka.createTopic();
  const writer = new OracleWriter("positions", "a.log");
  const text = config({ dataDir: dir.file("data"), include: dir.file("*.log"), topic });
  for (const count of [10, 0, 5]) {
    if (count > 0) writer.append(dir.file("a.log"), count);
    expect(await runShipper({ config: text, args: ["--once"] })).toMatchObject({ code: 0 });
  }
  (await check(topic, "positions", [writer])).assertComplete();
}, 90_000);

test("stdin is delivered to its end, a last line without newline too", async () => {
  const topic = await kafka.createTopic();
  const text = `
[sources.in]
type = "stdin"
[sinks.events]
type = "kafka"
inputs = ["in"]
bootstrap_servers = "${kafka.bootstrap}"
topic = "${topic}"
`;
  await using dir = tempDir("stdin");
  const exit = await runShipper({ config: `data_dir = "${dir.path}"\n${text}`, stdin: "one\r\ntwo\n\nlast" });
  expect(exit).toMatchObject({ code: 0 });
  expect((await kafka.readTopic(topic)).map((record) => String(record.value))).toEqual([
    "one",
    "two",
    "",
    "last",
  ]);
}, 90_000);

test(
  "appended lines and new files are shipped while it runs, and SIGTERM ends it with nothing lost",
  async () => {
    await using dir = tempDir("follow");
    const topic = await kafka.createTopic({ partitions: 2 });
    const writers = ["a.log", "b.log"].map((name) => new OracleWriter("follow", name));
    writers[0]!.append(dir.file("a.log"), 100);
    const text = config({ dataDir: dir.file("data"), include: dir.file("*.log"), topic });
    await using shipper = startShipper({ config: text });
    await waitUntil("the first lines are there", async () => await kafka.countRecords(topic) === 100);
    for (let round = 0; round < 5; round++) {
      for (const writer of writers) writer.append(dir.file(writer.file), 200);
      await Bun.sleep(20);
    }
    await waitUntil("all lines are there", async () => await kafka.countRecords(topic) === 2_100);
    shipper.signal("SIGTERM");
    expect(await shipper.waitForExit()).toMatchObject({ code: 0 });
    (await check(topic, "follow", writers)).assertComplete();
  },
  90_000,
);

test("kill -9 in the middle of a file and a restart lose nothing", async () => {
  await using dir = tempDir("kill");
  const topic = await kafka.createTopic({ partitions: 3 });
  const writer = new OracleWriter("kill", "a.log");
  writer.append(dir.file("a.log"), 200_000);
  const text = config({ dataDir: dir.file("data"), include: dir.file("*.log"), topic });
  for (let round = 0; round < 3; round++) {
    await using shipper = startShipper({ config: text });
    const before = await kafka.countRecords(topic);
    await waitUntil("some more lines are there", async () => await kafka.countRecords(topic) > before, {
      pollMs: 1,
    })
      .catch(() => {}); // all were shipped in the rounds before
    await shipper.kill();
  }
  expect(await runShipper({ config: text, args: ["--once"] })).toMatchObject({ code: 0 });
  (await check(topic, "kill", [writer])).assertComplete({ duplicatesAllowed: true });
}, 120_000);

test("neither .env nor bunfig.toml of the folder it is started in is read", async () => {
  await using dir = tempDir("cwd");
  writeFileSync(dir.file(".env"), "KAFKA_TOPIC=from-dotenv\n");
  writeFileSync(dir.file("bunfig.toml"), 'preload = ["./preload.ts"]\n');
  writeFileSync(
    dir.file("preload.ts"),
    `require("node:fs").writeFileSync(${JSON.stringify(dir.file("ran"))}, "x");\n`,
  );
  const text = config({
    dataDir: dir.file("data"),
    include: dir.file("*.log"),
    topic: "${KAFKA_TOPIC:-unset}",
  });
  await using shipper = startShipper({ config: text, cwd: dir.path, args: ["--require-healthy"] });
  const exit = await shipper.waitForExit();
  expect(exit.code).toBe(78);
  expect(exit.stderr).toContain('\\"unset\\"');
  expect(exit.stderr).not.toContain("from-dotenv");
  expect(await Bun.file(dir.file("ran")).exists()).toBe(false);
}, 90_000);
