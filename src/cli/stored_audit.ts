import { sumOf, type Totals } from "../checkpoint/totals.ts";
import { bufferDir } from "../disk_buffers.ts";
import { splitDropped } from "../event/dead_letters.ts";
import { BUFFER_SOURCE } from "../event/stream.ts";
import type { JournalContent } from "../journal/journal_reader.ts";
import { countOf } from "../telemetry/format.ts";
import { waitingEvents } from "./buffer_state.ts";
import { LiveBatches, sortedEntries } from "./stored_state.ts";

/** The account of one file and sink, or of all files of a sink, by the journal, over all runs. */
export interface StoredFigures {
  /** Lines that a restart does not read again, counted one by one where they are marked as such. Of a disk buffer: events that were put in. */
  readonly read: number;
  /** Of a file on the way to a sink with a disk buffer: those that are in the buffer too. */
  readonly acknowledged: number;
  /** Lines of batches whose acknowledgement is not stored. */
  readonly inFlight: number;
  /** Of a disk buffer: events in it that are in no batch. 0 for a file: what is only in memory counts as not read. */
  readonly buffered: number;
  readonly dropped: Readonly<Record<string, number>>;
  /** Kept as dead letters. */
  readonly deadLettered: Readonly<Record<string, number>>;
  readonly lost: Readonly<Record<string, number>>;
  /** Bytes that were gone before they could be read, by cause: in no sum. */
  readonly lostBytes: Readonly<Record<string, number>>;
  /** read - acknowledged - in flight - buffered - dropped - dead-lettered - lost: 0, or the journal contradicts itself. */
  readonly difference: number;
}

export interface StoredStream extends StoredFigures {
  readonly source: string;
  readonly sink: string;
  /** Where the file was seen last. */
  readonly path: string;
  readonly streamId: string;
}

export interface StoredAudit {
  readonly dataDir: string;
  readonly addsUp: boolean;
  /** Without files that are forgotten: gone, and all delivered. */
  readonly streams: readonly StoredStream[];
  /** What became of the events in disk buffers, which are in none of the other figures; `path` is the folder. */
  readonly diskBuffers: readonly StoredStream[];
  /** Sums of `streams`. */
  readonly sinks: readonly (StoredFigures & { readonly sink: string })[];
}

/** Compares, for each file and sink, what was counted line by line with what was counted by batches. */
export function auditStored(content: JournalContent, dataDir: string): StoredAudit {
  const live = new LiveBatches(content);
  const all = sortedEntries(content).flatMap((entry) =>
    [...entry.ledgers].map(([sink, { totals }]): StoredStream => {
      const { source, id, lastPath } = entry.record;
      const isBuffer = source === BUFFER_SOURCE;
      const dir = bufferDir(dataDir, sink);
      const buffered = isBuffer ? waitingEvents(content, sink, id, dir) : 0;
      return {
        source,
        sink,
        path: isBuffer ? dir : lastPath,
        streamId: id,
        ...figuresOf(totals, live.of(entry, sink).events, buffered),
      };
    })
  );
  const streams = all.filter(({ source }) => source !== BUFFER_SOURCE);
  const diskBuffers = all.filter(({ source }) => source === BUFFER_SOURCE);
  const sinks = content.positions.sinkNames().map((sink) => ({
    sink,
    ...sum(streams.filter((each) => each.sink === sink)),
  }));
  return { dataDir, addsUp: all.every(({ difference }) => difference === 0), streams, diskBuffers, sinks };
}

/** "The account of ... does not add up: ..." */
export function describeStored(
  { path, sink, read, acknowledged, inFlight, difference, ...rest }: StoredStream,
): string {
  const what = difference > 0
    ? `${countOf(difference, "event is", "events are")} missing`
    : `${countOf(-difference, "event is", "events are")} too many`;
  const parts = [
    `acknowledged ${acknowledged}`,
    `in flight ${inFlight}`,
    ...(rest.buffered === 0 ? [] : [`buffered ${rest.buffered}`]),
    ...Object.entries(rest.dropped).map(([reason, count]) => `dropped{${reason}} ${count}`),
    ...Object.entries(rest.deadLettered).map(([reason, count]) => `dead-lettered{${reason}} ${count}`),
    ...Object.entries(rest.lost).map(([cause, count]) => `lost{${cause}} ${count}`),
  ];
  return `The account of "${path}" for sink "${sink}" does not add up: ${what} (read ${read}; ${
    parts.join(" + ")
  })`;
}

function figuresOf(totals: Totals, inFlight: number, buffered: number): StoredFigures {
  const { coveredCount, deliveredCount: acknowledged, dropped, lost, lostBytes } = totals;
  return {
    read: coveredCount + buffered,
    acknowledged,
    inFlight,
    buffered,
    ...splitDropped(dropped),
    lost: Object.fromEntries(lost),
    lostBytes: Object.fromEntries(lostBytes),
    difference: coveredCount - acknowledged - inFlight - sumOf(dropped) - sumOf(lost),
  };
}

function sum(streams: readonly StoredFigures[]): StoredFigures {
  const add = (pick: (each: StoredFigures) => number) =>
    streams.reduce((total, each) => total + pick(each), 0);
  const merge = (pick: (each: StoredFigures) => Readonly<Record<string, number>>) => {
    const merged: Record<string, number> = {};
    for (const each of streams) {
      for (const [label, count] of Object.entries(pick(each))) merged[label] = (merged[label] ?? 0) + count;
    }
    return merged;
  };
  return {
    read: add((each) => each.read),
    acknowledged: add((each) => each.acknowledged),
    inFlight: add((each) => each.inFlight),
    buffered: 0,
    dropped: merge((each) => each.dropped),
    deadLettered: merge((each) => each.deadLettered),
    lost: merge((each) => each.lost),
    lostBytes: merge((each) => each.lostBytes),
    difference: add((each) => each.difference),
  };
}
