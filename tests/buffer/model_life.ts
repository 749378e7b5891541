import { expect } from "bun:test";
import { Membership } from "../../src/batch/membership.ts";
import type { Config } from "../../src/config/config.ts";
import type { Stream } from "../../src/event/stream.ts";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import type { HeldLines } from "../../src/event/tracked_region.ts";
import type { IntentLog, RecoveredIntent } from "../../src/kafka/intent_log.ts";
import { Rebuilder } from "../../src/rebuilder.ts";
import type { ExtentReader } from "../../src/source/extent_reader.ts";
import { MAX_LINE_BYTES, ModelFile, sinkConfig, valueOf, valuesOf } from "../journal/model_world.ts";
import { SteppedWriter } from "../storage/simulated_files.ts";
import { BENCH_MAX_BYTES, BufferBench, BufferDisks, SINK } from "./buffer_bench.ts";
import type { Case } from "./model_actions.ts";

export const PARTITIONS = 2;
/** More than what is written in one piece takes up. */
const BATCH_BYTES_MAX = 131_072;
const FAILED_REBUILDS_MAX = 1_000;

/** A batch on its way, as a producer keeps it. */
export interface Batch {
  readonly partition: number;
  readonly members: Membership;
  readonly values: readonly string[];
  readonly key: string;
  readonly id: number | null;
  isDurable: boolean;
}

/** What is outside of the process. */
export class Outside {
  readonly disks: BufferDisks;
  readonly files: ModelFile[] = [];
  readonly topics: string[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly batches = new Set<string>();
  /** May be missing: dropped, or cut off. */
  readonly excused = new Set<string>();
  /** May come twice: cut off and written anew, or delivered at least once. */
  producer = 0;
  stdinRun = 0;
  /** Lines of stdin that were in the buffer and secure. */
  readonly secureStdin = new Set<string>();

  constructor(seed: number) {
    this.disks = new BufferDisks(seed, 512);
    this.files.push(new ModelFile("f0"));
  }

  write({ partition, key, values }: Batch): void {
    if (this.batches.has(key)) return;
    this.batches.add(key);
    this.topics[partition]!.push(...values);
  }

  delivered(): string[] {
    return this.topics.flat();
  }
}

/** One life of the process. */
export class Life {
  readonly outside: Outside;
  readonly bench: BufferBench;
  readonly writers: { readonly buffer: SteppedWriter; readonly journal: SteppedWriter };
  readonly pending = Array.from(
    { length: PARTITIONS },
    () => ({ members: new Membership(), values: [] as string[] }),
  );
  readonly batches: Batch[] = [];
  readonly intents: IntentLog | null;
  readonly recovered: RecoveredIntent[] = [];
  readonly stdin: Stream;
  stdinOffset = 0;
  stdinLine = 0;
  /** Values of stdin that are not secure yet, and the number of the event behind each. */
  stdinWaiting: { readonly value: string; readonly endEvent: number }[] = [];
  sequence = 0;
  #failedRebuilds = 0;

  private constructor(outside: Outside, bench: BufferBench, writers: Life["writers"], isExact: boolean) {
    this.outside = outside;
    this.bench = bench;
    this.writers = writers;
    const producer = ++outside.producer;
    this.stdin = { id: `run${++outside.stdinRun}`, source: "in", sourceType: "stdin", path: "" };
    const rebuilder = new Rebuilder({
      sources: () =>
        [{
          name: "app",
          maxLineBytes: MAX_LINE_BYTES,
          decoding: { codec: "text" },
        }] as unknown as Config["sources"],
      positions: bench.journal.positions,
      extents: {
        read: () => Promise.reject(new Error("No file is read for a disk buffer")),
      } as unknown as ExtentReader,
      hostname: "h",
      pool: new BufferPool(),
      diskBuffers: new Map([[SINK, bench.buffer]]),
      metrics: bench.metrics,
    });
    if (isExact) {
      this.intents = bench.journal.intentsOf(SINK, rebuilder.rebuild.bind(rebuilder, sinkConfig(SINK)), true);
      this.recovered = [...this.intents.recovered];
      this.intents.startRun(null, { producerIdHigh: 0, producerIdLow: producer, epoch: 0, baseSequence: 0 });
    } else {
      this.intents = null;
      bench.journal.readAgain(SINK);
    }
  }

