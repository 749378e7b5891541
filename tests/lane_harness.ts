import { MemoryBuffer } from "../src/buffer/memory_buffer.ts";
import type { Checkpoint } from "../src/checkpoint/checkpoint.ts";
import { PositionStore } from "../src/checkpoint/position_store.ts";
import type { DecodingConfig } from "../src/config/config.ts";
import type { BatchStatus, Delivery } from "../src/event/delivery.ts";
import type { DeadLetters } from "../src/event/dead_letters.ts";
import { BufferPool } from "../src/event/pooled_buffer.ts";
import { unpooled } from "../src/event/pooled_buffer.ts";
import type { Stream } from "../src/event/stream.ts";
import { Lane } from "../src/lane.ts";
import { LaneLetters } from "../src/lane_letters.ts";
import { createShaper } from "../src/shape/shaper.ts";
import { GarbagePacer } from "../src/telemetry/garbage_pacer.ts";
import { SinkMetrics, SourceMetrics } from "../src/telemetry/metrics.ts";
import { KeptLog } from "./kafka/producer_harness.ts";

export interface LaneHarnessOptions {
  readonly whenFull?: "block" | "drop_newest";
  readonly maxEvents?: number;
  readonly maxSizeBytes?: number;
  readonly maxLineBytes?: number;
  readonly topic?: string;
  readonly decoding?: DecodingConfig;
  readonly checkpoint?: Checkpoint;
  readonly stream?: Stream;
  readonly deadLetters?: DeadLetters;
}

export const appStream: Stream = { id: "1:2:3", source: "app", sourceType: "file", path: "/var/log/app.log" };

/** A lane between a stream that a test offers by hand and a buffer that it reads by hand. */
export class LaneHarness {
  readonly lane: Lane;
  readonly letters: LaneLetters | null;
  readonly buffer: MemoryBuffer;
  readonly source = new SourceMetrics();
  readonly sink = new SinkMetrics();
  readonly log = new KeptLog();
  readonly checkpoint: Checkpoint;
  readonly #stream: Stream;
  readonly #waiting: Delivery[] = [];
  offset: number;

  constructor(options: LaneHarnessOptions = {}, startOffset = 0) {
    this.#stream = options.stream ?? appStream;
    this.offset = startOffset;
    this.checkpoint = options.checkpoint ?? new PositionStore();
    this.buffer = new MemoryBuffer({
      maxEvents: options.maxEvents ?? 1_000,
      maxSizeBytes: options.maxSizeBytes ?? 1 << 20,
      metrics: this.sink,
    });
    const encoding = {
      codec: "text",
      onlyFields: null,
      exceptFields: null,
      timestampFormat: "rfc3339",
    } as const;
    const { deadLetters } = options;
    const now = () => 5_000;
    this.letters = deadLetters === undefined
      ? null
      : new LaneLetters({ deadLetters, source: "app", sink: "events", metrics: this.sink, now });
    this.lane = new Lane({
      source: "app",
      sink: "events",
      maxLineBytes: options.maxLineBytes ?? 1_000,
      whenFull: options.whenFull ?? "block",
      shaper: createShaper({
        decoding: options.decoding ?? { codec: "text" },
        encoding,
        keyField: null,
        topic: options.topic ?? "logs",
        hostname: "h",
        pool: new BufferPool(),
        metrics: this.source,
      }),
      letters: this.letters,
      buffer: this.buffer,
      checkpoint: this.checkpoint,
      hasIntents: () => false,
      sourceMetrics: this.source,
      sinkMetrics: this.sink,
      garbagePacer: new GarbagePacer({ collect() {} }),
      log: this.log,
      now,
    });
  }

  /** Offers the text at the offset that was reached; gives what is left of it. */
  offer(text: string, isFinal = false): string {
    const data = Buffer.from(text);
    const taken = this.lane.offer({
      stream: this.#stream,
      offset: this.offset,
      data,
      owner: unpooled(data),
      isFinal,
      receivedMs: 1_000,
    });
    this.offset += taken;
    return data.toString("utf8", taken);
  }

  /** Takes what is in the buffer, as a sink does. */
  read(): string[] {
    const values: string[] = [];
    for (let delivery = this.buffer.read(); delivery !== null; delivery = this.buffer.read()) {
      const { values: column, count } = delivery.batch;
      for (let i = 0; i < count; i++) {
        values.push(column.data.toString("utf8", column.starts[i], column.ends[i]));
      }
      delivery.take(count);
      this.sink.inFlightEvents += count;
      this.#waiting.push(delivery);
    }
    return values;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Settles what was read, one delivery of it by its place. */
  settle(status: BatchStatus, place = 0): void {
    const [delivery] = this.#waiting.splice(place, 1);
    const { count } = delivery!.batch;
    this.sink.inFlightEvents -= count;
    if (status === "delivered") this.sink.deliveredEventsCount += count;
    delivery!.settle(count, status);
  }

  get position(): number {
    return this.checkpoint.ledger(this.#stream, "events", 0).position;
  }
}
