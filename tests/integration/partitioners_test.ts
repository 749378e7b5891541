import { beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensureKafka } from "../../scripts/lib/kafka_files.ts";
import { cacheDir } from "../../scripts/lib/project.ts";
import { runCommand } from "../../scripts/lib/run_command.ts";
import { murmur2, murmur2Partition } from "../../src/batch/murmur2.ts";
import { keyPartitioner, type PartitionerName } from "../../src/batch/partitioners.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { runShipper } from "../support/shipper.ts";
import { testIf } from "../support/skip.ts";
import { tempDir } from "../support/temp_dir.ts";

const REFERENCE_DIR = join(import.meta.dir, "..", "support", "reference");
const COUNTS = [1, 3, 7, 16, 1_000];
const has = (program: string) => Bun.which(program) !== null;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** Keys of all lengths up to 40 and of any bytes, and some that are known to be special; "Hfma8K" has the least signed FNV-1a hash. */
function someKeys(): Buffer[] {
  const keys = ["", "a", "Hfma8K", "21", "foobar", "é€😀"].map((text) => Buffer.from(text));
  let seed = 1;
  for (let length = 1; length <= 40; length++) {
    for (let i = 0; i < 5; i++) {
      keys.push(
        Buffer.from(Array.from({ length }, () => (seed = Math.imul(seed, 48_271) & 0x7fffffff) >>> 8 & 0xff)),
      );
    }
  }
  return keys;
}

const partitionOf = (name: PartitionerName, key: Buffer, count: number) =>
  keyPartitioner(name)!.partition(key, 0, key.length, count);

/** Lines "PARTITIONS KEY" for the programs in tests/support/reference. */
function questions(keys: readonly (Buffer | null)[]): string {
  const lines = COUNTS.flatMap((count) =>
    keys.map((key) => `${count} ${key === null ? "-" : key.length === 0 ? "." : key.toString("hex")}`)
  );
  return lines.join("\n") + "\n";
}

describe("each partitioner beside the client that it is named after", () => {
  testIf(has("go"), "needs go", "segmentio/kafka-go", async () => {
    const binary = join(cacheDir, "balancers");
    await runCommand("go", ["build", "-o", binary, "."], { cwd: REFERENCE_DIR });
    const keys = someKeys();
    const { stdout } = await runCommand(binary, [], { stdin: questions(keys) });
    const answers = stdout.trim().split("\n").map((line) => line.split(" ").map(Number));
    const names = [
      "fnv1a",
      "fnv1a_reference",
      "consistent",
      "consistent_random",
      "murmur2",
      "murmur2_random",
    ] as const;
    expect(answers.length).toBe(COUNTS.length * keys.length);
    for (const [at, answer] of answers.entries()) {
      const key = keys[at % keys.length]!;
      const count = COUNTS[Math.floor(at / keys.length)]!;
      for (const [column, name] of names.entries()) {
        // It takes any partition for an empty key there.
        if (name === "consistent_random" && key.length === 0) continue;
        expect(partitionOf(name, key, count), `${name} of ${key.toString("hex")}`).toBe(answer[column]!);
      }
    }
    // What is not there is hashed as nothing, or goes anywhere.
    const absent = await runCommand(binary, [], { stdin: questions(Array.from({ length: 60 }, () => null)) });
    const rows = absent.stdout.trim().split("\n").map((line) => line.split(" ").map(Number)).slice(60, 120);
    for (const [column, name] of names.entries()) {
      const seen = new Set(rows.map((row) => row[column]!));
      const isSpread = keyPartitioner(name)!.spreads !== "none";
      expect(seen.size > 1, name).toBe(isSpread);
      if (!isSpread) expect([...seen]).toEqual([partitionOf(name, Buffer.alloc(0), COUNTS[1]!)]);
    }
  }, 300_000);

  test("Kafka's Java client", async () => {
    const { classpath } = await ensureKafka();
    const keys = someKeys();
    const source = join(REFERENCE_DIR, "Murmur2.java");
    const { stdout } = await runCommand("java", ["-cp", classpath, source], { stdin: questions(keys) });
    const answers = stdout.trim().split("\n").map((line) => line.split(" ").map(Number));
    expect(answers.length).toBe(COUNTS.length * keys.length);
    for (const [at, [hash, partition]] of answers.entries()) {
      const key = keys[at % keys.length]!;
      expect(murmur2(key, 0, key.length)).toBe(hash!);
      expect(murmur2Partition(key, 0, key.length, COUNTS[Math.floor(at / keys.length)]!)).toBe(partition!);
    }
    expect(answers.some(([hash]) => hash! < 0)).toBe(true);
  }, 120_000);
});

