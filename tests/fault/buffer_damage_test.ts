import { beforeAll, expect, test } from "bun:test";
import { cpSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import {
  API,
  bufferFolder,
  bufferSegments,
  damagedSegments,
  diskBuffer,
  finish,
  toldLosses,
  waitForBuffered,
} from "../support/disk_buffer.ts";
import { flipBit } from "../support/journal_damage.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleChecker, OracleWriter } from "../support/oracle.ts";
import {
  checkTopic,
  expectExactly,
  expectNothingLost,
  filesToKafka,
  stdinToKafka,
} from "../support/scenario.ts";
import { type Random, seededRandom } from "../support/seed.ts";
import { runShipper, startShipper } from "../support/shipper.ts";
import { type TempDir, tempDir } from "../support/temp_dir.ts";

// Files of a disk buffer that were damaged while shipper was stopped, or are older than what was delivered. A start is never refused for it; what is
// gone is counted to the last event, what is left is delivered.

const LINES = 10_000;
const SINK = `batch.max_bytes = 20000\nretry.interval_ms = 20\nretry.max_interval_ms = 200\n${
  diskBuffer("2MiB")
}`;
/** Nobody listens there: everything stays in the buffer. */
const NOBODY = "127.0.0.1:1";

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

/** A file of which all lines are in the buffer of a shipper that was stopped, and none is delivered. */
async function fillBuffer(
  dir: TempDir,
  name: string,
  stop: "SIGTERM" | "SIGKILL" = "SIGTERM",
): Promise<{ topic: string; writer: OracleWriter; config: string; segments: string[] }> {
  const topic = await kafka.createTopic({ partitions: 2 });
  const writer = new OracleWriter(name, "a.log");
  const top = `${API}\nshutdown_timeout_secs = 1`;
  const configOf = (bootstrap: string) => filesToKafka(dir, { bootstrap, topic, top, sink: SINK });
  writer.append(dir.file(writer.file), LINES);
  await using shipper = startShipper({ config: configOf(NOBODY) });
  await waitForBuffered(shipper, LINES);
  shipper.signal(stop);
  expect((await shipper.waitForExit()).code).toBe(stop === "SIGTERM" ? 0 : null);
  const segments = bufferSegments(dir.file("data")).filter((path) => statSync(path).size > 16_384);
  expect(segments.length).toBeGreaterThanOrEqual(4);
  return { topic, writer, config: configOf(kafka.bootstrap), segments };
}

interface Damage {
  readonly name: string;
  /** Damages some of the segments; returns those that are to be named and set aside. */
  readonly damage: (segments: readonly string[], random: Random) => string[];
  /** The least that has to be missing; 0: it depends on what is hit. */
  readonly lostMin: number;
}

const middleOf = (segments: readonly string[]) => segments[Math.floor(segments.length / 2)]!;

const DAMAGES: readonly Damage[] = [
  {
    name: "flipped bits in events of the middle",
    lostMin: 1,
    damage: (segments, random) => {
      const path = middleOf(segments);
      for (let i = 0; i < 3; i++) flipBit(path, random.between(20_000, 100_000));
      return [path];
    },
  },
  {
    name: "flipped bits in the oldest events",
    lostMin: 1,
    damage: (segments, random) => {
      flipBit(segments[0]!, random.between(8_300, 100_000));
      return [segments[0]!];
    },
  },
  {
    name: "flipped bits in the newest events",
    lostMin: 1,
    damage: (segments, random) => {
      flipBit(segments.at(-1)!, random.between(4_200, 10_000));
      return [segments.at(-1)!];
    },
  },
  {
    name: "a flipped bit in a header",
    lostMin: 1,
    damage: (segments, random) => {
      const path = middleOf(segments);
      flipBit(path, random.between(0, 40));
      return [path];
    },
  },
  {
    name: "a segment that was cut",
    lostMin: 1,
    damage: (segments, random) => {
      const path = middleOf(segments);
      truncateSync(path, random.between(4_200, 60_000));
      return [path];
    },
  },
  {
    name: "a segment of no length",
    lostMin: 1,
    damage: (segments) => {
      truncateSync(middleOf(segments), 0);
      return [middleOf(segments)];
    },
  },
  {
    name: "a segment that is missing",
    lostMin: 1,
    damage: (segments) => {
      rmSync(middleOf(segments));
      return [];
    },
  },
  {
    name: "the first segment missing",
    lostMin: 1,
    damage: (segments) => {
      rmSync(segments[0]!);
      return [];
    },
  },
  {
    name: "the last two segments of no length",
    lostMin: 1,
    damage: (segments) => {
      const last = segments.slice(-2);
      for (const path of last) truncateSync(path, 0);
      return last;
    },
  },
  {
    name: "two segments whose names are swapped",
    lostMin: 1,
    damage: ([first, second]) => {
      renameSync(first!, `${first}.x`);
      renameSync(second!, first!);
      renameSync(`${first}.x`, second!);
      return [first!, second!];
    },
  },
  {
    name: "one segment copied over another",
    lostMin: 1,
    damage: (segments) => {
      cpSync(segments[0]!, segments[1]!);
      return [segments[1]!];
    },
  },
  {
    name: "garbage in the place of all of them",
    lostMin: LINES,
    damage: (segments, random) => {
      for (const path of segments) {
        writeFileSync(path, Buffer.from(Array.from({ length: 20_000 }, () => random.between(0, 255))));
      }
      return [...segments];
    },
  },
  { name: "the whole folder missing", lostMin: LINES, damage: () => [] },
];

for (const { name, damage, lostMin } of DAMAGES) {
  test.concurrent(`${name}: starts, counts what is lost, keeps the file, delivers the rest`, async () => {
    await using dir = tempDir("buffer-damage");
    const random = seededRandom(`buffer, ${name}`);
    const { topic, writer, config, segments } = await fillBuffer(dir, "damage");
    const named = damage(segments, random);
    if (name.includes("folder")) rmSync(bufferFolder(dir.file("data")), { recursive: true });
    // What comes behind it, in the same file.
    writer.append(dir.file(writer.file), 500);
    const exit = await finish(config);
    const { code, lostCount } = toldLosses(exit);
    const report = (await checkTopic(kafka, topic, [writer])).report();
    expect({ ...report, code, told: lostCount, stderr: exit.stderr }).toMatchObject({
      lostCount,
      duplicatedCount: 0,
      outOfOrderCount: 0,
      damagedCount: 0,
      foreignCount: 0,
      code: 1,
    });
    expect(lostCount).toBeGreaterThanOrEqual(lostMin);
    expect(lostCount).toBeLessThanOrEqual(LINES);
    const kept = damagedSegments(dir.file("data")).join();
    for (const path of named) {
      expect(exit.stderr).toMatch(new RegExp(`"level":"error".*${errorNaming(path)}`));
      expect(kept).toContain(basename(path));
    }
    // And that was all.
    writer.append(dir.file(writer.file), 100);
    expect(await finish(config)).toMatchObject({ code: 0 });
    expect((await checkTopic(kafka, topic, [writer])).report()).toMatchObject({
      lostCount,
      duplicatedCount: 0,
    });
  }, 120_000);
}

/** A segment by its number, or by its path. */
function errorNaming(path: string): string {
  return `(${basename(path)}|segment ${parseInt(basename(path), 10)} )`;
}

test.concurrent(
  "a flipped bit in the last group before a kill -9: lost and told, or read again from the file",
  async () => {
    for (let round = 0; round < 3; round++) {
      await using dir = tempDir("buffer-last-group");
      const random = seededRandom("buffer, the last group");
      const { topic, writer, config, segments } = await fillBuffer(dir, "last-group", "SIGKILL");
      flipBit(segments.at(-1)!, random.between(4_200, 10_000));
      writer.append(dir.file(writer.file), 500);
      const exit = await finish(config);
      const { code, lostCount } = toldLosses(exit);
      const report = (await checkTopic(kafka, topic, [writer])).report();
      if (report.lostCount < lostCount) expect(exit.stderr).toContain("are read again, and are not lost");
      expect({ ...report, code }).toMatchObject({
        duplicatedCount: 0,
        damagedCount: 0,
        code: lostCount > 0 ? 1 : 0,
      });
      // Lines whose position was not stored yet count as lost, and come from the file all the same, behind those that the buffer still has.
      expect(report.lostCount).toBeLessThanOrEqual(lostCount);
      expect(report.outOfOrderCount).toBeLessThanOrEqual(lostCount);
    }
  },
  120_000,
);

/** As cp -a does. */
function copyDir(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true, preserveTimestamps: true });
}

