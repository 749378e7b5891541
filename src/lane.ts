import type { EventBuffer } from "./buffer/event_buffer.ts";
import type { Checkpoint, PositionTracker } from "./checkpoint/checkpoint.ts";
import { LineSplitter } from "./decode/line_splitter.ts";
import type { Chunk, Outlet } from "./event/chunk.ts";
import { type BatchStatus, Delivery } from "./event/delivery.ts";
import type { LineBatch } from "./event/line_batch.ts";
import type { Stream } from "./event/stream.ts";
import type { Shaper } from "./shape/shaper.ts";
import type { GarbagePacer } from "./telemetry/garbage_pacer.ts";
import type { Log } from "./telemetry/log.ts";
import type { SinkMetrics, SourceMetrics } from "./telemetry/metrics.ts";

/** Lines that one call takes at most when nothing else limits it (`drop_newest`). */
export const LINES_MAX = 65_536;

export interface LaneOptions {
  readonly source: string;
  readonly sink: string;
  readonly maxLineBytes: number;
  readonly whenFull: "block" | "drop_newest";
  readonly shaper: Shaper;
  readonly buffer: EventBuffer;
  readonly checkpoint: Checkpoint;
  readonly sourceMetrics: SourceMetrics;
  readonly sinkMetrics: SinkMetrics;
  readonly garbagePacer: GarbagePacer;
  readonly log: Log;
  readonly now: () => number;
}

/** How often a lane that is held back looks whether it may go on. */
const HELD_BACK_CHECK_MS = 200;

interface StreamState {
  readonly splitter: LineSplitter;
  readonly tracker: PositionTracker;
}

/**
 * The way from one source to one sink: decode, shape, buffer, and back from the acknowledgement to the position. Every (source, sink)
 * pair has its own, so that a sink that stands still holds no other.
 */
export class Lane implements Outlet {
  readonly sink: string;
  readonly #options: LaneOptions;
  readonly #streams = new Map<string, StreamState>();
  #fullTracker: PositionTracker | null = null;

  constructor(options: LaneOptions) {
    this.sink = options.sink;
    this.#options = options;
  }

  hasRoom(): boolean {
    if (this.#isHeldBack()) return false;
    return this.#options.whenFull === "drop_newest" || this.#options.buffer.hasRoom();
  }

  async waitForRoom(signal: AbortSignal): Promise<void> {
    while (this.#isHeldBack() && !signal.aborted) await Bun.sleep(HELD_BACK_CHECK_MS);
    if (!this.hasRoom()) await this.#options.buffer.waitForRoom(signal);
  }

  offer(chunk: Chunk): number {
    const { buffer, sourceMetrics, sinkMetrics, whenFull } = this.#options;
    const roomEvents = buffer.roomEvents();
    if (roomEvents === 0 && whenFull === "block") return 0;
    const state = this.#stateOf(chunk);
    if (!state.tracker.hasRoom) {
      this.#holdBack(state.tracker, chunk.stream);
      return 0;
    }
    const lines = state.splitter.split(chunk, roomEvents === 0 ? LINES_MAX : Math.min(roomEvents, LINES_MAX));
    if (lines.takenBytes === 0) return 0;
    sourceMetrics.eventsInCount += lines.count;
    sourceMetrics.bytesInCount += lines.takenBytes;
    sourceMetrics.truncatedLinesCount += lines.truncatedCount;
    sinkMetrics.eventsInCount += lines.count;
    sinkMetrics.eventsInBySource.add(this.#options.source, lines.count);
    if (lines.truncatedCount > 0) this.#tellCut(lines);
    const endOffset = chunk.offset + lines.takenBytes;
    const ticket = state.tracker.track(chunk.offset, endOffset, lines.endsInsideCutLine);
    if (lines.count === 0) state.tracker.settle(ticket, "delivered");
    else if (roomEvents === 0) this.#drop(state.tracker, ticket, lines.count);
    else this.#shape(state.tracker, ticket, lines);
    this.#options.garbagePacer.add(lines.takenBytes);
    return lines.takenBytes;
  }

  endStream(stream: Stream): void {
    this.#streams.delete(stream.id);
  }

  /** A tracker that is full of settled ranges behind one that does not settle: nothing is read until it does. */
  #isHeldBack(): boolean {
    if (this.#fullTracker?.hasRoom === true) this.#fullTracker = null;
    return this.#fullTracker !== null;
  }

  #holdBack(tracker: PositionTracker, { path }: Stream): void {
    this.#fullTracker = tracker;
    this.#options.log.warn(
      `Reading for sink "${this.sink}" waits: bytes of "${path}" at ${tracker.position} are not acknowledged, and too much behind them is`,
      { source: this.#options.source, hint: "look for a partition without a leader" },
    );
  }

  #shape(tracker: PositionTracker, ticket: number, lines: LineBatch): void {
    const { shaper, buffer, sinkMetrics, now } = this.#options;
    const { batch, droppedCount } = shaper.shape(lines);
    if (droppedCount > 0) this.#countWithoutTopic(droppedCount);
    if (batch === null) {
      tracker.settle(ticket, "rejected");
      return;
    }
    if (sinkMetrics.waitingSinceMs === 0) sinkMetrics.waitingSinceMs = now();
    const settled = (status: BatchStatus): void => {
      if (status === "errored") sinkMetrics.undelivered.add(this.#options.source, batch.count);
      tracker.settle(ticket, status);
    };
    buffer.write(new Delivery(batch, settled));
  }

  /** Names the first line that was cut; the log writes few of them, the metric counts all. */
  #tellCut({ chunk, starts, truncatedCount, firstTruncated }: LineBatch): void {
    const { maxLineBytes, source, log } = this.#options;
    const where = chunk.stream.path === "" ? `source "${source}"` : `"${chunk.stream.path}"`;
    log.warn(
      `A line of ${where} at byte ${
        chunk.offset + starts[firstTruncated]!
      } is longer than ${maxLineBytes} bytes and was cut there`,
      { source, lines: truncatedCount, hint: "raise max_line_bytes" },
    );
  }

  /** The buffer is full, and dropping was asked for. */
  #drop(tracker: PositionTracker, ticket: number, count: number): void {
    const { source, sinkMetrics, log } = this.#options;
    sinkMetrics.dropped.add(`${source}\u0000buffer_full`, count);
    log.warn(
      `The buffer of sink "${this.sink}" is full: new events of source "${source}" are dropped and counted`,
      { reason: "buffer_full", hint: 'buffer.when_full = "block" lets the source wait instead' },
    );
    tracker.settle(ticket, "rejected");
  }

  #countWithoutTopic(count: number): void {
    const { source, sinkMetrics, log } = this.#options;
    sinkMetrics.dropped.add(`${source}\u0000template_error`, count);
    log.error(
      `Cannot name a topic of sink "${this.sink}" for ${count} event(s) of source "${source}": a field of the template is ` +
        `missing, or has a value that no topic's name can hold; dropped and counted`,
      { reason: "template_error" },
    );
  }

  #stateOf(chunk: Chunk): StreamState {
    let state = this.#streams.get(chunk.stream.id);
    if (state === undefined) {
      const { maxLineBytes, checkpoint } = this.#options;
      const tracker = checkpoint.tracker(chunk.stream, this.sink, chunk.offset);
      const splitter = new LineSplitter({ maxLineBytes, isInsideCutLine: tracker.startsInsideCutLine });
      state = { splitter, tracker };
      this.#streams.set(chunk.stream.id, state);
    }
    return state;
  }
}