  static async open(outside: Outside, { durability, whenFull, isExact }: Case): Promise<Life> {
    const { disks } = outside;
    const writers = { buffer: new SteppedWriter(disks.buffer), journal: new SteppedWriter(disks.journal) };
    let bench: BufferBench | null = null;
    let failure: unknown = null;
    BufferBench.open(disks, { durability, whenFull, writers, isExact }).then(
      (opened) => bench = opened,
      (error: unknown) => failure = error ?? new Error("It cannot be opened"),
    );
    for (let turn = 0; bench === null && failure === null; turn++) {
      if (turn > 10_000) throw new Error("Opening does not come to an end");
      writers.journal.step();
      writers.buffer.step();
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (failure !== null) throw failure;
    const life = new Life(outside, bench!, writers, isExact);
    for (const file of outside.files) life.announce(file);
    return life;
  }

  /** Goes back to where the file still holds what was read of it, and tells the store of it. */
  announce(file: ModelFile): void {
    const { positions } = this.bench.journal;
    const { stream: { id }, content } = file;
    if (positions.record("app", id) !== null) {
      const marks = positions.marks("app", id, SINK);
      const same = marks.findLast(({ startOffset, endOffset, crc32 }) =>
        endOffset <= content.length && Bun.hash.crc32(content.subarray(startOffset, endOffset)) === crc32
      );
      const isAll = same === marks.at(-1) && positions.knownEnd("app", id, SINK) <= content.length;
      if (!isAll) positions.rewind("app", id, SINK, same?.endOffset ?? 0);
    }
    this.bench.announce(file);
  }

  read(file: ModelFile, bytes: number): number {
    const dropped = this.bench.metrics.sink(SINK).dropped;
    const before = dropped.total();
    const offset = () => this.bench.offsets.get(file.stream.id) ?? 0;
    const taken = this.bench.read(file, bytes);
    if (dropped.total() > before) {
      for (const value of file.valuesIn(offset() - taken, offset())) this.outside.excused.add(value);
    }
    return taken;
  }

  pipe(lengths: readonly number[]): void {
    const lines = lengths.map((length) => `${this.stdin.id}-${this.stdinLine++}-`.padEnd(length, "x"));
    const data = Buffer.from(lines.map((line) => `${line}\n`).join(""));
    let done = 0;
    for (let line = 0; line < lines.length;) {
      const { dropped } = this.bench.metrics.sink(SINK);
      const before = dropped.total();
      const taken = this.bench.pipe(this.stdin, this.stdinOffset, data.subarray(done));
      if (taken <= 0) break;
      const isDropped = dropped.total() > before;
      const until = done + taken;
      while (line < lines.length && done < until) {
        done += lines[line]!.length + 1;
        const value = valueOf(lines[line++]!);
        if (!isDropped) this.stdinWaiting.push({ value, endEvent: this.bench.buffer.nextEvent() });
      }
      this.stdinOffset += taken;
    }
  }

  /** What is secure now is never lost, unless it is dropped as the oldest. */
  noteSecure(): void {
    const secured = this.bench.buffer.securedEvent();
    const left: typeof this.stdinWaiting = [];
    for (const each of this.stdinWaiting) {
      if (each.endEvent <= secured) this.outside.secureStdin.add(each.value);
      else left.push(each);
    }
    this.stdinWaiting = left;
  }

  take(): boolean {
    void this.bench.buffer.waitForRoom(AbortSignal.abort());
    const delivery = this.bench.take();
    if (delivery === null) return false;
    const values = valuesOf(delivery);
    values.forEach((value, i) => {
      // A stream keeps to a partition, as one with a key does.
      const place = Number(/\d+/u.exec(value)![0]) % PARTITIONS;
      this.pending[place]!.members.addRange(delivery, i, i + 1);
      this.pending[place]!.values.push(value);
    });
    delivery.take(values.length);
    return true;
  }

  seal(partition: number, countMax: number): void {
    const { members, values } = this.pending[partition]!;
    const count = Math.min(countMax, values.length);
    if (count === 0 || this.intents?.hasRoom() === false) return;
    this.pending[partition] = { members: members.slice(count, members.count), values: values.slice(count) };
    const baseSequence = this.sequence;
    this.sequence += count;
    const batch = {
      partition,
      members: members.slice(0, count),
      values: values.slice(0, count),
      key: `${this.outside.producer} ${baseSequence}`,
    };
    let id: number | null = null;
    if (this.intents !== null) {
      const producer = { producerIdHigh: 0, producerIdLow: this.outside.producer, epoch: 0, baseSequence };
      const place = { topic: "t", topicId: null, partition, place: 0, hintOffset: -1, baseTimestampMs: 1 };
      id = this.intents.append({ ...place, producer, count, members: batch.members });
    }
    this.batches.push({ ...batch, id, isDurable: id === null });
  }

  commit(): void {
    const waiting = this.batches.filter(({ isDurable }) => !isDurable);
    if (waiting.length === 0) return;
    this.intents!.durable().then(() => {
      for (const batch of waiting) batch.isDurable = true;
    }, () => {}); // the log was closed under it
  }

  /** Only the oldest of a partition is on its way. */
  #isFirst(batch: Batch): boolean {
    return this.recovered.length === 0 &&
      this.batches.find(({ partition }) => partition === batch.partition) === batch;
  }

