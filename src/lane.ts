import { crc32 } from "node:zlib";
import type { EventBuffer } from "./buffer/event_buffer.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import type { Ledger } from "./checkpoint/ledger.ts";
import type { Region } from "./checkpoint/region.ts";
import { LineSplitter } from "./decode/line_splitter.ts";
import { type Chunk, OTHER_BYTES, type Outlet, type Piece } from "./event/chunk.ts";
import { type BatchStatus, Delivery } from "./event/delivery.ts";
import { deadLetterReason } from "./event/dead_letters.ts";
import type { LineBatch } from "./event/line_batch.ts";
import type { Stream } from "./event/stream.ts";
import { Tally } from "./event/tally.ts";
import type { LaneLetters } from "./lane_letters.ts";
import type { Shaper } from "./shape/shape_result.ts";
import type { Fallback, RefusedLines } from "./shape/topics.ts";
import { countOf, nounOf } from "./telemetry/format.ts";
import type { GarbagePacer } from "./telemetry/garbage_pacer.ts";
import type { Log } from "./telemetry/log.ts";
import type { SinkMetrics, SourceMetrics } from "./telemetry/metrics.ts";

/** Lines that one call takes at most when nothing else limits it (`drop_newest`). */
export const LINES_MAX = 65_536;

export interface LaneOptions {
  readonly source: string;
  readonly sink: string;
  readonly maxLineBytes: number;
  readonly whenFull: "block" | "drop_newest" | "drop_oldest";
  /** Its events share a record batch with no others; where that is not given, they may. */
  readonly isAlone?: boolean;
  readonly shaper: Shaper;
  readonly buffer: EventBuffer;
  readonly checkpoint: Checkpoint;
  /** Lines without a topic are kept there; null or left out: they are dropped. */
  readonly letters?: LaneLetters | null;
  /** Intents tell what is delivered; otherwise the acknowledgement does, or that a disk buffer has it. */
  readonly hasIntents: () => boolean;
  readonly sourceMetrics: SourceMetrics;
  readonly sinkMetrics: SinkMetrics;
  readonly garbagePacer: GarbagePacer;
  readonly log: Log;
  readonly now: () => number;
}

interface StreamState {
  readonly ledger: Ledger;
  readonly tally: Tally;
  splitter: LineSplitter;
  /** Where the splitter goes on; a chunk that starts elsewhere needs another one. */
  nextOffset: number;
  /** Of the ledger, when the splitter was made. */
  rewindCount: number;
}

/**
 * The way from one source to one sink: decode, shape, buffer, and back from the acknowledgement to the position. Every (source, sink)
 * pair has its own, so that a sink that stands still holds no other.
 *
 * Every chunk that is taken becomes a *region* of the stream's ledger. What an earlier run had read of a region is left out after a restart,
 * line by line.
 */
export class Lane implements Outlet {
  readonly sink: string;
  readonly #options: LaneOptions;
  readonly #streams = new Map<string, StreamState>();

  constructor(options: LaneOptions) {
    this.sink = options.sink;
    this.#options = options;
  }

  hasRoom(): boolean {
    const { whenFull, buffer } = this.#options;
    return !buffer.isBusy() && this.#hasLetterRoom && (whenFull !== "block" || buffer.hasRoom());
  }

