import type { Ledger } from "../checkpoint/ledger.ts";
import type { BufferPool } from "../event/pooled_buffer.ts";
import type { SegmentedLog } from "../storage/segmented_log.ts";
import type { Log } from "../telemetry/log.ts";
import type { SinkMetrics } from "../telemetry/metrics.ts";
import type { BufferAccounts } from "./buffer_accounts.ts";
import type { BufferOps } from "./buffer_ops.ts";
import type { WriterTiming } from "./disk_writer.ts";

/** What a disk buffer needs of the journal. */
export interface BufferJournal {
  /** The account of the buffer as a stream whose bytes can be read again: its offsets are numbers of events. */
  readonly ledger: Ledger;
  /** See `DiskWriterOptions.urgentCount`. */
  readonly urgentCount: () => number;
  /** More events are secure: the journal is to store so much. */
  readonly secured: () => void;
  /** Resolves when all that was told to the journal, positions included, is stored. Rejects when it was closed. */
  readonly store: () => Promise<void>;
  readonly accounts: BufferAccounts;
}

export interface DiskBufferOptions extends WriterTiming {
  readonly sink: string;
  readonly dir: string;
  readonly maxSizeBytes: number;
  readonly whenFull: "block" | "drop_newest" | "drop_oldest";
  readonly durability: "machine" | "process";
  readonly journal: BufferJournal;
  readonly ops: BufferOps;
  readonly pool: BufferPool;
  readonly metrics: SinkMetrics;
  readonly log: Log;
}

/** What was found at the start; see `openDiskBuffer`. */
export interface FoundBuffer {
  readonly segmentedLog: SegmentedLog;
  readonly bufferId: Buffer;
  /** Number of the first event that this run puts in. */
  readonly firstEvent: number;
  /** Where reading starts. */
  readonly startSegment: number;
  readonly startEvent: number;
  /** Events of earlier runs from here on were in no position of their streams that was stored. */
  readonly untoldEvent: number;
  /** Segments that hold nothing that is still to be read. */
  readonly doneSegments: readonly number[];
  /** Segments whose files are to be kept. */
  readonly damaged: ReadonlySet<number>;
  /** Segments that there is nothing to read in. */
  readonly unreadable: ReadonlySet<number>;
  /** Where segments end, as far as it is known. */
  readonly ends: ReadonlyMap<number, number>;
}
