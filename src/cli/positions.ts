import type { Ledger } from "../checkpoint/ledger.ts";
import type { StreamEntry } from "../checkpoint/stream_entry.ts";
import type { Config } from "../config/config.ts";
import { bufferDir } from "../disk_buffers.ts";
import { BUFFER_SOURCE } from "../event/stream.ts";
import type { JournalContent } from "../journal/journal_reader.ts";
import { rescueKey } from "../source/rescue_index.ts";
import { readRescueIndexes } from "../source/rescue_store.ts";
import { countOf, formatBytes, formatCount, formatDuration, nounOf } from "../telemetry/format.ts";
import type { PositionsArgs } from "./args.ts";
import { waitingEvents } from "./buffer_state.ts";
import { type CommandContext, withConfig } from "./command_context.ts";
import { FileSizes } from "./file_sizes.ts";
import { LiveBatches, type LiveCounts, readStoredState, sortedEntries } from "./stored_state.ts";
import { printable } from "../telemetry/printable.ts";
import { textTable } from "./text_table.ts";
import { snakeCaseKeys } from "../telemetry/json_keys.ts";

/** Where one sink is in one file, as `--json` prints it. */
export interface PositionRow {
  readonly source: string;
  readonly sink: string;
  /** False for a sink that left the configuration. */
  readonly isConfigured: boolean;
  /** Where the file was seen last; the folder of a disk buffer. */
  readonly path: string;
  readonly streamId: string;
  /** What positions count: events for the row of a disk buffer, whose `source` is "(disk buffer)". */
  readonly unit: "bytes" | "events";
  /** Every byte, or event, in front of it is delivered, or was given up. For a file on the way to a sink with a disk buffer: or is in the buffer. */
  readonly position: number;
  /** Highest end of anything that a restart does not read again. */
  readonly frontier: number;
  /** Below the frontier, what a restart reads again: a part of a file that waits for another partition, for example. */
  readonly holes: {
    readonly count: number;
    readonly bytes: number;
    /** Of a disk buffer, whose bytes are 0. */
    readonly events?: number;
  };
  /** Batches whose acknowledgement is not stored, and the events of this file in them. */
  readonly live: LiveCounts;
  /** The file is gone, and what no sink had delivered of it is in data_dir: `sizeBytes` is the end of that copy. */
  readonly isRescued: boolean;
  /** Null when the file is gone, and for a disk buffer. */
  readonly sizeBytes: number | null;
  /** Bytes from the position to the end; null when the file is gone, and for a disk buffer. */
  readonly lagBytes: number | null;
  /** Of a disk buffer: events that are not delivered. Null for a file. */
  readonly lagEvents: number | null;
  /** When the file was last seen, as far as that was stored; milliseconds since the epoch. */
  readonly lastSeenMs: number;
}

/** `shipper positions`: what is stored of each file for each sink. Writes nothing, and works while a shipper runs. Returns the exit code. */
export async function showPositions(args: PositionsArgs, context: CommandContext): Promise<number> {
  return await withConfig(args.configPaths, context, async (config) => {
    const content = await readStoredState(config.dataDir);
    const rows = await positionRows(content, config);
    const left = content.positions.sinkNames().filter((name) => !isConfigured(config, name));
    if (args.json) {
      const { dataDir } = config;
      context.stdout(
        `${JSON.stringify(snakeCaseKeys({ dataDir, positions: rows, sinksNotConfigured: left }), null, 2)}\n`,
      );
      return 0;
    }
    context.stdout(
      rows.length === 0 ? `Nothing is stored in "${config.dataDir}"\n` : table(rows, context.now()),
    );
    for (const name of left) {
      context.stdout(
        `\nSink "${
          printable(name)
        }" is not in the configuration any more. What is stored of it is kept until\n` +
          `  shipper positions forget --sink ${printable(name)} ${
            args.configPaths.map((each) => `--config ${each}`).join(" ")
          }\n`,
      );
    }
    return 0;
  });
}