const BY_KEY = [
  "fnv1a",
  "fnv1a_consistent",
  "consistent",
  "consistent_random",
  "murmur2",
  "murmur2_random",
] as const;
/** Of librdkafka: its "fnv1a" hashes absent keys, which "fnv1a" here spreads as kafka-go does. */
const KCAT_NAMES: Readonly<Record<string, string>> = { fnv1a: "fnv1a_random", fnv1a_consistent: "fnv1a" };

/** Where each key of a topic is. */
async function placesOf(topic: string): Promise<Map<string, Set<number>>> {
  const places = new Map<string, Set<number>>();
  for (const { key, partition } of await kafka.readTopic(topic)) {
    const text = String(key ?? "");
    places.set(text, (places.get(text) ?? new Set()).add(partition));
  }
  return places;
}

/** One sink a partitioner, all with one source. */
function sinks(topics: Readonly<Record<string, string>>, lines = 'key = "{{k}}"'): string {
  return Object.entries(topics).map(([partitioner, topic]) =>
    `[sinks.${partitioner}]\ntype = "kafka"\ninputs = ["in"]\nbootstrap_servers = "${kafka.bootstrap}"\n` +
    `topic = "${topic}"\npartitioner = "${partitioner}"\n${lines}\n`
  ).join("");
}

const sourceOf = (dir: { file(name: string): string }) =>
  `data_dir = "${dir.file("data")}"\n[sources.in]\ntype = "file"\ninclude = ["${
    dir.file("*.log")
  }"]\ndecoding.codec = "json"\n`;

/** Text that kcat can read as a line. */
const textKeys = () => [
  "Hfma8K",
  "21",
  "foobar",
  "é€😀",
  ...Array.from({ length: 120 }, (_, i) => `user-${i * 7919}`.slice(i % 9)),
];

testIf(
  has("kcat"),
  "needs kcat",
  "shipper and kcat put the same keys into the same partitions of a real cluster",
  async () => {
    const keys = textKeys();
    for (const partitions of [1, 3, 16]) {
      await using dir = tempDir("kcat");
      const ours: Record<string, string> = {};
      const theirs: Record<string, string> = {};
      for (const name of BY_KEY) {
        ours[name] = await kafka.createTopic({ partitions });
        theirs[name] = await kafka.createTopic({ partitions });
      }
      writeFileSync(dir.file("a.log"), keys.map((k) => JSON.stringify({ k, message: "v" }) + "\n").join(""));
      const exit = await runShipper({ config: sourceOf(dir) + sinks(ours), args: ["--once"] });
      expect(exit.code, exit.stderr).toBe(0);
      writeFileSync(dir.file("kcat.txt"), keys.map((key) => `${key}\tv\n`).join(""));
      for (const name of BY_KEY) {
        const partitioner = `topic.partitioner=${KCAT_NAMES[name] ?? name}`;
        const kcat = ["-P", "-b", kafka.bootstrap, "-t", theirs[name]!, "-K", "\t", "-X", partitioner, "-l"];
        await runCommand("kcat", [...kcat, dir.file("kcat.txt")]);
        const wanted = await placesOf(theirs[name]!);
        expect(wanted.size).toBe(keys.length);
        expect(await placesOf(ours[name]!), `${name}, ${partitions} partitions`).toEqual(wanted);
      }
    }
  },
  240_000,
);

