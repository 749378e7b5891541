import { expect, test } from "bun:test";
import { StartError } from "../../src/errors.ts";
import { readJournal } from "../../src/journal/journal_reader.ts";
import { segmentName } from "../../src/storage/segment_format.ts";
import { randomNumbers } from "../storage/simulated_files.ts";
import { DATA_DIR, ModelRun } from "./model_run.ts";
import { World } from "./model_world.ts";

const FIRST = segmentName(1);
const SECOND = segmentName(2);
/** Where the first group of a segment starts. */
const HEADER_BYTES = 4096;

/** Every byte where there is one; fewer in the header and in the padding behind a group. */
function stepAt(size: number): number {
  return size < HEADER_BYTES || size % 4096 > 400 ? 31 : 1;
}

/** All that a restart would go by, as one text; or the code of the error that it ends with. */
function outcome(world: World): string {
  try {
    return stateOf(world);
  } catch (error) {
    if (error instanceof StartError) return error.code;
    throw error;
  }
}

function stateOf(world: World): string {
  const { live, positions, nextBatchId } = readJournal(DATA_DIR, { ops: world.disk });
  const batches = [...live].map(([id, { intent }]) =>
    `${id}: ${intent.partition} ${intent.baseSequence} ${
      intent.segments.map(({ streamNumber, info, runs }) => `${streamNumber}@${info.startOffset} ${runs}`)
    }`
  );
  const ledgers = [...positions.entries()].flatMap(({ record, ledgers }) =>
    [...ledgers].map(([sink, { position, cursor, frontier, totals }]) =>
      `${record.id} ${sink} ${position} ${cursor} ${frontier} ${totals.coveredCount} ${totals.deliveredCount}`
    )
  );
  return [`next ${nextBatchId}`, ...batches, ...ledgers].join("\n");
}

/**
 * A journal of one segment, as a kill leaves it, and what it said after each of its commits: batches with and without keys, acknowledged in
 * another order than sent, split, and given up.
 */
async function busyJournal(durability: "machine" | "process"): Promise<{ world: World; states: string[] }> {
  const world = new World(1, 512);
  const run = await ModelRun.open(world, durability);
  const states = [outcome(world)];
  const until = async (promise: Promise<void>) => {
    let isDone = false;
    void promise.then(() => isDone = true);
    await run.writer.until(() => isDone);
    states.push(outcome(world));
  };
  const commit = () => until(run.lanes[0]!.intents!.durable());
  // Nothing is written but what is asked for.
  run.journal.positions.close();
  await until(run.journal.positions.flush());
  for (let round = 0; round < 6; round++) {
    world.files[0]!.append([20, 30, 70, 9, 100]);
    for (const lane of run.lanes.slice(0, 2)) {
      lane.read(world.files[0]!, run.journal.positions, 1 << 20);
      while (lane.take());
      for (let p = 0; p < lane.sink.partitions; p++) lane.seal(p, 2);
      await commit();
      const [first, second] = lane.batches;
      if (round === 3) {
        lane.remove(first!);
        lane.replace([first!.id!], [], [lane.newBatch(0, first!.members, first!.values)]);
      } else if (second !== undefined) {
        lane.remove(second);
        lane.intents!.acknowledge(second.id!);
      }
      await commit();
    }
  }
  return { world, states };
}

test("A journal that is cut at any byte says what one of its commits said, or is refused", async () => {
  for (const durability of ["machine", "process"] as const) {
    const { world, states } = await busyJournal(durability);
    const content = Buffer.from(world.disk.content(FIRST));
    const seen = new Set<string>();
    for (let size = 0; size < content.length; size += stepAt(size)) {
      world.disk.put(FIRST, content.subarray(0, size));
      const result = outcome(world);
      if (result !== "journal-damaged") expect(states).toContain(result);
      seen.add(result);
      if (result === states.at(-1)) break;
    }
    // Every commit can be the last one.
    for (const state of states) expect([...seen]).toContain(state);
    expect(seen.has("journal-damaged")).toBe(true);
  }
}, 120_000);

test("A flipped bit in a synced journal is found, or changes nothing: no batch is forgotten, none is made up", async () => {
  const { world, states } = await busyJournal("machine");
  const content = world.disk.content(FIRST);
  const last = states.at(-1)!;
  const random = randomNumbers(7);
  const end = content.findLastIndex((byte) => byte !== 0) + 1;
  let refused = 0;
  for (let i = 0; i < 2_500; i++) {
    // Most bytes of a group are padding: the front is looked at more often.
    const group = 4096 * Math.floor(random() * Math.ceil(end / 4096));
    const byte = group + Math.floor(random() * (random() < 0.7 ? 400 : 4096));
    const bit = 1 << Math.floor(random() * 8);
    content[byte] ^= bit;
    const result = outcome(world);
    content[byte] ^= bit;
    if (result === "journal-damaged" || result === "journal-newer") refused++;
    else expect(`byte ${byte}, bit ${bit}\n${result}`).toBe(`byte ${byte}, bit ${bit}\n${last}`);
  }
  expect(refused).toBeGreaterThan(300);
  expect(outcome(world)).toBe(last);
});

test("Segments that are missing, empty, garbage, doubled or swapped are passed over or refused", async () => {
  const { world, states } = await busyJournal("machine");
  const old = Buffer.from(world.disk.content(FIRST));
  const last = states.at(-1)!;
  // A second run: its checkpoint says the same, and it goes on.
  const run = await ModelRun.open(world, "machine");
  run.journal.positions.close();
  const now = outcome(world);
  expect(now).toBe(last);
  const good = Buffer.from(world.disk.content(SECOND));
  for (const content of [old, Buffer.alloc(0), Buffer.from("garbage"), good]) {
    world.disk.put(FIRST, content);
    expect(outcome(world)).toBe(now);
  }
  for (const content of [Buffer.alloc(0), Buffer.from("garbage"), Buffer.alloc(good.length), old]) {
    world.disk.put(SECOND, content);
    expect(["journal-damaged", now]).toContain(outcome(world));
  }
  // The newest one is gone: what it goes on from is there, and older.
  world.disk.put(FIRST, old);
  world.disk.delete(SECOND);
  expect(outcome(world)).toBe(last);
  world.disk.put("0000000000000009.seg", good);
  expect(outcome(world)).toBe("journal-damaged");
});

test("A journal is read without a byte being written", async () => {
  const { world, states } = await busyJournal("machine");
  const { calls } = world.disk;
  const before = Buffer.from(world.disk.content(FIRST));
  for (let i = 0; i < 3; i++) expect(outcome(world)).toBe(states.at(-1)!);
  expect(world.disk.calls).toBe(calls);
  expect(before.equals(world.disk.content(FIRST))).toBe(true);
});
