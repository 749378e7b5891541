import type { Chunk } from "./chunk.ts";

/**
 * Lines of one chunk, as columns: line `i` is `chunk.data[starts[i] .. ends[i])`, without its delimiter. The arrays belong to the decoder
 * and are reused by its next call: copy what has to live longer.
 */
export interface LineBatch {
  chunk: Chunk;
  count: number;
  starts: Uint32Array;
  ends: Uint32Array;
  /** `nexts[i]`: where line `i + 1` starts in `chunk.data`; the raw bytes of line `i` end there, delimiter included. */
  nexts: Uint32Array;
  /** Number of each line in its region; null: line `i` is number `i`. Set where lines that a restart must not repeat were left out. */
  lineNumbers: Uint32Array | null;
  /** Bytes of `chunk.data` that these lines cover, skipped bytes included. */
  takenBytes: number;
  /** Lines that were cut at max_line_bytes. */
  truncatedCount: number;
  /** Index of the first of them; 0 when there is none. */
  firstTruncated: number;
  /** The taken bytes end inside a line that was cut: what follows up to its newline is no line of its own. */
  endsInsideCutLine: boolean;
}
