import { Membership } from "../../src/batch/membership.ts";
import { MemoryBuffer } from "../../src/buffer/memory_buffer.ts";
import type { PositionStore } from "../../src/checkpoint/position_store.ts";
import type { Config } from "../../src/config/config.ts";
import { BufferPool, unpooled } from "../../src/event/pooled_buffer.ts";
import { Journal } from "../../src/journal/journal.ts";
import type { GoneEvents, IntentLog, NewIntent, RecoveredIntent } from "../../src/kafka/intent_log.ts";
import { Lane } from "../../src/lane.ts";
import { Rebuilder } from "../../src/rebuilder.ts";
import { createShaper } from "../../src/shape/shaper.ts";
import type { ExtentReader } from "../../src/source/extent_reader.ts";
import type { Durability } from "../../src/storage/log_options.ts";
import { GarbagePacer } from "../../src/telemetry/garbage_pacer.ts";
import { Metrics, SinkMetrics, SourceMetrics } from "../../src/telemetry/metrics.ts";
import { silentLog } from "../kafka/support.ts";
import { SteppedWriter } from "../storage/simulated_files.ts";
import {
  keyOfBatch,
  MAX_LINE_BYTES,
  type ModelFile,
  type ModelSink,
  PLAIN_ENCODING,
  sinkConfig,
  SINKS,
  valuesOf,
  type World,
} from "./model_world.ts";

export const DATA_DIR = "/there-is-no-such-folder";
const BUFFER_EVENTS = 12;

/** A batch on its way, as a producer keeps it. */
export interface ModelBatch {
  readonly partition: number;
  members: Membership;
  values: string[];
  key: string;
  /** Null: not in the journal, under at-least-once delivery. */
  id: number | null;
  isDurable: boolean;
  /** What its intent holds. */
  held: readonly { readonly streamNumber: number; readonly count: number }[];
}

/** The way from all files to one sink. */
export class ModelLane {
  readonly sink: ModelSink;
  readonly lane: Lane;
  readonly buffer: MemoryBuffer;
  readonly pending: { members: Membership; values: string[] }[];
  readonly batches: ModelBatch[] = [];
  readonly offsets = new Map<string, number>();
  readonly metrics = new SinkMetrics();
  intents: IntentLog | null = null;
  /** What the run before left open and nobody has looked at yet. */
  recovered: RecoveredIntent[] = [];
  sequence = 0;
  producer = 0;
  /** A full buffer drops a line. */
  onDropped: (value: string) => void = () => {};

  constructor(sink: ModelSink, positions: PositionStore, bufferEvents: number) {
    this.sink = sink;
    const { whenFull, isExact } = sink;
    const sourceMetrics = new SourceMetrics();
    this.buffer = new MemoryBuffer({ maxEvents: bufferEvents, maxSizeBytes: 1 << 30, metrics: this.metrics });
    this.pending = Array.from({ length: sink.partitions }, () => ({ members: new Membership(), values: [] }));
    this.lane = new Lane({
      source: "app",
      sink: sink.name,
      maxLineBytes: MAX_LINE_BYTES,
      whenFull,
      shaper: createShaper({
        decoding: { codec: "text" },
        encoding: PLAIN_ENCODING,
        keyField: null,
        topic: "t",
        hostname: "h",
        pool: new BufferPool(),
        metrics: sourceMetrics,
      }),
      buffer: this.buffer,
      checkpoint: positions,
      hasIntents: () => isExact,
      sourceMetrics,
      sinkMetrics: this.metrics,
      garbagePacer: new GarbagePacer({ collect() {} }),
      log: silentLog,
      now: () => 1,
    });
  }

