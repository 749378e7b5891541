import fs from "node:fs";
import path from "node:path";
import { BufferAccounts } from "./buffer/buffer_accounts.ts";
import { BUFFER_FOLDER } from "./buffer/buffer_frames.ts";
import { bufferOpsOf } from "./buffer/buffer_ops.ts";
import { coveredEvents } from "./buffer/covered_events.ts";
import type { DiskBuffer } from "./buffer/disk_buffer.ts";
import { type BufferTiming, openDiskBuffer, type StartJournal } from "./buffer/open_buffer.ts";
import type { Ledger } from "./checkpoint/ledger.ts";
import type { PositionStore } from "./checkpoint/position_store.ts";
import type { Config, SinkConfig } from "./config/config.ts";
import type { BufferPool } from "./event/pooled_buffer.ts";
import { BUFFER_SOURCE, type Stream } from "./event/stream.ts";
import type { Journal } from "./journal/journal.ts";
import type { StorageOps } from "./storage/storage_ops.ts";
import { countOf } from "./telemetry/format.ts";
import type { Log } from "./telemetry/log.ts";
import type { Metrics } from "./telemetry/metrics.ts";

export interface DiskBuffersOptions {
  readonly config: Config;
  readonly journal: Journal;
  readonly pool: BufferPool;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Null: the system's. */
  readonly ops: StorageOps | null;
  /** For tests. */
  readonly timing?: BufferTiming;
}

/**
 * Opens the disk buffers of all sinks that have one, or still have events in one that the configuration does not name any more: those are
 * delivered first. By sink. To be called before anything is read. Throws `StartError`.
 */
export async function openDiskBuffers(options: DiskBuffersOptions): Promise<Map<string, DiskBuffer>> {
  const buffers = new Map<string, DiskBuffer>();
  for (const sink of options.config.sinks) {
    const buffer = await openBufferOf(options, sink);
    if (buffer !== null) buffers.set(sink.name, buffer);
  }
  tellForgotten(options);
  return buffers;
}

/** The same for one sink, for which nothing is read; null: it needs none. */
export async function openBufferOf(
  options: DiskBuffersOptions,
  sink: SinkConfig,
): Promise<DiskBuffer | null> {
  const dir = bufferDir(options.config.dataDir, sink.name);
  if (sink.buffer.type !== "disk" && !hasSegments(dir)) return null;
  return await openSinkBuffer(options, sink, dir);
}

/** Folder of a sink's disk buffer. */
export function bufferDir(dataDir: string, sink: string): string {
  return path.join(dataDir, BUFFER_FOLDER, sink);
}

/** Opens the disk buffer of one sink; see `openDiskBuffers`. */
export async function openSinkBuffer(
  { journal, pool, metrics, log, ops, timing }: Omit<DiskBuffersOptions, "config">,
  sink: SinkConfig,
  dir: string,
): Promise<DiskBuffer> {
  const { positions } = journal;
  const durability = sink.type === "kafka" ? sink.durability : "machine";
  let opened: Ledger | null = null;
  const tellGone = (count: number) => {
    if (count <= 0) return;
    metrics.sink(sink.name).loseRecovered("buffer_gone", count);
    log.error(
      `Lost at least ${
        countOf(count, "event")
      } of sink "${sink.name}": the disk buffer that they were in is not in "${dir}" any more`,
      { hint: "put its files back before the next start, if they are somewhere" },
    );
  };
  const onLedger = (ledger: Ledger) => void (opened = ledger);
  const start = startJournal(journal, sink.name, path.resolve(dir), onLedger, tellGone);
  const buffer = await openDiskBuffer({
    sink: sink.name,
    dir,
    // What is left of an earlier configuration only has to be read.
    maxSizeBytes: sink.buffer.maxSizeBytes,
    whenFull: sink.buffer.whenFull,
    durability,
    journal: start,
    pool,
    metrics: metrics.sink(sink.name),
    log,
    ...(ops === null ? {} : { ops: bufferOpsOf(ops) }),
    ...timing,
  });
  positions.buffers.open(opened!, sink.name, buffer);
  positions.bufferProgressed();
  return buffer;
}

/** What the journal is to a sink's disk buffer. */
function startJournal(
  journal: Journal,
  sink: string,
  dir: string,
  onLedger: (ledger: Ledger) => void,
  onGone: (count: number) => void,
): StartJournal {
  const { positions } = journal;
  const { buffers } = positions;
  return {
    accounts: new BufferAccounts(sink, (source, streamId) => buffers.tallyOf(source, streamId, sink)),
    urgentCount: () => positions.urgentCount,
    secured: () => positions.bufferProgressed(),
    store: () => journal.store(),
    ledgerOf(bufferId, firstEvent) {
      for (const { id, ledger } of buffers.buffersOf(sink)) {
        if (id === bufferId) continue;
        onGone(buffers.storedEvent(ledger) - ledger.position - coveredEvents(ledger));
        positions.forget(BUFFER_SOURCE, id);
      }
      const ledger = bufferLedger(positions, sink, bufferId, dir, firstEvent);
      onLedger(ledger);
      return ledger;
    },
    knownIds: () => new Set(buffers.buffersOf(sink).map(({ id }) => id)),
    storedEvent: (ledger) => buffers.storedEvent(ledger),
    cover: ({ stream, ...info }, firstEvent, runs) => buffers.cover(stream, sink, firstEvent, info, runs),
    skip({ stream, nextEvent, ranges }) {
      for (const { startOffset, endOffset } of ranges) {
        buffers.skip(stream, sink, nextEvent, startOffset, endOffset);
      }
    },
    begin: (firstEvent) => buffers.begin(sink, firstEvent),
  };
}

/** The account of a disk buffer as a stream of events; made when it is new. */
function bufferLedger(
  positions: PositionStore,
  sink: string,
  id: string,
  dir: string,
  firstEvent: number,
): Ledger {
  const stream: Stream = { id, source: BUFFER_SOURCE, sourceType: "file", path: dir };
  if (positions.record(BUFFER_SOURCE, id) === null) {
    positions.put({
      source: BUFFER_SOURCE,
      id,
      path: dir,
      lastPath: dir,
      dev: "0",
      ino: "0",
      birthtimeNs: "0",
      generation: 0,
      sinceNs: "0",
      fingerprintBytes: 0,
      fingerprint: "",
    });
    positions.startAt(BUFFER_SOURCE, id, sink, firstEvent);
  }
  return positions.ledger(stream, sink, firstEvent);
}

/** Events of sinks that are not configured any more wait until they are again. */
export function tellForgotten({ config, log }: Pick<DiskBuffersOptions, "config" | "log">): void {
  const dir = path.join(config.dataDir, BUFFER_FOLDER);
  const known = new Set(config.sinks.map(({ name }) => name));
  for (const name of namesIn(dir)) {
    if (known.has(name) || !hasSegments(path.join(dir, name))) continue;
    log.warn(
      `There is a disk buffer of sink "${name}", which is not configured: its events wait until it is again`,
      {
        hint: `"shipper buffer ls" shows what is in it; "shipper positions forget --sink ${name}" removes it`,
      },
    );
  }
}

function hasSegments(dir: string): boolean {
  return namesIn(dir).some((name) => /^\d{16}\.seg$/u.test(name));
}

function namesIn(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch {
    return []; // there is none, or who opens it says why not
  }
}