test(
  "shipper and the Java producer put the same keys into the same partitions, and spread what has none",
  async () => {
    await using dir = tempDir("java");
    const keys = [...textKeys(), ""];
    const [ours, theirs] = [
      await kafka.createTopic({ partitions: 7 }),
      await kafka.createTopic({ partitions: 7 }),
    ];
    writeFileSync(
      dir.file("a.log"),
      keys.map((k) => JSON.stringify({ k, message: "v" }) + "\n").join("") + '{"message":"none"}\n'.repeat(3),
    );
    const exit = await runShipper({
      config: sourceOf(dir) + sinks({ murmur2_random: ours }),
      args: ["--once"],
    });
    expect(exit.code, exit.stderr).toBe(0);
    await kafka.produce(theirs, keys.map((key) => ({ key, value: "v" })));
    const wanted = await placesOf(theirs);
    const records = await kafka.readTopic(ours);
    for (const { key, value, partition } of records) {
      if (String(value) === "v") expect([...wanted.get(String(key))!], String(key)).toEqual([partition]);
    }
    const none = records.filter(({ value }) => String(value) === "none");
    expect(none.map(({ key }) => String(key))).toEqual(["", "", ""]);
    expect(new Set(none.map(({ partition }) => partition)).size).toBe(1);
  },
  120_000,
);

test("round_robin, least_bytes and field place record by record", async () => {
  await using dir = tempDir("places");
  const topics = {
    round_robin: await kafka.createTopic({ partitions: 4 }),
    least_bytes: await kafka.createTopic({ partitions: 4 }),
    field: await kafka.createTopic({ partitions: 4 }),
  };
  const lines = Array.from(
    { length: 200 },
    (_, i) => JSON.stringify({ p: i % 9 === 8 ? "x" : i % 6, message: `${i} `.padEnd(10 + i % 40, "x") }),
  );
  writeFileSync(dir.file("a.log"), lines.join("\n") + "\n");
  const { field, ...others } = topics;
  const config = sourceOf(dir) + sinks(others, "") + sinks({ field }, 'partition_field = "p"');
  const exit = await runShipper({ config, args: ["--once"] });
  expect(exit.code, exit.stderr).toBe(0);
  const number = (value: Buffer | null) => parseInt(String(value), 10);
  for (const { partition, value } of await kafka.readTopic(topics.round_robin)) {
    expect(number(value) % 4).toBe(partition);
  }
  for (const { partition, value } of await kafka.readTopic(topics.field)) {
    const i = number(value);
    expect(partition).toBe(i % 9 === 8 || i % 6 > 3 ? 0 : i % 6);
  }
  const bytes = [0, 0, 0, 0];
  for (const { partition, value } of await kafka.readTopic(topics.least_bytes)) {
    bytes[partition]! += value!.length;
  }
  expect(Math.max(...bytes) - Math.min(...bytes)).toBeLessThan(60);
}, 120_000);

// A configuration for librdkafka with partitioner = "fnv1a" had absent keys spread, which librdkafka puts into one partition.
testIf(
  has("kcat"),
  "needs kcat",
  "records without a key are in the partition that librdkafka takes for them, under its own name of the partitioner",
  async () => {
    for (const partitions of [3, 16]) {
      for (const name of ["fnv1a", "consistent", "murmur2"]) {
        await using dir = tempDir("kcat-absent");
        const [ours, theirs] = [
          await kafka.createTopic({ partitions }),
          await kafka.createTopic({ partitions }),
        ];
        writeFileSync(dir.file("a.log"), '{"message":"v"}\n'.repeat(40));
        const sink =
          `[sinks.out]\ntype = "kafka"\ninputs = ["in"]\nbootstrap_servers = "${kafka.bootstrap}"\n` +
          `topic = "${ours}"\nkey = "{{k}}"\nlibrdkafka_options = { partitioner = "${name}" }\n`;
        const exit = await runShipper({ config: sourceOf(dir) + sink, args: ["--once"] });
        expect(exit.code, exit.stderr).toBe(0);
        writeFileSync(dir.file("kcat.txt"), "\tv\n".repeat(40));
        const kcat = [
          "-P",
          "-b",
          kafka.bootstrap,
          "-t",
          theirs,
          "-K",
          "\t",
          "-Z",
          "-X",
          `topic.partitioner=${name}`,
          "-l",
        ];
        await runCommand("kcat", [...kcat, dir.file("kcat.txt")]);
        const placeOf = async (
          topic: string,
        ) => [...new Set((await kafka.readTopic(topic)).map(({ partition }) => partition))];
        const wanted = await placeOf(theirs);
        expect((await kafka.readTopic(theirs)).every(({ key }) => key === null)).toBe(true);
        expect(wanted).toHaveLength(1);
        expect(await placeOf(ours), `${name}, ${partitions} partitions`).toEqual(wanted);
      }
    }
  },
  120_000,
);
