import type { Stream } from "../event/stream.ts";
import type { Ledger } from "./ledger.ts";
import type { Mark } from "./marks.ts";
import type { FileRecord } from "./position_file.ts";

/** Positions of all streams and sinks, as a lane sees them. */
export interface Checkpoint {
  /** The account of a (stream, sink) pair, the same one for every call, starting at `startOffset` when it is new. */
  ledger(stream: Stream, sink: string, startOffset: number): Ledger;
}

/**
 * What a file source asks and tells of stored positions. `source` and `id` name a stream, `sink` one of its readers.
 *
 * Every sink is asked for its own marks, never for those of all sinks together: a slow sink may have read its bytes after a
 * truncation that a fast one has not seen yet, and a mark of the one that still fits says nothing of what the other has read.
 */
export interface SourcePositions {
  /** Every stream that is known for a source, in no order. */
  records(source: string): FileRecord[];
  /** Adds a stream, or replaces what is known of the one with this id; positions stay. It counts as seen now. */
  put(record: FileRecord): void;
  /** Gives the positions of `oldId` to `record.id`: the same content under a new identity (the device got another number). */
  adopt(oldId: string, record: FileRecord): void;
  /** Every byte in front of it is delivered or given up; null when this sink never read the stream. */
  position(source: string, id: string, sink: string): number | null;
  /**
   * Where the sink reads on: behind what it was given in this run already, delivered or not, else at the lowest byte that nobody has.
   * Null when this sink never read the stream.
   */
  resumeOffset(source: string, id: string, sink: string): number | null;
  /** End of all that the sink was ever given of the stream, holes or not: the file had at least this length. 0 when nothing was. */
  knownEnd(source: string, id: string, sink: string): number;
  /**
   * Regions that the sink was given and whose checksum is known, by ascending end: the last ones that are covered, those that are covered
   * in part, and those on their way, so that a file that is cut back while it is read goes on behind as much of that as is still there.
   */
  marks(source: string, id: string, sink: string): readonly Mark[];
  /**
   * The bytes of the stream from `offset` on, the end of a mark, are not those that the sink was given: it forgets what it knows of them.
   * Regions behind `offset` that are still on their way are delivered, but their bytes are nowhere any more: no mark comes of them, and
   * an intent must not name them by this stream (other lines have their offsets now).
   */
  rewind(source: string, id: string, sink: string, offset: number): void;
  /**
   * Bytes that an earlier run left for the sink and that it was not given in this one yet: gaps and regions with lines missing, from
   * `resumeOffset` on. Bytes in batches in doubt are none of them.
   */
  holeBytes(source: string, id: string, sink: string): number;
  /** Counts bytes that were gone before they could be read for the sink, by cause: "truncated_unread", "unreadable", "deleted". */
  lose(source: string, id: string, sink: string, cause: string, bytes: number): void;
  /** Says where a sink starts to read a stream that has no position for it, so that a restart starts there too. */
  startAt(source: string, id: string, sink: string, offset: number): void;
  /** Notes that a stream's file was there just now. */
  seen(source: string, id: string): void;
  /** Forgets the streams of a source whose file was not seen for a week; not those that batches in doubt need. */
  forgetUnseen(source: string): void;
  /** Forgets the stream: at once, or when no batch in doubt needs its record to find its bytes any more. */
  forget(source: string, id: string): void;
  /** The file is gone: forgets the stream as soon as each of these sinks has delivered up to its offset. */
  forgetWhenDelivered(source: string, id: string, finalOffsets: ReadonlyMap<string, number>): void;
}
