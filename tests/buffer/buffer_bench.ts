import { bufferOpsOf } from "../../src/buffer/buffer_ops.ts";
import type { DiskBuffer } from "../../src/buffer/disk_buffer.ts";
import type { BufferTiming } from "../../src/buffer/open_buffer.ts";
import type { KafkaSinkConfig } from "../../src/config/config.ts";
import { openSinkBuffer } from "../../src/disk_buffers.ts";
import type { Delivery } from "../../src/event/delivery.ts";
import { BufferPool, unpooled } from "../../src/event/pooled_buffer.ts";
import type { Stream } from "../../src/event/stream.ts";
import { Journal } from "../../src/journal/journal.ts";
import { Lane } from "../../src/lane.ts";
import { createShaper } from "../../src/shape/shaper.ts";
import { DirectWriter, type GroupWriter } from "../../src/storage/group_writer.ts";
import type { StorageJob } from "../../src/storage/storage_jobs.ts";
import type { Durability } from "../../src/storage/log_options.ts";
import { auditRun } from "../../src/telemetry/audit.ts";
import { GarbagePacer } from "../../src/telemetry/garbage_pacer.ts";
import { Metrics, SourceMetrics } from "../../src/telemetry/metrics.ts";
import { MAX_LINE_BYTES, type ModelFile, PLAIN_ENCODING, valuesOf } from "../journal/model_world.ts";
import { KeptLog } from "../kafka/producer_harness.ts";
import { SimulatedFiles } from "../storage/simulated_files.ts";

export const SINK = "s";
export const BENCH_DATA_DIR = "/there-is-no-such-folder";
/** Eight segments of 32 KiB. */
export const BENCH_MAX_BYTES = 262_144;

/** What survives a crash: the disks of the buffer and of the journal, which are two folders of one machine. */
export class BufferDisks {
  readonly buffer: SimulatedFiles;
  readonly journal: SimulatedFiles;

  constructor(seed = 1, sectorBytes = 4096) {
    this.buffer = new SimulatedFiles(seed, sectorBytes);
    this.journal = new SimulatedFiles(seed + 1, sectorBytes);
  }

  kill(): void {
    this.buffer.kill();
    this.journal.kill();
  }

  powerCut(): void {
    this.buffer.powerCut();
    this.journal.powerCut();
  }
}

export interface BenchOptions {
  readonly durability?: Durability;
  readonly whenFull?: "block" | "drop_newest" | "drop_oldest";
  readonly maxSizeBytes?: number;
  readonly writers?: { readonly buffer: GroupWriter; readonly journal: GroupWriter };
  readonly timing?: BufferTiming;
  readonly isExact?: boolean;
  /** What the disk of the buffer has left, bytes; infinite when it is not given. */
  readonly freeBytes?: () => number;
}

/** Does nothing any more when its process is gone. */
class MortalWriter implements GroupWriter {
  readonly #writer: GroupWriter;
  readonly #life: { isOver: boolean };

  constructor(writer: GroupWriter, life: { isOver: boolean }) {
    this.#writer = writer;
    this.#life = life;
  }

  allocate(sizeBytes: number): Buffer {
    return this.#writer.allocate(sizeBytes);
  }

  run(job: StorageJob): Promise<number> {
    return this.#life.isOver ? new Promise(() => {}) : this.#writer.run(job);
  }

  close(atOnce: boolean): void {
    this.#writer.close(atOnce);
  }
}

/** One life of a process that has a disk buffer: a tailer and stdin in front of it, and whoever reads it. */
export class BufferBench {
  readonly disks: BufferDisks;
  readonly journal: Journal;
  readonly buffer: DiskBuffer;
  readonly metrics: Metrics;
  readonly log: KeptLog;
  readonly lane: Lane;
  readonly stdin: Lane;
  readonly pool = new BufferPool();
  readonly offsets = new Map<string, number>();
  readonly #life: { isOver: boolean };

  private constructor(
    life: { isOver: boolean },
    disks: BufferDisks,
    journal: Journal,
    buffer: DiskBuffer,
    metrics: Metrics,
    log: KeptLog,
    whenFull: "block" | "drop_newest" | "drop_oldest",
  ) {
    this.#life = life;
    this.disks = disks;
    this.journal = journal;
    this.buffer = buffer;
    this.metrics = metrics;
    this.log = log;
    this.lane = this.#lane("app", whenFull);
    this.stdin = this.#lane("in", whenFull);
    const { positions } = journal;
    metrics.accounts = () => [...positions.accounts(), ...buffer.accounts()];
  }

