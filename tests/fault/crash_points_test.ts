import { beforeAll, describe, expect, test } from "bun:test";
import type { CrashPointName, CrashPointSpec } from "../../src/telemetry/crash_point.ts";
import { sharedCluster, type TestKafka } from "../support/kafka.ts";
import { OracleWriter } from "../support/oracle.ts";
import { expectExactly, filesToKafka } from "../support/scenario.ts";
import { type Random, seededRandom } from "../support/seed.ts";
import { runShipper, type ShipperExit, type ShipperOptions, startShipper } from "../support/shipper.ts";
import { tempDir } from "../support/temp_dir.ts";

const LINES_PER_FILE = 1_200;
/** A request of more than 16 KiB goes out in pieces, between which it can die. About 20 of them. */
const BATCH_BYTES = 20_000;
/** Passings of a point that 3 files on 6 partitions reach, as a rule. */
const PASSINGS_MAX = 4;
/** So often more lines come to a run that has not come to its point. */
const MORE_LINES_MS = 1_000;

/** Points on the usual way, and those that only a start after a crash comes to: `first` is then where the first run dies. */
const POINTS: readonly { readonly point: CrashPointName; readonly first?: CrashPointName }[] = [
  { point: "after_intent_write" },
  { point: "after_intent_fsync" },
  { point: "after_partial_send" },
  { point: "after_send" },
  { point: "after_ack" },
  { point: "before_ack_frame" },
  { point: "during_resolve", first: "after_send" },
  { point: "during_resolve", first: "after_partial_send" },
  { point: "during_resolve", first: "after_ack" },
  // Only what was certainly not written is sent again.
  { point: "after_resend", first: "after_intent_fsync" },
  { point: "after_ack", first: "after_partial_send" },
  { point: "before_ack_frame", first: "after_intent_fsync" },
];

/** Points at the change from one segment of the journal to the next. */
const SEGMENT_POINTS = ["mid_checkpoint", "before_unlink", "after_unlink"] as const;

let kafka: TestKafka;
beforeAll(async () => {
  kafka = await sharedCluster();
}, 240_000);

interface Scenario {
  readonly partitions: number;
  readonly topicConfigs?: Readonly<Record<string, string>>;
  readonly files?: readonly string[];
  readonly linesPerFile?: number;
  readonly batchBytes?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs that die one after the other, and one that ends; all is there once, in order, after it. */
async function crashThenFinish(crashes: readonly CrashPointSpec[], scenario: Scenario): Promise<void> {
  const { partitions, topicConfigs = {}, files = ["a.log", "b.log", "c.log"] } = scenario;
  await using dir = tempDir("point");
  const topic = await kafka.createTopic({ partitions, configs: topicConfigs });
  const writers = files.map((name) => new OracleWriter("point", name));
  const config = filesToKafka(dir, {
    bootstrap: kafka.bootstrap,
    topic,
    sink: `batch.max_bytes = ${scenario.batchBytes ?? BATCH_BYTES}`,
  });
  const write = () => {
    for (const writer of writers) {
      writer.append(dir.file(writer.file), scenario.linesPerFile ?? LINES_PER_FILE);
    }
  };
  write();
  const { env = {} } = scenario;
  for (const crashAt of crashes) {
    const exit = await untilDead(
      { config, crashAt, env },
      scenario.linesPerFile === undefined ? write : null,
    );
    expect([crashAt, exit.signal]).toEqual([crashAt, "SIGKILL"]);
    // What is new after a crash comes behind what is in doubt.
    if (scenario.linesPerFile === undefined) write();
  }
  expect(await runShipper({ config, args: ["--once"], testBuild: true, env })).toMatchObject({ code: 0 });
  await expectExactly(kafka, topic, writers);
}

/** Runs to its death. All lines may be in fewer groups of the journal than it has to pass: then more come. */
async function untilDead(options: ShipperOptions, write: (() => void) | null): Promise<ShipperExit> {
  await using shipper = startShipper(options);
  const feeding = write === null ? null : setInterval(write, MORE_LINES_MS);
  try {
    return await shipper.waitForExit();
  } finally {
    if (feeding !== null) clearInterval(feeding);
  }
}

function passing(point: CrashPointName, random: Random): CrashPointSpec {
  return `${point}:${random.between(1, PASSINGS_MAX)}`;
}

for (const partitions of [1, 6]) {
  describe(`kill -9 at a named point, ${partitions} partition(s): none lost, none twice, in order`, () => {
    // With several partitions intents share a group, and the journal does not come to its next segment so soon.
    for (const point of partitions === 1 ? SEGMENT_POINTS : []) {
      test.concurrent(`${point}, twice`, async () => {
        seededRandom(`${point}, ${partitions} partition(s)`);
        // So many small batches that the journal comes to its next segment, and to the reuse of the one before.
        await crashThenFinish([point, point], { partitions, batchBytes: 2_000 });
      }, 240_000);
    }
    test.concurrent("before_replace, then after_replace", async () => {
      seededRandom(`before_replace, ${partitions} partition(s)`);
      // One batch of 34 kB, which the broker refuses and whose halves it takes. The second run looks twice before it renumbers it.
      await crashThenFinish(["before_replace", "after_replace"], {
        partitions,
        topicConfigs: { "max.message.bytes": "25000" },
        files: ["a.log"],
        linesPerFile: 300,
        batchBytes: 1_000_000,
        env: { SHIPPER_TEST_RECHECK_MS: "2000" },
      });
    }, 240_000);
    for (const { point, first } of POINTS) {
      const name = first === undefined ? point : `${first}, then ${point}`;
      test.concurrent(name, async () => {
        const random = seededRandom(`${name}, ${partitions} partition(s)`);
        // What only a recovery passes it may pass once.
        const crashes = first === undefined
          ? [passing(point, random), passing(point, random)]
          : [passing(first, random), `${point}:1` as const];
        await crashThenFinish(crashes, { partitions });
      }, 240_000);
    }
  });
}