  /** Reads on in a file, as a tailer does. Returns the bytes that were taken. */
  read(file: ModelFile, positions: PositionStore, bytesMax: number): number {
    const { stream, content } = file;
    let offset = this.offsets.get(stream.id) ?? positions.resumeOffset("app", stream.id, this.sink.name) ?? 0;
    let piece = this.lane.pieceAt(stream, offset);
    while (piece !== null && piece.kind === "skip") {
      offset = piece.endOffset;
      piece = this.lane.pieceAt(stream, offset);
    }
    this.offsets.set(stream.id, offset);
    let end = Math.min(content.length, offset + bytesMax);
    if (piece !== null) end = piece.kind === "region" ? piece.endOffset : Math.min(end, piece.endOffset);
    if (end > content.length) throw new Error(`${stream.id} has ${content.length} bytes, ${end} are wanted`);
    if (end <= offset || !this.lane.hasRoom()) return 0;
    const data = content.subarray(offset, end);
    const isFinal = piece !== null && end === piece.endOffset;
    const isDropping = this.buffer.roomEvents() === 0;
    const taken = this.lane.offer({ stream, offset, data, owner: unpooled(data), isFinal, receivedMs: 1 });
    if (taken < 0) throw new Error(`Other bytes of ${stream.id} at ${offset}`);
    if (isDropping) { for (const value of file.valuesIn(offset, offset + taken)) this.onDropped(value); }
    this.offsets.set(stream.id, offset + taken);
    return taken;
  }

  /** Takes a delivery out of the buffer and gives its events to partitions. False when there is none. */
  take(): boolean {
    const delivery = this.buffer.read();
    if (delivery === null) return false;
    const values = valuesOf(delivery);
    const sticky = this.sequence % this.sink.partitions;
    values.forEach((value, i) => {
      const partition = this.sink.isKeyed ? Bun.hash.crc32(value) % this.sink.partitions : sticky;
      this.pending[partition]!.members.addRange(delivery, i, i + 1);
      this.pending[partition]!.values.push(value);
    });
    delivery.take(values.length);
    return true;
  }

  /** Seals up to `countMax` of a partition's events into a batch, and journals it. */
  seal(partition: number, countMax: number): void {
    const { members, values } = this.pending[partition]!;
    const count = Math.min(countMax, values.length);
    if (count === 0) return;
    this.pending[partition] = { members: members.slice(count, members.count), values: values.slice(count) };
    const batch = this.newBatch(partition, members.slice(0, count), values.slice(0, count));
    if (this.intents === null || !batch.members.isStored) batch.isDurable = true;
    else {
      batch.held = batch.members.heldLines();
      batch.id = this.intents.append(this.intentOf(batch));
    }
    this.batches.push(batch);
  }

  newBatch(partition: number, members: Membership, values: string[]): ModelBatch {
    const baseSequence = this.sequence;
    this.sequence += values.length;
    const key = keyOfBatch(this.sink.name, this.producer, baseSequence);
    return { partition, members, values, key, id: null, isDurable: false, held: [] };
  }

  intentOf({ members, partition, key, values }: ModelBatch): NewIntent {
    return {
      topic: "t",
      topicId: null,
      partition,
      producer: {
        producerIdHigh: 0,
        producerIdLow: this.producer,
        epoch: 0,
        baseSequence: Number(key.split(" ")[2]),
      },
      count: values.length,
      place: 0,
      hintOffset: -1,
      baseTimestampMs: 1,
      members,
    };
  }

  replace(cancelledIds: readonly number[], gone: readonly GoneEvents[], parts: readonly ModelBatch[]): void {
    const stored = parts.filter(({ members }) => members.isStored);
    for (const part of parts) {
      part.isDurable = !part.members.isStored;
      part.held = part.members.heldLines();
    }
    const ids = this.intents!.replace(cancelledIds, gone, stored.map((part) => this.intentOf(part)));
    stored.forEach((part, i) => part.id = ids[i]!);
    this.batches.push(...parts);
  }

  remove(batch: ModelBatch): void {
    this.batches.splice(this.batches.indexOf(batch), 1);
  }
}

