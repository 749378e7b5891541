import { beforeAll, describe, expect, test } from "bun:test";
import type { CrashPointName, CrashPointSpec } from "../../src/telemetry/crash_point.ts";
import { diskBuffer, finish, StdinLives } from "../support/disk_buffer.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { type Random, seededRandom } from "../support/seed.ts";
import { runShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

// A process that dies between two steps of the way through a disk buffer: what is in the buffer arrives once, in order; what of a file is not in
// it is read again; what of a pipe is not in it was the last of what was read.

const LINES_PER_FILE = 1_200;
/** More than the buffer has room for: they do not get into it by one commit. */
const MANY_LINES = 4_000;
const STDIN_LINES = 4_000;
const BATCH_BYTES = 20_000;
/** Passings that so many lines reach for certain: of points that batches pass, and of those that groups of the buffer do. */
const PASSINGS_MAX = 4;
const BUFFER_PASSINGS_MAX = 2;

interface Case {
  readonly point: CrashPointName;
  /** Where the run before dies, for points that only a start after a crash comes to. */
  readonly first?: CrashPointName;
  readonly passingsMax?: number;
  /** Dies there in runs one after the other, so often. */
  readonly times?: number;
  readonly batchBytes?: number;
  readonly linesPerFile?: number;
}

/** A start that finds events in the buffer: which of them are delivered, and where their files are, follows from both logs. */
const CASES: readonly Case[] = [
  { point: "before_buffer_commit", passingsMax: BUFFER_PASSINGS_MAX, linesPerFile: MANY_LINES },
  { point: "after_buffer_commit", passingsMax: BUFFER_PASSINGS_MAX, linesPerFile: MANY_LINES },
  // Events are there whose lines no position covers: told by the events themselves.
  { point: "after_buffer_commit", times: 4 },
  { point: "before_buffer_release" },
  { point: "before_unlink" },
  { point: "after_unlink" },
  { point: "mid_checkpoint", batchBytes: 2_000 },
  { point: "after_intent_write", passingsMax: PASSINGS_MAX },
  { point: "after_intent_fsync", passingsMax: PASSINGS_MAX },
  { point: "after_partial_send", passingsMax: PASSINGS_MAX },
  { point: "after_send", passingsMax: PASSINGS_MAX },
  { point: "after_ack", passingsMax: PASSINGS_MAX },
  { point: "before_ack_frame", passingsMax: PASSINGS_MAX },
  { point: "during_resolve", first: "after_send" },
  { point: "during_resolve", first: "after_ack" },
  { point: "after_resend", first: "after_intent_fsync" },
  { point: "before_ack_frame", first: "after_intent_fsync" },
  { point: "before_buffer_release", first: "after_partial_send" },
];

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

function crashesOf({ point, first, passingsMax = 1, times = 2 }: Case, random: Random): CrashPointSpec[] {
  if (first !== undefined) return [`${first}:${random.between(1, PASSINGS_MAX)}`, `${point}:1`];
  return Array.from({ length: times }, () => `${point}:${random.between(1, passingsMax)}` as const);
}

function nameOf({ point, first, times = 2 }: Case): string {
  return first === undefined ? `${point}, ${times} times` : `${first}, then ${point}`;
}

function sinkOf({ batchBytes = BATCH_BYTES }: Case): string {
  return `batch.max_bytes = ${batchBytes}\n${diskBuffer()}`;
}

/** Runs that die one after the other, and one that ends; new lines come after each crash. */
async function crashFiles(each: Case, partitions: number, random: Random): Promise<void> {
  await using dir = tempDir("buffer-point");
  const topic = await kafka.createTopic({ partitions });
  const writers = ["a.log", "b.log", "c.log"].map((name) => new OracleWriter("buffer-point", name));
  const config = filesToKafka(dir, { bootstrap: kafka.bootstrap, topic, sink: sinkOf(each) });
  const write = () => {
    for (const writer of writers) writer.append(dir.file(writer.file), each.linesPerFile ?? LINES_PER_FILE);
  };
  write();
  for (const crashAt of crashesOf(each, random)) {
    const { signal } = await runShipper({ config, crashAt });
    expect([crashAt, signal]).toEqual([crashAt, "SIGKILL"]);
    write();
  }
  expect(await finish(config)).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, writers);
}

async function crashStdin(each: Case, partitions: number, random: Random): Promise<void> {
  await using dir = tempDir("buffer-stdin");
  const topic = await kafka.createTopic({ partitions });
  const lives = new StdinLives(dir, "buffer-stdin", {
    bootstrap: kafka.bootstrap,
    topic,
    sink: sinkOf(each),
  });
  const { config } = lives;
  for (const crashAt of crashesOf(each, random)) {
    const { signal } = await runShipper({ config, crashAt, stdin: lives.next().lines(STDIN_LINES) });
    expect([crashAt, signal]).toEqual([crashAt, "SIGKILL"]);
  }
  expect(await finish(config, lives.next().lines(STDIN_LINES))).toMatchObject({ code: 0 });
  await lives.check(kafka);
}

describe("kill -9 at a named point with the buffer on disk: none lost, none twice, in order", () => {
  for (const [index, each] of CASES.entries()) {
    // Both numbers of partitions come to both sources, but not every point to all four.
    const partitions = index % 2 === 0 ? [1, 6] : [6, 1];
    test.concurrent(`${nameOf(each)}: files, ${partitions[0]} partition(s)`, async () => {
      await crashFiles(each, partitions[0]!, seededRandom(`buffer, files, ${nameOf(each)}`));
    }, 240_000);
    test.concurrent(`${nameOf(each)}: stdin, ${partitions[1]} partition(s)`, async () => {
      await crashStdin(each, partitions[1]!, seededRandom(`buffer, stdin, ${nameOf(each)}`));
    }, 240_000);
  }
});
