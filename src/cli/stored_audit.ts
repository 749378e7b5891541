import { sumOf, type Totals } from "../checkpoint/totals.ts";
import type { JournalContent } from "../journal/journal_reader.ts";
import { LiveBatches, sortedEntries } from "./stored_state.ts";

/** The account of one file and sink, or of all files of a sink, by the journal, over all runs. */
export interface StoredFigures {
  /** Lines that a restart does not read again, counted one by one where they are marked as such. */
  readonly read: number;
  readonly acknowledged: number;
  /** Lines of batches whose acknowledgement is not stored. */
  readonly inFlight: number;
  /** Always 0: what is only in memory counts as not read. */
  readonly buffered: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly lost: Readonly<Record<string, number>>;
  /** Bytes that were gone before they could be read, by cause: in no sum. */
  readonly lostBytes: Readonly<Record<string, number>>;
  /** read - acknowledged - in flight - dropped - lost: 0, or the journal contradicts itself. */
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
  readonly sinks: readonly (StoredFigures & { readonly sink: string })[];
}

/** Compares, for each file and sink, what was counted line by line with what was counted by batches. */
export function auditStored(content: JournalContent, dataDir: string): StoredAudit {
  const live = new LiveBatches(content);
  const streams = sortedEntries(content).flatMap((entry) =>
    [...entry.ledgers].map(([sink, { totals }]): StoredStream => ({
      source: entry.record.source,
      sink,
      path: entry.record.lastPath,
      streamId: entry.record.id,
      ...figuresOf(totals, live.of(entry, sink).events),
    }))
  );
  const sinks = content.positions.sinkNames().map((sink) => ({
    sink,
    ...sum(streams.filter((each) => each.sink === sink)),
  }));
  return { dataDir, addsUp: streams.every(({ difference }) => difference === 0), streams, sinks };
}

/** "The account of ... does not add up: ..." */
export function describeStored(
  { path, sink, read, acknowledged, inFlight, difference, ...rest }: StoredStream,
): string {
  const what = difference > 0 ? `${difference} event(s) are missing` : `${-difference} event(s) are too many`;
  const parts = [
    `acknowledged ${acknowledged}`,
    `in flight ${inFlight}`,
    ...Object.entries(rest.dropped).map(([reason, count]) => `dropped{${reason}} ${count}`),
    ...Object.entries(rest.lost).map(([cause, count]) => `lost{${cause}} ${count}`),
  ];
  return `The account of "${path}" for sink "${sink}" does not add up: ${what} (read ${read}; ${
    parts.join(" + ")
  })`;
}

function figuresOf(totals: Totals, inFlight: number): StoredFigures {
  const { coveredCount: read, deliveredCount: acknowledged, dropped, lost, lostBytes } = totals;
  return {
    read,
    acknowledged,
    inFlight,
    buffered: 0,
    dropped: Object.fromEntries(dropped),
    lost: Object.fromEntries(lost),
    lostBytes: Object.fromEntries(lostBytes),
    difference: read - acknowledged - inFlight - sumOf(dropped) - sumOf(lost),
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
    lost: merge((each) => each.lost),
    lostBytes: merge((each) => each.lostBytes),
    difference: add((each) => each.difference),
  };
}