/** Goes back, for each file, to where it still holds what the sink has read of it (see `MarkCheck`). */
export function verifyFiles(world: World, positions: PositionStore, sink: string): void {
  for (const { stream: { id }, content } of world.files) {
    const marks = positions.marks("app", id, sink);
    const same = marks.findLast(({ startOffset, endOffset, crc32 }) =>
      endOffset <= content.length && Bun.hash.crc32(content.subarray(startOffset, endOffset)) === crc32
    );
    const isAll = same === marks.at(-1) && positions.knownEnd("app", id, sink) <= content.length;
    if (isAll) continue;
    // Without one all of it is read anew.
    positions.rewind("app", id, sink, same?.endOffset ?? 0);
  }
}

/** One life of the process. */
export class ModelRun {
  readonly world: World;
  readonly writer: SteppedWriter;
  readonly lanes: ModelLane[] = [];
  journal!: Journal;
  isDead = false;
  /** Streams that the disk knew at the start of this run. */
  readonly storedStreams = new Set<string>();

  private constructor(world: World) {
    this.world = world;
    this.writer = new SteppedWriter(world.disk);
  }

  static async open(world: World, durability: Durability): Promise<ModelRun> {
    const run = new ModelRun(world);
    let isOver = false;
    const opening = Journal.open({
      dataDir: DATA_DIR,
      durability,
      machineId: "m",
      dataDirInode: "1:2",
      onClonedState: "adopt",
      log: silentLog,
      segmentBytes: 1 << 20,
      ops: world.disk,
      writer: run.writer,
    });
    opening.catch(() => {}).finally(() => isOver = true); // its error is thrown below
    await run.writer.until(() => isOver);
    run.journal = await opening;
    const { positions } = run.journal;
    for (const { id } of positions.records("app")) run.storedStreams.add(id);
    const rebuilder = new Rebuilder({
      sources: () =>
        [{
          name: "app",
          maxLineBytes: MAX_LINE_BYTES,
          decoding: { codec: "text" },
        }] as unknown as Config["sources"],
      positions,
      extents: world.extents() as unknown as ExtentReader,
      hostname: "h",
      pool: new BufferPool(),
      diskBuffers: new Map(),
      metrics: new Metrics(0),
    });
    for (const sink of SINKS) {
      const lane = new ModelLane(sink, positions, BUFFER_EVENTS);
      lane.onDropped = (value) => world.excused.get(sink.name)!.add(value);
      if (sink.isExact) {
        const rebuild = rebuilder.rebuild.bind(rebuilder, sinkConfig(sink.name));
        lane.intents = run.journal.intentsOf(sink.name, rebuild, durability === "machine");
        lane.recovered = [...lane.intents.recovered];
        lane.producer = world.newProducer();
        lane.intents.startRun(null, {
          producerIdHigh: 0,
          producerIdLow: lane.producer,
          epoch: 0,
          baseSequence: 0,
        });
      } else lane.producer = world.newProducer();
      run.lanes.push(lane);
    }
    run.announce();
    return run;
  }

  /** Tells the store of every file that is there, as discovery does. */
  announce(): void {
    const { positions } = this.journal;
    for (const { sink } of this.lanes) verifyFiles(this.world, positions, sink.name);
    const known = new Set(positions.records("app").map(({ id }) => id));
    for (const { record, isRotatedAway } of this.world.files) {
      if (isRotatedAway) continue;
      if (!known.has(record.id)) positions.put(record);
      for (const { sink } of this.lanes) {
        if (positions.resumeOffset("app", record.id, sink.name) === null) {
          positions.startAt("app", record.id, sink.name, 0);
        }
      }
    }
  }

  /** Asks for everything to be durable; batches that are in the journal now may be sent then. */
  commit(): void {
    for (const lane of this.lanes) {
      const waiting = lane.batches.filter(({ isDurable }) => !isDurable);
      if (lane.intents === null || waiting.length === 0) continue;
      lane.intents.durable().then(() => {
        if (!this.isDead) { for (const batch of waiting) batch.isDurable = true; }
      }, () => {}); // the log was closed under it
    }
  }
}