  send(batch: Batch | undefined): void {
    if (batch?.isDurable && this.#isFirst(batch)) this.outside.write(batch);
  }

  acknowledge(batch: Batch | undefined): void {
    if (batch === undefined || !this.outside.batches.has(batch.key)) return;
    if (batch.id !== null) this.intents!.acknowledge(batch.id);
    this.batches.splice(this.batches.indexOf(batch), 1);
    const metrics = this.bench.metrics.sink(SINK);
    metrics.inFlightEvents -= batch.members.count;
    metrics.deliveredEventsCount += batch.members.count;
    batch.members.settle("delivered");
  }

  /** Finds out what became of the oldest batch in doubt, and sends it again if it did not arrive. */
  async recover(): Promise<void> {
    const intent = this.recovered.shift();
    if (intent === undefined) return;
    const { producer, id, partition } = intent;
    const key = `${producer.producerIdLow} ${producer.baseSequence}`;
    if (this.outside.batches.has(key)) {
      this.intents!.acknowledge(id);
      intent.heldLines().forEach(({ region, count }: HeldLines) => region.settle(count));
      return;
    }
    const rebuilt = await intent.rebuild().catch((error: NodeJS.ErrnoException) => {
      if (error.code === undefined) throw error;
    });
    if (rebuilt === undefined) {
      // A segment was taken away while it was looked for: the keeper of doubt tries again.
      if (++this.#failedRebuilds > FAILED_REBUILDS_MAX) {
        throw new Error(`A batch cannot be rebuilt: ${this.describe()}`);
      }
      this.recovered.unshift(intent);
      return await this.step(1, 1);
    }
    const { deliveries, gone } = rebuilt;
    expect(gone).toEqual([]);
    const members = new Membership();
    const values: string[] = [];
    const metrics = this.bench.metrics.sink(SINK);
    for (const delivery of deliveries) {
      const { batch, tally } = delivery;
      values.push(...valuesOf(delivery));
      members.addRange(delivery, 0, batch.count);
      delivery.take(batch.count);
      // As the keeper of doubt does.
      tally?.recover(batch.count);
      metrics.eventsInCount += batch.count;
      metrics.inFlightEvents += batch.count;
    }
    const batch = { partition, members, values, key, id, isDurable: true };
    this.outside.write(batch);
    this.batches.unshift(batch);
    this.acknowledge(batch);
  }

  async step(buffer: number, journal: number): Promise<void> {
    for (let i = 0; i < Math.max(buffer, journal); i++) {
      if (i < buffer) this.writers.buffer.step();
      if (i < journal) this.writers.journal.step();
      await new Promise((resolve) => setImmediate(resolve));
      this.noteSecure();
    }
  }

  describe(): string {
    const { buffer, journal, log, metrics } = this.bench;
    const { bufferedEvents, inFlightEvents } = metrics.sink(SINK);
    const ledgers = [...journal.positions.entries()].map((
      { record, ledgers },
    ) => [record.id, ledgers.get(SINK)?.position]);
    return JSON.stringify({
      ledgers,
      next: buffer.nextEvent(),
      secured: buffer.securedEvent(),
      room: [buffer.roomEvents(), buffer.hasRoom(), buffer.isBusy()],
      bufferedEvents,
      inFlightEvents,
      offsets: [...this.bench.offsets],
      files: [...this.outside.disks.buffer.list(), ...this.outside.disks.journal.list()],
      failure: [metrics.sink(SINK).bufferFailure, journal.failure],
      differences: this.bench.differences(),
      log: log.lines.slice(-5),
    });
  }

  check(): void {
    expect(this.bench.differences()).toEqual([]);
    expect(this.outside.disks.buffer.usedBytes()).toBeLessThanOrEqual(BENCH_MAX_BYTES + BATCH_BYTES_MAX);
  }
}