for (const isDelivered of [true, false]) {
  test.concurrent(
    `a data_dir from an older copy, taken ${
      isDelivered ? "when all was delivered" : "with all in the buffer"
    }: nothing is lost`,
    async () => {
      await using dir = tempDir("buffer-copy");
      const { topic, writer, config } = await fillBuffer(dir, "buffer-copy");
      if (isDelivered) expect(await finish(config)).toMatchObject({ code: 0 });
      copyDir(dir.file("data"), dir.file("copy"));
      writer.append(dir.file(writer.file), 2_000);
      expect(await finish(config)).toMatchObject({ code: 0 });
      await expectExactly(kafka, topic, [writer]);
      copyDir(dir.file("copy"), dir.file("data"));
      writer.append(dir.file(writer.file), 1_000);
      expect(await finish(config)).toMatchObject({ code: 0 });
      const { duplicatedCount } = await expectNothingLost(kafka, topic, [writer]);
      expect(duplicatedCount).toBe(isDelivered ? 2_000 : LINES + 2_000);
      // From then on all is as it was.
      writer.append(dir.file(writer.file), 100);
      expect(await finish(config)).toMatchObject({ code: 0 });
      expect((await expectNothingLost(kafka, topic, [writer])).duplicatedCount).toBe(duplicatedCount);
    },
    120_000,
  );
}