  static async open(disks: BufferDisks, options: BenchOptions = {}): Promise<BufferBench> {
    const { durability = "machine", whenFull = "block", maxSizeBytes = BENCH_MAX_BYTES, writers } = options;
    const log = new KeptLog();
    const life = { isOver: false };
    const journal = await Journal.open({
      dataDir: BENCH_DATA_DIR,
      durability,
      machineId: "m",
      dataDirInode: "1:2",
      onClonedState: "adopt",
      log,
      segmentBytes: 1 << 20,
      ops: disks.journal,
      writer: new MortalWriter(writers?.journal ?? new DirectWriter(disks.journal), life),
    });
    const metrics = new Metrics(0);
    const sink = { type: "kafka", name: SINK, durability, buffer: { type: "disk", maxSizeBytes, whenFull } };
    const buffer = await openSinkBuffer(
      {
        journal,
        pool: new BufferPool(),
        metrics,
        log,
        ops: disks.buffer,
        timing: {
          retryMsMax: 1,
          syncIntervalMs: 1,
          skipDelayMs: 1,
          writer: new MortalWriter(writers?.buffer ?? new DirectWriter(disks.buffer), life),
          ...options.timing,
          ...(options.freeBytes === undefined ? {} : { ops: bufferOpsOf(disks.buffer, options.freeBytes) }),
        },
      },
      sink as unknown as KafkaSinkConfig,
      "/buffer",
    );
    buffer.hasIntents = () => options.isExact ?? false;
    return new BufferBench(life, disks, journal, buffer, metrics, log, whenFull);
  }

  #lane(source: string, whenFull: "block" | "drop_newest" | "drop_oldest"): Lane {
    const sourceMetrics = new SourceMetrics();
    return new Lane({
      source,
      sink: SINK,
      maxLineBytes: MAX_LINE_BYTES,
      whenFull,
      shaper: createShaper({
        decoding: { codec: "text" },
        encoding: PLAIN_ENCODING,
        keyField: null,
        topic: "t",
        hostname: "h",
        pool: this.pool,
        metrics: sourceMetrics,
      }),
      buffer: this.buffer,
      checkpoint: this.journal.positions,
      // A line of a file is done with when it is in the buffer.
      hasIntents: () => false,
      sourceMetrics,
      sinkMetrics: this.metrics.sink(SINK),
      garbagePacer: new GarbagePacer({ collect() {} }),
      log: this.log,
      now: () => 1,
    });
  }

  /** The store knows the file, as after its discovery. */
  announce({ record }: ModelFile): void {
    const { positions } = this.journal;
    if (positions.record("app", record.id) === null) positions.put(record);
    if (positions.resumeOffset("app", record.id, SINK) === null) {
      positions.startAt("app", record.id, SINK, 0);
    }
  }

  /** Reads on in a file, as a tailer does. Returns the bytes that were taken. */
  read(file: ModelFile, bytesMax = 1 << 20): number {
    const { stream, content } = file;
    let offset = this.offsets.get(stream.id) ??
      this.journal.positions.resumeOffset("app", stream.id, SINK) ?? 0;
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
    const taken = this.lane.offer({ stream, offset, data, owner: unpooled(data), isFinal, receivedMs: 1 });
    if (taken < 0) throw new Error(`Other bytes of ${stream.id} at ${offset}`);
    this.offsets.set(stream.id, offset + taken);
    return taken;
  }

  /** Offers lines of a stream that cannot be read again. Returns the bytes that were taken. */
  pipe(stream: Stream, offset: number, data: Buffer): number {
    if (!this.stdin.hasRoom()) return 0;
    return this.stdin.offer({ stream, offset, data, owner: unpooled(data), isFinal: false, receivedMs: 1 });
  }

  /** What can be read now, delivered at once. */
  async deliver(): Promise<string[]> {
    const values: string[] = [];
    for (let idle = 0; idle < 20; idle++) {
      const delivery = this.take();
      if (delivery !== null) {
        values.push(...valuesOf(delivery));
        delivery.take(delivery.batch.count);
        this.settle(delivery, delivery.batch.count);
        idle = 0;
      } else await turns(1);
    }
    return values;
  }

  /** The sink takes a delivery. */
  take(): Delivery | null {
    const delivery = this.buffer.read();
    if (delivery !== null) this.metrics.sink(SINK).inFlightEvents += delivery.batch.count;
    return delivery;
  }

  settle(delivery: Delivery, count: number): void {
    const metrics = this.metrics.sink(SINK);
    metrics.inFlightEvents -= count;
    metrics.deliveredEventsCount += count;
    delivery.settle(count, "delivered");
  }

  /** What does not add up. */
  differences(): string[] {
    const { addsUp, sinks, streams } = auditRun(this.metrics);
    return addsUp ? [] : [JSON.stringify({ sinks, streams })];
  }

  /** The process is gone; its disks are for the caller to kill. */
  die(): void {
    this.#life.isOver = true;
    this.journal.positions.close();
    this.buffer.abandon();
  }

  async close(): Promise<void> {
    if (!await this.buffer.close(2_000)) throw new Error("The buffer could not be closed");
    if (!await this.journal.close(2_000)) throw new Error("The journal could not be closed");
  }
}

/** Lets what runs in the background go on. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
