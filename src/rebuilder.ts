import { crc32 } from "node:zlib";
import { recordShapeOf } from "./branch.ts";
import type { DiskBuffer } from "./buffer/disk_buffer.ts";
import type { PositionStore } from "./checkpoint/position_store.ts";
import type { Region } from "./checkpoint/region.ts";
import type { Config, SinkConfig, SourceConfig } from "./config/config.ts";
import { LineSplitter } from "./decode/line_splitter.ts";
import { Delivery } from "./event/delivery.ts";
import { releaseBatch } from "./event/event_batch.ts";
import type { LineBatch } from "./event/line_batch.ts";
import type { HeldLines } from "./event/tracked_region.ts";
import { type BufferPool, unpooled } from "./event/pooled_buffer.ts";
import { BUFFER_SOURCE } from "./event/stream.ts";
import type { IntentSegment } from "./journal/intent_frames.ts";
import type { LiveIntent } from "./journal/journal_reader.ts";
import type { RebuiltEvents } from "./kafka/intent_log.ts";
import type { Shaper } from "./shape/shape_result.ts";
import { createShaper } from "./shape/shaper.ts";
import type { ExtentReader } from "./source/extent_reader.ts";
import type { Metrics } from "./telemetry/metrics.ts";

export interface RebuilderOptions {
  /** As they are at the time. */
  readonly sources: () => Config["sources"];
  readonly positions: PositionStore;
  readonly extents: ExtentReader;
  /** By sink. */
  readonly diskBuffers: ReadonlyMap<string, DiskBuffer>;
  readonly hostname: string;
  readonly pool: BufferPool;
  readonly metrics: Metrics;
}

/** Where a source is not in the configuration any more, its lines are taken as they are. */
const PLAIN_DECODING = { codec: "text" } as const;

/**
 * Makes the events of a batch again that an earlier run has sent, or was about to: the stored byte ranges are read and shaped. Nothing is
 * found, grouped, routed or partitioned anew: the topic and the partition are in the intent, the times of reading too.
 */
export class Rebuilder {
  readonly #options: RebuilderOptions;

  constructor(options: RebuilderOptions) {
    this.#options = options;
  }

  /**
   * What is there of the batch, and what is not any more: lines of a region of which a byte is missing, or another one. Rejects when a file
   * cannot be read now.
   */
  async rebuild(sink: SinkConfig, { intent, regions }: LiveIntent): Promise<RebuiltEvents> {
    const deliveries: Delivery[] = [];
    const gone: HeldLines[] = [];
    for (let i = 0; i < intent.segments.length; i++) {
      const segment = intent.segments[i]!;
      const region = regions[i] ?? null;
      const { streamNumber, lineCount } = segment;
      const delivery = await this.#segment(sink, intent.topic, segment, region);
      if (delivery !== null) deliveries.push(delivery);
      else if (region !== null) gone.push({ region, streamNumber, count: lineCount });
    }
    return { deliveries, gone };
  }

  async #segment(
    sink: SinkConfig,
    topic: string,
    segment: IntentSegment,
    region: Region | null,
  ): Promise<Delivery | null> {
    const { positions, extents, diskBuffers } = this.#options;
    const { info, streamNumber } = segment;
    const record = positions.entryOf(streamNumber)?.record ?? null;
    if (record === null) return null;
    if (record.source === BUFFER_SOURCE) {
      return diskBuffers.get(sink.name)?.readAgain(record.id, info, segment.runs, region) ?? null;
    }
    const data = await extents.read(record.source, record.id, info.startOffset, info.endOffset);
    if (data === null || crc32(data) !== info.crc32) return null;
    const source = this.#options.sources().find((each) => each.name === record.source) ?? null;
    const owner = unpooled(data);
    const splitter = new LineSplitter({
      maxLineBytes: source?.maxLineBytes ?? data.length,
      isInsideCutLine: info.startsInsideCutLine,
    });
    const lines = splitter.split({
      stream: positions.entryOf(streamNumber)!.stream(),
      offset: info.startOffset,
      data,
      owner,
      isFinal: true,
      receivedMs: segment.receivedMs,
    }, info.lineCount + 1);
    if (lines.count !== info.lineCount) return null;
    const selected = select(lines, segment.runs);
    const { batch } = this.#shaper(sink, source, topic).shape(selected);
    owner.release();
    if (batch === null) return null;
    if (batch.count !== segment.lineCount) {
      releaseBatch(batch);
      return null;
    }
    const tally = positions.entryOf(streamNumber)?.ledgers.get(sink.name)?.tally ?? null;
    return new Delivery(
      batch,
      (_status, { leftCount }) => region?.settle(batch.count - leftCount),
      region,
      tally,
    );
  }

  #shaper(sink: SinkConfig, source: SourceConfig | null, topic: string): Shaper {
    const { hostname, pool, metrics } = this.#options;
    return createShaper({
      ...recordShapeOf(sink),
      decoding: source?.decoding ?? PLAIN_DECODING,
      topic,
      hostname,
      pool,
      metrics: metrics.source(source?.name ?? "forgotten"),
    });
  }
}

/** The lines that the runs name: pairs of (skipped, taken). The arrays are the splitter's and may be written to. */
function select(lines: LineBatch, runs: readonly number[]): LineBatch {
  const numbers: number[] = [];
  let line = 0;
  for (let i = 0; i < runs.length; i += 2) {
    line += runs[i]!;
    for (let left = runs[i + 1]!; left > 0; left--, line++) {
      const at = numbers.length;
      lines.starts[at] = lines.starts[line]!;
      lines.ends[at] = lines.ends[line]!;
      lines.nexts[at] = lines.nexts[line]!;
      numbers.push(line);
    }
  }
  lines.count = numbers.length;
  lines.lineNumbers = Uint32Array.from(numbers);
  return lines;
}
