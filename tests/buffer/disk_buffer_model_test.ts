import { expect, test } from "bun:test";
import fc from "fast-check";
import { Membership } from "../../src/batch/membership.ts";
import type { Config } from "../../src/config/config.ts";
import type { Stream } from "../../src/event/stream.ts";
import { BufferPool } from "../../src/event/pooled_buffer.ts";
import type { HeldLines } from "../../src/event/tracked_region.ts";
import type { IntentLog, RecoveredIntent } from "../../src/kafka/intent_log.ts";
import { Rebuilder } from "../../src/rebuilder.ts";
import type { ExtentReader } from "../../src/source/extent_reader.ts";
import type { Durability } from "../../src/storage/log_options.ts";
import { type Fault, SteppedWriter } from "../storage/simulated_files.ts";
import { MAX_LINE_BYTES, ModelFile, sinkConfig, valueOf, valuesOf } from "../journal/model_world.ts";
import { BENCH_MAX_BYTES, BufferBench, BufferDisks, SINK } from "./buffer_bench.ts";

/*
 * A disk buffer under random actions: files and stdin in front of it, a sink with intents behind it, kills, power cuts and a disk that refuses. The
 * reference is what a reader of the topic sees: every line of every file once, in order by file and partition, and every line of stdin that was secure.
 */

/** More by hand: SHIPPER_MODEL_RUNS=20000. */
const RUNS = Number(process.env.SHIPPER_MODEL_RUNS ?? 60);
const PARTITIONS = 2;
const NEWLINE = 10;
/** Of two groups that are large for the bench's segments. */
const BATCH_BYTES_MAX = 131_072;

type Action =
  | { readonly do: "append"; readonly file: number; readonly lengths: readonly number[] }
  | { readonly do: "append many"; readonly file: number; readonly count: number }
  | { readonly do: "read"; readonly file: number; readonly bytes: number }
  | { readonly do: "pipe"; readonly lengths: readonly number[] }
  | { readonly do: "take" | "commit" | "flush" | "new file" | "wait" | "stop" }
  | { readonly do: "seal"; readonly partition: number; readonly count: number }
  | { readonly do: "send" | "acknowledge"; readonly place: number }
  | { readonly do: "recover" }
  | { readonly do: "step"; readonly buffer: number; readonly journal: number }
  | {
    readonly do: "fault";
    readonly disk: "buffer" | "journal";
    readonly fault: Fault;
    readonly inCalls: number;
  }
  | { readonly do: "full"; readonly isFull: boolean }
  | { readonly do: "cut back"; readonly file: number; readonly place: number }
  | { readonly do: "crash"; readonly isPower: boolean; readonly inCalls: number };

interface Case {
  readonly durability: Durability;
  readonly whenFull: "block" | "drop_newest" | "drop_oldest";
  readonly isExact: boolean;
  readonly seed: number;
  readonly actions: readonly Action[];
}

interface Batch {
  readonly partition: number;
  readonly members: Membership;
  readonly values: readonly string[];
  readonly key: string;
  readonly id: number | null;
  isDurable: boolean;
}

/** What is outside of the process. */
class Outside {
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
class Life {
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