  async waitForRoom(signal: AbortSignal): Promise<void> {
    if (!this.#hasLetterRoom) await this.#options.letters!.waitForRoom(signal);
    else if (!this.hasRoom()) await this.#options.buffer.waitForRoom(signal);
  }

  pieceAt(stream: Stream, offset: number): Piece | null {
    const { ledger } = this.#stateOf(stream, offset);
    const piece = ledger.pieceAt(offset);
    if (piece === null || piece.kind !== "region") return piece;
    return { kind: "region", endOffset: piece.region.endOffset };
  }

  offer(chunk: Chunk): number {
    const { buffer, whenFull } = this.#options;
    if (buffer.isBusy() || !this.#hasLetterRoom) return 0;
    const roomEvents = buffer.roomEvents();
    if (whenFull === "block" && !buffer.hasRoom()) return 0;
    const state = this.#stateOf(chunk.stream, chunk.offset);
    if (chunk.offset < state.ledger.restoredEnd) {
      const piece = state.ledger.pieceAt(chunk.offset);
      if (piece?.kind === "region") return this.#offerAgain(state, chunk, piece.region, roomEvents);
    }
    if (chunk.offset !== state.nextOffset || state.ledger.rewindCount !== state.rewindCount) {
      state.splitter = this.#newSplitter(state.ledger.isInsideCutLine(chunk.offset));
      state.rewindCount = state.ledger.rewindCount;
    }
    const startsInsideCutLine = state.splitter.isInsideCutLine;
    const lines = state.splitter.split(chunk, roomEvents === 0 ? LINES_MAX : Math.min(roomEvents, LINES_MAX));
    if (lines.takenBytes === 0) {
      state.nextOffset = chunk.offset;
      return 0;
    }
    const endOffset = chunk.offset + lines.takenBytes;
    const region = state.ledger.track({
      startOffset: chunk.offset,
      endOffset,
      crc32: crc32(chunk.data.subarray(0, lines.takenBytes)),
      lineCount: lines.count,
      startsInsideCutLine,
      endsInsideCutLine: lines.endsInsideCutLine,
    });
    if (lines.truncatedCount > 0) this.#tellCut(lines);
    this.#take(state, region, lines, roomEvents);
    state.nextOffset = endOffset;
    state.ledger.cursor = endOffset;
    return lines.takenBytes;
  }

  endStream(stream: Stream): void {
    this.#streams.delete(stream.id);
  }

  /** Takes the lines of a region that an earlier run did not get rid of, all of them: a region is not large. */
  #offerAgain(state: StreamState, chunk: Chunk, region: Region, roomEvents: number): number {
    const sizeBytes = region.endOffset - region.startOffset;
    const data = chunk.data.subarray(0, sizeBytes);
    if (data.length < sizeBytes || crc32(data) !== region.crc32) return OTHER_BYTES;
    const splitter = this.#newSplitter(region.startsInsideCutLine);
    const lines = splitter.split({ ...chunk, data, isFinal: true }, region.lineCount + 1);
    if (lines.count !== region.lineCount) return OTHER_BYTES;
    this.#take(state, region, leaveOutCovered(lines, region), roomEvents);
    state.nextOffset = -1;
    state.ledger.cursor = region.endOffset;
    return sizeBytes;
  }

  #take(state: StreamState, region: Region, lines: LineBatch, roomEvents: number): void {
    const { source, sourceMetrics, sinkMetrics, garbagePacer } = this.#options;
    sourceMetrics.eventsInCount += lines.count;
    sourceMetrics.bytesInCount += lines.takenBytes;
    sourceMetrics.truncatedLinesCount += lines.truncatedCount;
    sinkMetrics.eventsInCount += lines.count;
    sinkMetrics.eventsInBySource.add(source, lines.count);
    state.tally.readCount += lines.count;
    if (lines.count > 0) {
      if (roomEvents === 0) this.#drop(state, region, lines);
      else this.#shape(state, region, lines);
    } else state.ledger.changed();
    garbagePacer.add(lines.takenBytes);
  }

  #shape(state: StreamState, region: Region, lines: LineBatch): void {
    const { shaper, buffer, sinkMetrics, now } = this.#options;
    const { batch, refused, fallbacks } = shaper.shape(lines);
    for (const each of refused) this.#refuse(state, region, lines, each);
    for (const each of fallbacks) this.#countFallback(each);
    if (batch === null) return;
    if (sinkMetrics.waitingSinceMs === 0) sinkMetrics.waitingSinceMs = now();
    const settled = (_status: BatchStatus, delivery: Delivery) => this.#settled(state, region, delivery);
    const delivery = new Delivery(batch, settled, region, state.tally);
    if (this.#options.isAlone === true) delivery.isAlone = true;
    buffer.write(delivery);
  }

