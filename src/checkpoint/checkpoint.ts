import type { BatchStatus } from "../event/delivery.ts";
import type { Stream } from "../event/stream.ts";

/**
 * Where reading of a stream goes on for one sink: the highest offset below which every byte is delivered or given up on purpose.
 * (The exactly-once journal puts a frontier with holes in its place.)
 */
export interface PositionTracker {
  /**
   * Announces that `[startOffset, endOffset)` is on its way. Ranges come in order and without gaps. Returns a ticket for `settle`.
   * `endsInsideCutLine` says that the rest of a line whose head was given follows, which must never be read as a line of its own.
   */
  track(startOffset: number, endOffset: number, endsInsideCutLine?: boolean): number;
  /** Called once for each ticket, in any order. "errored" stops the position in front of that range for the rest of the run. */
  settle(ticket: number, status: BatchStatus): void;
  /** Offset from which a restart would read. */
  readonly position: number;
  /**
   * False when as many ranges are kept as can be: one that does not settle (a partition without a leader) holds all behind it. `track`
   * throws then; whoever offers has to wait.
   */
  readonly hasRoom: boolean;
  /** The next range starts inside a line that was cut, in this run or before it. */
  readonly startsInsideCutLine: boolean;
}

/** Positions of all streams and sinks. */
export interface Checkpoint {
  /** The tracker of a (stream, sink) pair, the same one for every call, starting at `startOffset` when it is new. */
  tracker(stream: Stream, sink: string, startOffset: number): PositionTracker;
}
