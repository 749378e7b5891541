import type { ProducerNumbers } from "../kafka/batch_header.ts";
import type { HeldLines } from "../event/tracked_region.ts";
import type {
  GoneEvents,
  IntentLog,
  NewIntent,
  RebuiltEvents,
  RecoveredIntent,
} from "../kafka/intent_log.ts";
import { BUFFER_SOURCE } from "../event/stream.ts";
import { countOf } from "../telemetry/format.ts";
import type { IntentSegment } from "./intent_frames.ts";
import type { Journal } from "./journal.ts";
import type { LiveIntent } from "./journal_reader.ts";

/** Taken for the size of an event in a disk buffer. */
const BUFFERED_EVENT_BYTES = 256;

/** Reads the lines of a batch again and shapes them; see `RecoveredIntent.rebuild`. */
export type Rebuild = (live: LiveIntent) => Promise<RebuiltEvents>;

/** The journal as one sink sees it. */
export class SinkJournal implements IntentLog {
  readonly recovered: readonly RecoveredIntent[];
  readonly #journal: Journal;
  readonly #sink: string;
  readonly #isSynced: boolean;
  #runNumber = 0;
  #isClosed = false;

  constructor(journal: Journal, sink: string, rebuild: Rebuild, isSynced: boolean) {
    this.#journal = journal;
    this.#sink = sink;
    this.#isSynced = isSynced;
    this.recovered = journal.openOf(sink).map((each) => this.#recovered(each, rebuild));
  }

  /** Another one is made for the sink: what still comes of work that was under way here must not reach the journal, and throws. */
  close(): void {
    this.#isClosed = true;
  }

  #open(): Journal {
    if (this.#isClosed) throw new Error(`Sink "${this.#sink}" has started anew meanwhile`);
    return this.#journal;
  }

  hasRoom(): boolean {
    return this.#journal.hasRoom(this.#journal.positions.sinkNumber(this.#sink));
  }

  startRun(clusterId: string | null, producer: ProducerNumbers): void {
    this.#runNumber = this.#open().startRun(this.#sink, clusterId, producer);
  }

  append(intent: NewIntent): number {
    return this.#open().append(this.#journal.positions.sinkNumber(this.#sink), this.#runNumber, intent);
  }

  replace(
    cancelledIds: readonly number[],
    gone: readonly GoneEvents[],
    intents: readonly NewIntent[],
  ): number[] {
    const sinkNumber = this.#journal.positions.sinkNumber(this.#sink);
    return this.#open().replace(sinkNumber, this.#runNumber, cancelledIds, gone, intents);
  }

  acknowledge(id: number): void {
    this.#open().acknowledge(id);
  }

  durable(): Promise<void> {
    return this.#journal.durable(this.#isSynced);
  }

  #recovered(live: LiveIntent, rebuild: Rebuild): RecoveredIntent {
    const { intent } = live;
    const { id, topic, topicId, partition, count, place, hintOffset, baseTimestampMs, segments } = intent;
    const run = this.#journal.runOf(intent.runNumber);
    const storedCount = segments.reduce((sum, { lineCount }) => sum + lineCount, 0);
    return {
      id,
      topic,
      topicId,
      partition,
      count,
      place,
      hintOffset,
      baseTimestampMs,
      producer: {
        producerIdHigh: run?.producerIdHigh ?? -1,
        producerIdLow: run?.producerIdLow ?? -1,
        epoch: intent.epoch,
        baseSequence: intent.baseSequence,
      },
      clusterId: run?.clusterId ?? null,
      isWhole: storedCount === count,
      sizeBytes: segments.reduce((sum, segment) => sum + this.#sizeOf(segment), 0),
      rebuild: () => rebuild(live),
      describe: () => this.#describe(live),
      heldLines: () => heldLines(live),
    };
  }

  /** A disk buffer counts events: their bytes are not known before they are read. */
  #sizeOf(
    { streamNumber, info: { startOffset, endOffset, lineCount: regionCount }, lineCount }: IntentSegment,
  ): number {
    const { source } = this.#journal.positions.entryOf(streamNumber)?.record ?? {};
    if (source === BUFFER_SOURCE) return lineCount * BUFFERED_EVENT_BYTES;
    return Math.ceil((endOffset - startOffset) * lineCount / Math.max(1, regionCount));
  }

  #describe({ intent: { segments, count } }: LiveIntent): string {
    const first = segments[0];
    if (first === undefined) return `${countOf(count, "event")} of stdin`;
    const path = this.#journal.positions.entryOf(first.streamNumber)?.record.lastPath ??
      "a file that is forgotten";
    const rest = segments.length === 1 ? "" : ` and ${countOf(segments.length - 1, "more range")}`;
    return `${
      countOf(count, "event")
    } from "${path}", bytes ${first.info.startOffset} to ${first.info.endOffset}${rest}`;
  }
}

/** The lines of an intent that was read, where their stream is still known. */
export function heldLines({ intent, regions }: LiveIntent): HeldLines[] {
  return intent.segments.flatMap(({ streamNumber, lineCount }, i) => {
    const region = regions[i] ?? null;
    return region === null ? [] : [{ region, streamNumber, count: lineCount }];
  });
}