test.concurrent(
  "an older copy with events of stdin in the buffer: they come again, and nothing is lost",
  async () => {
    await using dir = tempDir("buffer-copy-stdin");
    const topic = await kafka.createTopic({ partitions: 2 });
    const writers = [0, 1, 2, 3].map((life) => new OracleWriter("copy-stdin", `stdin-${life}`));
    const config = stdinToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: SINK });
    const crash = { config, stdin: writers[0]!.lines(LINES), crashAt: "after_ack:2" } as const;
    expect(await runShipper(crash)).toMatchObject({ signal: "SIGKILL" });
    copyDir(dir.file("data"), dir.file("copy"));
    expect(await finish(config, writers[1]!.lines(500))).toMatchObject({ code: 0 });
    copyDir(dir.file("copy"), dir.file("data"));
    expect(await finish(config, writers[2]!.lines(500))).toMatchObject({ code: 0 });
    expect(await finish(config, writers[3]!.lines(500))).toMatchObject({ code: 0 });
    const [first, ...others] = writers;
    // Of the first what the crash cut off was in no buffer.
    const ends = (await kafka.readTopic(topic)).map(({ value }) => String(value).split(" ")).filter((
      [, file],
    ) => file === first!.file).map(([, , seq]) => Number(seq) + 1);
    const found = [{ file: first!.file, count: Math.max(...ends) }, ...others];
    const checker = new OracleChecker("copy-stdin", found);
    await kafka.scanTopic(topic, ({ partition, value }) => checker.take(partition, String(value)));
    expect(checker.report()).toMatchObject({ lostCount: 0, foreignCount: 0, damagedCount: 0 });
  },
  120_000,
);
