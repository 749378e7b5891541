import type { Stream } from "./stream.ts";

/**
 * Bytes of a stream that were taken at once, and the lines in them: what the journal names lines by. Line `i` of a region is the i-th
 * piece between newlines (the last one may lack its newline), so that a reader that finds bytes with the same checksum finds the same lines,
 * whatever its configuration says of long lines.
 */
export interface TrackedRegion {
  readonly stream: Stream;
  /** Number of the stream in the journal; 0 where nothing is stored of it (stdin): its lines cannot be read again. */
  readonly streamNumber: number;
  readonly startOffset: number;
  readonly endOffset: number;
  /** CRC-32 of the bytes. */
  readonly crc32: number;
  readonly lineCount: number;
  /** The first bytes, up to a newline, are the rest of a line that was cut before this region. */
  readonly startsInsideCutLine: boolean;
  /** The last line was cut, and its rest lies behind this region. */
  readonly endsInsideCutLine: boolean;
  /** A restart does not read these lines again: they are in an intent, delivered, or given up. Again for the same lines: no effect. */
  cover(firstLine: number, count: number): void;
  /** So many of its lines were acknowledged: for the account over all runs. */
  countDelivered(count: number): void;
  /**
   * So many of its lines were given up: "dropped" for a reason that was told beforehand, "lost" for bytes that are nowhere any more. Or they
   * leave the account over all runs, because no intent can name them any more: "detached", other bytes are in the file in their place.
   */
  countGone(kind: "dropped" | "lost" | "detached", reason: string, count: number): void;
  /** Lines of it were given up that no intent names: a restart has to know that before it knows of later ones. */
  skipped(): void;
  /** So many of its lines are delivered or given up for good. */
  settle(count: number): void;
}

/** Lines of one region that a batch holds. */
export interface HeldLines {
  readonly region: TrackedRegion;
  /** The region's when they were taken: a region loses it when other bytes come in its place. */
  readonly streamNumber: number;
  readonly count: number;
}
