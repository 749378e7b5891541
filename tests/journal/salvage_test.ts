import { expect, test } from "bun:test";
import { join } from "node:path";
import { PositionFrame } from "../../src/checkpoint/position_frames.ts";
import { StartError } from "../../src/errors.ts";
import { JournalFrame, writeCheckpoint } from "../../src/journal/frames.ts";
import { JOURNAL_FOLDER, type JournalContent, readJournal } from "../../src/journal/journal_reader.ts";
import { salvageJournal } from "../../src/journal/salvage.ts";
import { ByteEncoder } from "../../src/storage/byte_codec.ts";
import { readLog } from "../../src/storage/log_reader.ts";
import { SegmentedLog } from "../../src/storage/segmented_log.ts";
import { segmentName } from "../../src/storage/segment_format.ts";
import { silentLog } from "../storage/support.ts";
import { tempDir } from "../support/temp_dir.ts";
import { randomNumbers } from "../storage/simulated_files.ts";
import { DATA_DIR, ModelRun } from "./model_run.ts";
import { World } from "./model_world.ts";

const SEGMENT = segmentName(1);
const FLIPS = 400;

/** All that a restart would go by, as one text. */
function stateOf({ live, positions }: JournalContent): string {
  const batches = [...live].map(([id, { intent: { partition, segments } }]) =>
    `${id}: ${partition} ${
      segments.map(({ streamNumber, info, runs }) => `${streamNumber}@${info.startOffset} ${runs}`)
    }`
  );
  const ledgers = [...positions.entries()].flatMap(({ record, ledgers }) =>
    [...ledgers].map(([sink, { position, cursor, frontier, totals }]) =>
      `${record.id} ${sink} ${position} ${cursor} ${frontier} ${totals.coveredCount} ${totals.deliveredCount}`
    )
  );
  return [...batches, ...ledgers].join("\n");
}

function damageOf(world: World): string | null {
  try {
    readJournal(DATA_DIR, { ops: world.disk });
    return null;
  } catch (error) {
    if (error instanceof StartError) return error.code;
    throw error;
  }
}

/** A journal of one segment, and what it said after each of its commits. */
async function journalWithStates(): Promise<{ world: World; states: string[] }> {
  const world = new World(1, 512);
  const run = await ModelRun.open(world, "machine");
  const states: string[] = [];
  const note = () => states.push(stateOf(readJournal(DATA_DIR, { ops: world.disk })));
  note();
  const until = async (promise: Promise<void>) => {
    let isDone = false;
    void promise.then(() => isDone = true);
    await run.writer.until(() => isDone);
    note();
  };
  run.journal.positions.close();
  await until(run.journal.positions.flush());
  const lane = run.lanes[0]!;
  for (let round = 0; round < 8; round++) {
    world.files[0]!.append([20, 30, 70, 9, 100]);
    lane.read(world.files[0]!, run.journal.positions, 1 << 20);
    while (lane.take());
    for (let p = 0; p < lane.sink.partitions; p++) lane.seal(p, 2);
    await until(lane.intents!.durable());
    const [, second] = lane.batches;
    if (second === undefined) continue;
    lane.remove(second);
    lane.intents!.acknowledge(second.id!);
    await until(lane.intents!.durable());
  }
  return { world, states };
}

test(
  "what is salvaged of a damaged journal is what it said after one of its commits, up to the damage",
  async () => {
    const { world, states } = await journalWithStates();
    const content = world.disk.content(SEGMENT);
    const random = randomNumbers(11);
    const end = content.findLastIndex((byte) => byte !== 0) + 1;
    const kept = new Set<number>();
    for (let i = 0; i < FLIPS; i++) {
      const group = 4096 * Math.floor(random() * Math.ceil(end / 4096));
      const byte = group + Math.floor(random() * 200);
      content[byte]! ^= 1 << (i % 8);
      if (damageOf(world) === "journal-damaged") {
        const { content: salvaged, from, endByte } = salvageJournal(DATA_DIR, { ops: world.disk });
        if (from === null) {
          expect([byte < 8192, salvaged.checkpoint, salvaged.live.size]).toEqual([
            true,
            null,
            0,
          ]);
        } else {
          const index = states.lastIndexOf(stateOf(salvaged));
          expect(`byte ${byte}: state ${index}`).not.toBe(`byte ${byte}: state -1`);
          expect(endByte).toBeLessThanOrEqual(byte - byte % 4096);
          expect(salvaged.found.lastSegment).toBe(1);
          kept.add(index);
        }
      }
      content[byte]! ^= 1 << (i % 8);
    }
    // From almost nothing to almost everything.
    expect(kept.size).toBeGreaterThan(states.length / 2);
  },
  120_000,
);

test("a frame that cannot be understood ends what is salvaged, and leaves nothing of itself", async () => {
  using dir = tempDir("salvage");
  const options = {
    dir: join(dir.path, JOURNAL_FOLDER),
    kind: "journal",
    segmentBytes: 1 << 20,
    durability: "process",
    log: silentLog,
    onProblem: () => {},
    checkpoint: (add: (type: number, payload: Buffer) => void) => {
      const origin = { nextBatchId: 1, machineId: "m", dataDirInode: "1:1" };
      add(JournalFrame.CHECKPOINT, writeCheckpoint(new ByteEncoder(), origin));
    },
  } as const;
  const log = await SegmentedLog.open(options, readLog(options.dir, "journal", () => {}));
  const sink = (number: number, name: string) => new ByteEncoder().reset().varint(number).text(name).bytes();
  log.append(PositionFrame.SINK, sink(1, "first"));
  await log.commit();
  log.append(99, Buffer.from("what is this?"));
  log.append(PositionFrame.SINK, sink(2, "second"));
  await log.commit();
  log.append(PositionFrame.SINK, sink(3, "third"));
  expect(await log.close(1_000)).toBe(true);
  expect(() => readJournal(dir.path)).toThrow("There is no frame of type 99");
  const { content, from } = salvageJournal(dir.path);
  expect(content.positions.sinkNames()).toEqual(["first"]);
  expect(from).toMatchObject({ number: 1, isFree: false });
});