/** One row for each file and sink. */
export async function positionRows(content: JournalContent, config: Config): Promise<PositionRow[]> {
  const live = new LiveBatches(content);
  const entries = sortedEntries(content);
  const copies = copyEnds(config.dataDir);
  const sizes = new FileSizes(entries.map(({ record }) => record));
  const rows: PositionRow[] = [];
  for (const entry of entries) {
    const isBuffer = entry.record.source === BUFFER_SOURCE;
    const fileBytes = isBuffer ? null : await sizes.sizeOf(entry.record);
    const copyEnd = copies.get(rescueKey(entry.record.source, entry.record.id)) ?? null;
    const isRescued = fileBytes === null && copyEnd !== null;
    const facts = { live, sizeBytes: fileBytes ?? copyEnd, isRescued };
    for (const [sink, ledger] of [...entry.ledgers].sort(([a], [b]) => a < b ? -1 : 1)) {
      const found = row(entry, sink, ledger, { ...facts, isConfigured: isConfigured(config, sink) });
      rows.push(isBuffer ? asBufferRow(found, content, bufferDir(config.dataDir, sink)) : found);
    }
  }
  return rows;
}

/** Where the copies in data_dir end, by `rescueKey`. */
function copyEnds(dataDir: string): Map<string, number> {
  const ends = new Map<string, number>();
  for (const index of readRescueIndexes(dataDir).values()) {
    if (index === null) continue;
    ends.set(rescueKey(index.header.source, index.header.id), index.pieces.at(-1)!.endOffset);
  }
  return ends;
}

/** Of a disk buffer, whose stream is one of events. */
function asBufferRow(row: PositionRow, content: JournalContent, dir: string): PositionRow {
  const waiting = waitingEvents(content, row.sink, row.streamId, dir);
  const holes = { count: row.holes.count, bytes: 0, events: row.holes.bytes };
  return { ...row, path: dir, unit: "events", holes, lagEvents: waiting + row.live.events };
}

function isConfigured({ sinks }: Config, name: string): boolean {
  return sinks.some((sink) => sink.name === name);
}

function row(
  entry: StreamEntry,
  sink: string,
  ledger: Ledger,
  facts: { isConfigured: boolean; live: LiveBatches; sizeBytes: number | null; isRescued: boolean },
): PositionRow {
  const { sizeBytes } = facts;
  return {
    source: entry.record.source,
    sink,
    isConfigured: facts.isConfigured,
    path: entry.record.lastPath,
    streamId: entry.record.id,
    unit: "bytes",
    position: ledger.position,
    frontier: ledger.frontier,
    holes: ledger.holes(),
    live: facts.live.of(entry, sink),
    isRescued: facts.isRescued,
    sizeBytes,
    lagBytes: sizeBytes === null ? null : Math.max(0, sizeBytes - ledger.position),
    lagEvents: null,
    lastSeenMs: entry.seenMs,
  };
}

function table(rows: readonly PositionRow[], nowMs: number): string {
  const columns = [
    { title: "SOURCE" },
    { title: "SINK" },
    { title: "FILE" },
    { title: "POSITION", isNumber: true },
    { title: "FRONTIER", isNumber: true },
    { title: "HOLES", isNumber: true },
    { title: "LIVE BATCHES", isNumber: true },
    { title: "SIZE", isNumber: true },
    { title: "LAG", isNumber: true },
    { title: "SEEN", isNumber: true },
  ];
  return textTable(
    columns,
    rows.map((each) => [
      each.source,
      each.isConfigured ? each.sink : `${each.sink} (not configured)`,
      each.path,
      formatCount(each.position),
      formatCount(each.frontier),
      each.holes.count === 0
        ? "0"
        : `${each.holes.count} (${
          each.holes.events === undefined
            ? formatBytes(each.holes.bytes)
            : countOf(each.holes.events, "event")
        })`,
      each.live.batches === 0 ? "0" : `${each.live.batches} (${countOf(each.live.events, "event")})`,
      each.unit === "events"
        ? "-"
        : each.sizeBytes === null
        ? "gone"
        : `${formatCount(each.sizeBytes)}${each.isRescued ? " (rescued)" : ""}`,
      each.lagEvents !== null
        ? `${formatCount(each.lagEvents)} ${nounOf(each.lagEvents, "event")}`
        : each.lagBytes === null
        ? "-"
        : formatBytes(each.lagBytes),
      `${formatDuration(nowMs - each.lastSeenMs)} ago`,
    ]),
  );
}