  #settled({ ledger }: StreamState, region: Region, delivery: Delivery): void {
    const { sinkMetrics, source, hasIntents } = this.#options;
    const { batch, leftCount, rejectedCount } = delivery;
    if (leftCount > 0) sinkMetrics.undelivered.add(source, leftCount);
    region.settle(batch.count - leftCount);
    // Without intents nobody has told which of its lines are delivered: all of it is read again unless all are.
    if (hasIntents() || leftCount > 0) return;
    delivery.cover(0, batch.count);
    if (!region.isDetached) region.countDelivered(batch.count - rejectedCount);
    ledger.changed();
  }

  #tellCut({ chunk, starts, firstTruncated, truncatedCount }: LineBatch): void {
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
  #drop(state: StreamState, region: Region, lines: LineBatch): void {
    const { source, sinkMetrics, log, buffer } = this.#options;
    sinkMetrics.dropped.add(`${source}\u0000buffer_full`, lines.count);
    log.warn(
      `The buffer of sink "${this.sink}" is full: new events of source "${source}" are dropped and counted`,
      { reason: "buffer_full", hint: 'buffer.when_full = "block" lets the source wait instead' },
    );
    this.#giveUp(state, region, numbersOf(lines), "buffer_full");
    buffer.skip(region);
  }

  #giveUp({ ledger, tally }: StreamState, region: Region, lines: readonly number[], reason: string): void {
    for (const line of lines) region.cover(line, 1);
    region.settle(lines.length);
    tally.rejectedCount += lines.length;
    tally.drop(reason, lines.length);
    const { stream, startOffset: fromOffset, endOffset: toOffset } = region;
    this.#options.sinkMetrics.gaps?.note(stream, reason, {
      events: lines.length,
      bytes: 0,
      fromOffset,
      toOffset,
    });
    // Other bytes may have come in its place while a letter was written.
    if (!region.isDetached) region.countGone("dropped", reason, lines.length);
    ledger.skipped();
  }

  /** Events have no topic: they are dropped, or kept as dead letters. */
  #refuse(state: StreamState, region: Region, batch: LineBatch, { reason, lines }: RefusedLines): void {
    const { source, sinkMetrics, log, letters = null } = this.#options;
    const count = lines.length;
    if (letters !== null) {
      const error = `No topic of sink "${this.sink}" can be named: ${NO_TOPIC[reason]}`;
      log.warn(
        `${countOf(count, "event")} of source "${source}" ${
          nounOf(count, "becomes", "become")
        } dead letters. ${error}`,
        { reason },
      );
      return letters.put(batch, state.tally, { reason, error, numbers: lines }, (line) => {
        sinkMetrics.deadLettered.add(`${source}\u0000${reason}`, 1);
        this.#giveUp(state, region, [line], deadLetterReason(reason));
      });
    }
    sinkMetrics.dropped.add(`${source}\u0000${reason}`, count);
    log.error(
      `Cannot name a topic of sink "${this.sink}" for ${countOf(count, "event")} of source "${source}": ${
        NO_TOPIC[reason]
      }; dropped and counted`,
      { reason, hint: 'on_template_error = "fallback_topic" sends them to a topic of their own' },
    );
    this.#giveUp(state, region, lines, reason);
  }

  get #hasLetterRoom(): boolean {
    return this.#options.letters?.hasRoom ?? true;
  }

  #countFallback({ reason, count }: Fallback): void {
    const { source, sinkMetrics, log } = this.#options;
    sinkMetrics.fallbacks.add(`${source}\u0000${reason}`, count);
    log.warn(
      `${countOf(count, "event")} of source "${source}" ${
        nounOf(count, "goes", "go")
      } to the fallback topic of sink "${this.sink}": ${NO_TOPIC[reason]}`,
      { reason },
    );
  }

  #stateOf(stream: Stream, offset: number): StreamState {
    let state = this.#streams.get(stream.id);
    if (state === undefined) {
      const ledger = this.#options.checkpoint.ledger(stream, this.sink, offset);
      const splitter = this.#newSplitter(ledger.isInsideCutLine(offset));
      const { tally, rewindCount } = ledger;
      state = { ledger, tally, splitter, nextOffset: offset, rewindCount };
      this.#streams.set(stream.id, state);
    }
    return state;
  }

  #newSplitter(isInsideCutLine: boolean): LineSplitter {
    return new LineSplitter({ maxLineBytes: this.#options.maxLineBytes, isInsideCutLine });
  }
}

/** Leaves the lines out that a restart must not repeat. The arrays are the splitter's and may be written to. */
function leaveOutCovered(lines: LineBatch, region: Region): LineBatch {
  const numbers = new Uint32Array(lines.count);
  let count = 0;
  for (let line = 0; line < lines.count; line++) {
    if (region.isLineCovered(line)) continue;
    lines.starts[count] = lines.starts[line]!;
    lines.ends[count] = lines.ends[line]!;
    lines.nexts[count] = lines.nexts[line]!;
    numbers[count++] = line;
  }
  lines.count = count;
  lines.lineNumbers = numbers.subarray(0, count);
  return lines;
}

/** Of each line in its region. */
function numbersOf({ count, lineNumbers }: LineBatch): number[] {
  return Array.from({ length: count }, (_, i) => lineNumbers?.[i] ?? i);
}

/** Why there is none, as a clause. */
const NO_TOPIC: Readonly<Record<RefusedLines["reason"], string>> = {
  template_error: "a field of the template is missing, or holds no text, number or boolean",
  topic_invalid: "what a field holds makes a name that no topic can have",
  topic_not_allowed: "what a field holds names a topic that allowed_topics, or its default, leaves out",
};