  private constructor(outside: Outside, bench: BufferBench, writers: Life["writers"], isExact: boolean) {
    this.outside = outside;
    this.bench = bench;
    this.writers = writers;
    const producer = ++outside.producer;
    this.stdin = { id: `run${++outside.stdinRun}`, source: "in", sourceType: "stdin", path: "" };
    const rebuilder = new Rebuilder({
      config: {
        sources: [{ name: "app", maxLineBytes: MAX_LINE_BYTES, decoding: { codec: "text" } }],
      } as unknown as Config,
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
    const { deliveries, gone } = await intent.rebuild();
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

class Model {
  readonly #case: Case;
  readonly #outside: Outside;
  #life!: Life;

  constructor(chosen: Case) {
    this.#case = chosen;
    this.#outside = new Outside(chosen.seed);
  }

  async run(): Promise<void> {
    this.#life = await Life.open(this.#outside, this.#case);
    for (const action of this.#case.actions) {
      await this.#act(action);
      this.#life.noteSecure();
      this.#life.check();
    }
    await this.#finish();
  }

  #file(index: number): ModelFile {
    return this.#outside.files[index % this.#outside.files.length]!;
  }

  async #act(action: Action): Promise<void> {
    const life = this.#life;
    switch (action.do) {
      case "append":
        return this.#file(action.file).append(action.lengths);
      case "append many":
        return this.#file(action.file).append(Array.from({ length: action.count }, () => 58));
      case "read":
        return void life.read(this.#file(action.file), action.bytes);
      case "pipe":
        return life.pipe(action.lengths);
      case "take":
        return void life.take();
      case "seal":
        return life.seal(action.partition, action.count);
      case "commit":
        return life.commit();
      case "flush":
        return void life.bench.journal.positions.flush().catch(() => {}); // the log was closed under it
      case "send":
        return life.send(life.batches[action.place]);
      case "acknowledge":
        return life.acknowledge(life.batches[action.place]);
      case "step":
        return await life.step(action.buffer, action.journal);
      case "wait":
        await Bun.sleep(2);
        return;
      default:
        return await this.#actRarely(action);
    }
  }

  async #actRarely(action: Action): Promise<void> {
    const { disks, files } = this.#outside;
    switch (action.do) {
      case "recover":
        return await this.#life.recover();
      case "new file":
        if (files.length >= 4) return;
        files.push(new ModelFile(`f${files.length}`));
        return this.#life.announce(files.at(-1)!);
      case "fault":
        disks[action.disk].faults.set(disks[action.disk].calls + action.inCalls, action.fault);
        return;
      case "full":
        disks.buffer.capacityBytes = action.isFull ? disks.buffer.usedBytes() + 8_192 : Infinity;
        return;
      case "cut back":
        return this.#cutBack(this.#file(action.file), action.place);
      case "stop":
        return await this.#stop();
      case "crash":
        return await this.#crash(action.isPower, action.inCalls);
    }
  }

  /** Somebody truncates the file, or a power cut took its end; others are written in their place. */
  #cutBack(file: ModelFile, chosen: number): void {
    const { positions } = this.#life.bench.journal;
    const { id } = file.stream;
    const places = positions.marks("app", id, SINK).map(({ endOffset }) => endOffset).filter((offset) =>
      file.content[offset - 1] === NEWLINE && offset < file.content.length
    );
    const offset = places[chosen % places.length];
    if (offset === undefined) return;
    for (const value of file.cut(offset)) this.#outside.excused.add(value);
    positions.rewind("app", id, SINK, offset);
    const { offsets } = this.#life.bench;
    if ((offsets.get(id) ?? 0) > offset) offsets.set(id, offset);
  }

  async #stop(): Promise<void> {
    const { disks } = this.#outside;
    for (const disk of [disks.buffer, disks.journal]) disk.faults.clear();
    disks.buffer.capacityBytes = Infinity;
    const life = this.#life;
    let isOver: boolean | null = null;
    let failure: unknown = null;
    life.bench.close().then(() => isOver = true, (error: unknown) => failure = error);
    for (let turn = 0; isOver === null; turn++) {
      if (turn > 20_000) throw new Error(`Stopping does not come to an end`);
      if (failure !== null) throw new Error(`${failure}: ${life.describe()}`);
      life.writers.buffer.step();
      life.writers.journal.step();
      await new Promise((resolve) => setImmediate(resolve));
    }
    life.noteSecure();
    if (this.#case.durability === "machine") disks.powerCut();
    else disks.kill();
    this.#life = await Life.open(this.#outside, this.#case);
  }

  async #crash(isPower: boolean, inCalls: number): Promise<void> {
    const { disks } = this.#outside;
    const life = this.#life;
    const disk = isPower ? disks.buffer : inCalls % 2 === 0 ? disks.buffer : disks.journal;
    // In the midst of what is under way, at a call of its own.
    disk.faults.set(disk.calls + inCalls, "crash");
    await life.step(4, 4);
    life.bench.die();
    if (isPower && this.#case.durability === "machine") disks.powerCut();
    else disks.kill();
    for (const each of [disks.buffer, disks.journal]) each.faults.clear();
    disks.buffer.capacityBytes = Infinity;
    life.writers.buffer.close();
    life.writers.journal.close();
    this.#life = await Life.open(this.#outside, this.#case);
  }

  /** The disk works again: everything goes out, and nothing is left. */
  async #finish(): Promise<void> {
    const { disks, files } = this.#outside;
    for (const disk of [disks.buffer, disks.journal]) disk.faults.clear();
    disks.buffer.capacityBytes = Infinity;
    const life = this.#life;
    for (let round = 0, idleCount = 0; idleCount < 12; round++) {
      if (round > 3_000) throw new Error(`Delivery does not come to an end: ${life.describe()}`);
      let isBusy = false;
      while (life.recovered.length > 0) await life.recover();
      for (const file of files) if (life.read(file, 1 << 20) > 0) isBusy = true;
      while (life.take()) isBusy = true;
      for (let partition = 0; partition < PARTITIONS; partition++) life.seal(partition, 200);
      life.commit();
      for (const batch of [...life.batches]) {
        life.send(batch);
        life.acknowledge(batch);
      }
      if (life.batches.length > 0 || life.pending.some(({ values }) => values.length > 0)) isBusy = true;
      const segmentCount = disks.buffer.list().filter((name) => /^\d/u.test(name)).length;
      const isEmpty = life.bench.metrics.sink(SINK).bufferedEvents === 0 && segmentCount <= 1 &&
        life.bench.differences().length === 0;
      const isRead = files.every(({ content, stream }) =>
        (life.bench.offsets.get(stream.id) ?? -1) === content.length
      );
      if (isBusy || !isEmpty || !isRead) idleCount = 0;
      else idleCount++;
      await life.step(3, 3);
      if (round % 20 === 19) await Bun.sleep(2);
    }
    life.check();
    this.#judge();
    await this.#stop();
    for (const file of files) expect(this.#life.read(file, 1 << 20)).toBe(0);
    expect(this.#life.take()).toBe(false);
  }

  #judge(): void {
    const { files, topics, excused, secureStdin } = this.#outside;
    const counts = new Map<string, number>();
    for (const value of this.#outside.delivered()) counts.set(value, (counts.get(value) ?? 0) + 1);
    const mayDrop = this.#case.whenFull === "drop_oldest";
    const lost: string[] = [];
    const known = new Set<string>();
    for (const value of files.flatMap(({ lines }) => lines.map(valueOf))) {
      known.add(value);
      if (!counts.has(value) && !excused.has(value) && !mayDrop) lost.push(value);
    }
    for (const value of secureStdin) if (!counts.has(value) && !mayDrop) lost.push(value);
    const twice = this.#case.isExact
      ? [...counts].filter(([, count]) => count > 1).map(([value]) => value)
      : [];
    const strange = [...counts.keys()].filter((value) =>
      value.startsWith("f") && !known.has(value) && !excused.has(value)
    );
    expect({ lost, twice, strange, log: lost.length > 0 ? this.#life.bench.log.texts("error") : [] }).toEqual(
      { lost: [], twice: [], strange: [], log: [] },
    );
    const lostCount = this.#life.bench.metrics.sink(SINK).lost.total();
    expect([lostCount, this.#life.bench.log.lines.filter(({ level }) => level === "error")]).toEqual([0, []]);
    if (!this.#case.isExact) return;
    for (const topic of topics) this.#judgeOrder(topic);
  }

  /** Lines of a file, and of a run of stdin in its partition, come in the order in which they were read. */
  #judgeOrder(topic: readonly string[]): void {
    const last = new Map<string, number>();
    const wrong: string[] = [];
    for (const value of topic) {
      const [stream, line] = value.split("-") as [string, string];
      if (Number(line) <= (last.get(stream) ?? -1)) wrong.push(value);
      last.set(stream, Number(line));
    }
    expect(wrong).toEqual([]);
  }
}

const only = <K extends Action["do"]>(kind: K) => fc.constant(kind);
const lengths = fc.array(fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 8, max: 40 }) }, fc.nat(300)), {
  minLength: 1,
  maxLength: 8,
});
const place = fc.nat(5);
const file = fc.nat(3);

const action = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: only("append"), file, lengths }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: only("append many"), file, count: fc.integer({ min: 50, max: 900 }) }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      do: only("read"),
      file,
      bytes: fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1_000, max: 60_000 })),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: only("pipe"), lengths }) },
  { weight: 8, arbitrary: fc.record({ do: only("take") }) },
  {
    weight: 10,
    arbitrary: fc.record({
      do: only("seal"),
      partition: fc.nat(PARTITIONS - 1),
      count: fc.integer({ min: 1, max: 400 }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: only("commit") }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("flush" as const, "wait" as const) }) },
  { weight: 14, arbitrary: fc.record({ do: only("step"), buffer: fc.nat(6), journal: fc.nat(6) }) },
  {
    weight: 16,
    arbitrary: fc.record({ do: fc.constantFrom("send" as const, "acknowledge" as const), place }),
  },
  { weight: 4, arbitrary: fc.record({ do: only("recover") }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("new file" as const, "stop" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: only("fault"),
      disk: fc.constantFrom("buffer" as const, "journal" as const),
      fault: fc.constantFrom<Fault>("ENOSPC", "EIO", "EINTR", "short"),
      inCalls: fc.nat(12),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: only("full"), isFull: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: only("cut back"), file, place }) },
  { weight: 3, arbitrary: fc.record({ do: only("crash"), isPower: fc.boolean(), inCalls: fc.nat(20) }) },
) as fc.Arbitrary<Action>;

test(
  "whatever is killed, cut, refused and full: every line once, in order, and the buffer within its size",
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          durability: fc.constantFrom<Durability>("machine", "process"),
          whenFull: fc.constantFrom("block" as const, "drop_newest" as const, "drop_oldest" as const),
          isExact: fc.boolean(),
          seed: fc.nat(),
          actions: fc.array(action, { minLength: 20, maxLength: 200, size: "max" }),
        }),
        async (chosen) => await new Model(chosen).run(),
      ),
      {
        numRuns: RUNS,
        ...(process.env.MSEED ? { seed: Number(process.env.MSEED), path: process.env.MPATH! } : {}),
        endOnFailure: process.env.NOSHRINK === "1",
        ...(process.env.SHIPPER_MODEL_SEED ? { seed: Number(process.env.SHIPPER_MODEL_SEED) } : {}),
      },
    );
  },
  120_000,
);
