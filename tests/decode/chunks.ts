import type { Chunk } from "../../src/event/chunk.ts";
import type { LineBatch } from "../../src/event/line_batch.ts";
import { type PooledBuffer, unpooled } from "../../src/event/pooled_buffer.ts";
import type { Stream } from "../../src/event/stream.ts";
import type { LineSplitter } from "../../src/decode/line_splitter.ts";

export const FILE: Stream = { id: "1:2:3", source: "app", sourceType: "file", path: "/var/log/app.log" };
export const STDIN: Stream = { id: "run", source: "in", sourceType: "stdin", path: "" };
export const RECEIVED_MS = Date.UTC(2026, 0, 31, 9, 5, 7, 123);

/** A chunk over memory of its own. */
export function chunkOf(data: Buffer | string, more: Partial<Chunk> = {}): Chunk {
  const bytes = typeof data === "string" ? Buffer.from(data) : data;
  const owner: PooledBuffer = more.owner ?? unpooled(bytes);
  return { stream: FILE, offset: 0, data: bytes, owner, isFinal: false, receivedMs: RECEIVED_MS, ...more };
}

export interface SeenLine {
  readonly bytes: string;
  /** Offset in the stream where its raw range ends. */
  readonly rawEnd: number;
}

/** The lines of a batch, copied. Bytes are latin1, so that any byte survives. */
export function linesOf(batch: LineBatch): SeenLine[] {
  return Array.from({ length: batch.count }, (_, i) => ({
    bytes: batch.chunk.data.toString("latin1", batch.starts[i], batch.ends[i]),
    rawEnd: batch.chunk.offset + batch.nexts[i]!,
  }));
}

export interface Drained {
  readonly lines: SeenLine[];
  readonly truncatedCount: number;
  /** Offset up to which everything was taken. */
  readonly offset: number;
}

/** Offers a stream in pieces of the given sizes (the last one again and again), as a source does: what is left comes again. */
export function drain(
  splitter: LineSplitter,
  stream: Buffer,
  sizes: readonly number[],
  maxLines: () => number = () => Infinity,
): Drained {
  const lines: SeenLine[] = [];
  let truncatedCount = 0;
  let offset = 0;
  let readEnd = 0;
  for (let i = 0;; i++) {
    readEnd = Math.min(stream.length, readEnd + sizes[Math.min(i, sizes.length - 1)]!);
    const isFinal = readEnd === stream.length;
    for (;;) {
      const limit = maxLines();
      const batch = splitter.split(chunkOf(stream.subarray(offset, readEnd), { offset, isFinal }), limit);
      lines.push(...linesOf(batch));
      truncatedCount += batch.truncatedCount;
      offset += batch.takenBytes;
      if (batch.count < limit) break;
    }
    if (isFinal) return { lines, truncatedCount, offset };
  }
}
