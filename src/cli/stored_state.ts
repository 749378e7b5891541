import { setTimeout as sleep } from "node:timers/promises";
import type { StreamEntry } from "../checkpoint/stream_entry.ts";
import { StartError } from "../errors.ts";
import { type JournalContent, readJournal } from "../journal/journal_reader.ts";
import { migratePositions } from "../journal/migration.ts";
import { LogChangedError } from "../storage/log_errors.ts";

/** A shipper that runs takes a segment away now and then; so often in a row it does not. */
const READ_TRIES_MAX = 20;
const READ_AGAIN_MS = 25;

/** Batches in doubt, or on their way, by the journal. */
export interface LiveCounts {
  readonly batches: number;
  readonly events: number;
}

/**
 * What a data_dir holds, also while a shipper writes it; nothing is written. Positions of the first version, which no journal has taken over
 * yet, are in it. Throws `StartError` as `readJournal` does, and "journal-busy".
 */
export async function readStoredState(dataDir: string): Promise<JournalContent> {
  for (let tries = 1; tries <= READ_TRIES_MAX; tries++) {
    try {
      const content = readJournal(dataDir);
      if (content.checkpoint === null) migratePositions(dataDir, content.positions);
      return content;
    } catch (error) {
      if (!(error instanceof LogChangedError)) throw error;
      await sleep(READ_AGAIN_MS);
    }
  }
  throw new StartError(
    "journal-busy",
    `Cannot read the journal in "${dataDir}": it was replaced ${READ_TRIES_MAX} times while it was read`,
    "try again",
  );
}

/** Live batches of each (stream, sink), with the events of that stream in them. */
export class LiveBatches {
  readonly #counts = new Map<string, { batches: number; events: number }>();
  readonly #bySink = new Map<string, { batches: number; events: number }>();

  constructor({ live, positions }: JournalContent) {
    for (const { intent: { segments, sinkNumber, count } } of live.values()) {
      const sink = positions.sinkName(sinkNumber) ?? "";
      add(this.#bySink, sink, count);
      const byStream = new Map<number, number>();
      for (const { streamNumber, lineCount } of segments) {
        byStream.set(streamNumber, (byStream.get(streamNumber) ?? 0) + lineCount);
      }
      for (const [stream, lines] of byStream) add(this.#counts, `${stream}\u0000${sink}`, lines);
    }
  }

  of({ number }: StreamEntry, sink: string): LiveCounts {
    return this.#counts.get(`${number}\u0000${sink}`) ?? { batches: 0, events: 0 };
  }

  ofSink(sink: string): LiveCounts {
    return this.#bySink.get(sink) ?? { batches: 0, events: 0 };
  }
}

function add(counts: Map<string, { batches: number; events: number }>, key: string, events: number): void {
  const found = counts.get(key);
  if (found === undefined) counts.set(key, { batches: 1, events });
  else {
    found.batches++;
    found.events += events;
  }
}

/** In the order in which they are shown: by source, path, and the time at which they came to be known. */
export function sortedEntries({ positions }: JournalContent): StreamEntry[] {
  return [...positions.entries()].sort((a, b) =>
    compare(a.record.source, b.record.source) || compare(a.record.lastPath, b.record.lastPath) ||
    a.number - b.number
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
