import { expect, test } from "bun:test";
import { DirectWriter, type GroupWriter } from "../../src/storage/group_writer.ts";
import type { StorageJob } from "../../src/storage/storage_jobs.ts";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";
import type { SimulatedFiles } from "../storage/simulated_files.ts";
import { waitUntil } from "../support/wait_until.ts";

// A full disk buffer with `drop_oldest` dropped a segment, found itself full still because the file of it was not recycled yet, and dropped the next one,
// and the next. And where the journal could not store that a segment was dropped, the sources waited for it as if they had to block.

const LINES_AT_ONCE = 16_000;

/** Holds the jobs that `isHeld` says, until `release`. */
class HoldingWriter implements GroupWriter {
  readonly #writer: DirectWriter;
  readonly #isHeld: (job: StorageJob) => boolean;
  readonly #held: (() => void)[] = [];
  isHolding = false;

  constructor(files: SimulatedFiles, isHeld: (job: StorageJob) => boolean) {
    this.#writer = new DirectWriter(files);
    this.#isHeld = isHeld;
  }

  get heldCount(): number {
    return this.#held.length;
  }

  allocate(sizeBytes: number): Buffer {
    return this.#writer.allocate(sizeBytes);
  }

  async run(job: StorageJob): Promise<number> {
    if (this.isHolding && this.#isHeld(job)) await new Promise<void>((resolve) => this.#held.push(resolve));
    return await this.#writer.run(job);
  }

  close(): void {}

  release(): void {
    this.isHolding = false;
    for (const resolve of this.#held.splice(0)) resolve();
  }
}

const droppedSegments = (bench: BufferBench) =>
  bench.log.texts("warn").filter((text) => text.includes("its oldest events are dropped")).length;

/** Opens a buffer that is larger than what is read ahead, and fills it until something is done about it. */
async function full(writers: { buffer: HoldingWriter; journal: HoldingWriter }, disks: BufferDisks) {
  const bench = await BufferBench.open(disks, { whenFull: "drop_oldest", maxSizeBytes: 8 << 20, writers });
  const file = new ModelFile("f0");
  bench.announce(file);
  for (let i = 0; bench.buffer.roomEvents() > 0; i++) {
    if (i === 20) throw new Error("It does not get full");
    file.append(Array.from({ length: LINES_AT_ONCE }, () => 58));
    while (bench.read(file) > 0) await turns(3);
    // The journal knows the file now; events wait for nothing else.
    await waitUntil("it is stored", () => bench.buffer.securedEvent() === bench.buffer.nextEvent());
    for (const writer of [writers.buffer, writers.journal]) writer.isHolding = true;
  }
  return { bench, file };
}

test("one segment is dropped for the room of one", async () => {
  const disks = new BufferDisks();
  const buffer = new HoldingWriter(disks.buffer, ({ kind }) => kind === "recycle");
  const journal = new HoldingWriter(disks.journal, () => false);
  const { bench, file } = await full({ buffer, journal }, disks);
  for (let i = 0; i < 20; i++) {
    bench.read(file);
    await turns(6);
  }
  expect(buffer.heldCount).toBe(1);
  expect(droppedSegments(bench)).toBe(1);
  buffer.release();
  await waitUntil("there is room", () => bench.buffer.roomEvents() > 0);
  while (bench.read(file) > 0) await turns(3);
  expect(droppedSegments(bench)).toBe(1);
  // Nothing that came is dropped for it.
  const { dropped } = bench.metrics.sink("s");
  const values = await bench.deliver();
  expect(values.length + dropped.total()).toBe(file.lines.length);
  expect(values.at(-1)).toBe(file.lines.at(-1)!);
  expect(bench.differences()).toEqual([]);
  await bench.close();
}, 30_000);

test("who brings events does not wait for a journal that cannot store what is dropped", async () => {
  const disks = new BufferDisks();
  const buffer = new HoldingWriter(disks.buffer, () => false);
  const journal = new HoldingWriter(disks.journal, ({ kind }) => kind === "group");
  const { bench, file } = await full({ buffer, journal }, disks);
  expect(bench.lane.hasRoom()).toBe(false);
  let isWoken = false;
  void bench.lane.waitForRoom(new AbortController().signal).then(() => isWoken = true);
  await waitUntil("whoever brings events goes on", () => isWoken);
  expect(bench.lane.hasRoom()).toBe(true);
  expect(journal.heldCount).toBeGreaterThan(0);
  const before = bench.metrics.sink("s").dropped.total();
  while (bench.read(file) > 0) await turns(1);
  file.append(Array.from({ length: LINES_AT_ONCE }, () => 58));
  while (bench.read(file) > 0) await turns(1);
  expect(bench.metrics.sink("s").dropped.total()).toBeGreaterThanOrEqual(before + LINES_AT_ONCE);
  expect(droppedSegments(bench)).toBe(1);
  journal.release();
  await waitUntil("there is room", () => bench.buffer.roomEvents() > 0);
  const values = await bench.deliver();
  expect(values.length + bench.metrics.sink("s").dropped.total()).toBe(file.lines.length);
  expect(bench.differences()).toEqual([]);
  await bench.close();
}, 30_000);
