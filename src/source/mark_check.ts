import zlib from "node:zlib";
import type { SourcePositions } from "../checkpoint/checkpoint.ts";
import type { Mark } from "../checkpoint/marks.ts";
import type { FileOps } from "./file_ops.ts";

/** A mark is read in pieces of this size. */
const PIECE_BYTES = 65_536;

/** What a sink knows of a stream. */
export interface SinkKnowledge {
  readonly sink: string;
  /** The file had at least this length. */
  readonly end: number;
  /** By ascending end. */
  readonly marks: readonly Mark[];
}

/** What these sinks know of a stream. */
export function knowledgeOf(
  positions: SourcePositions,
  source: string,
  id: string,
  sinks: readonly string[],
): SinkKnowledge[] {
  return sinks.map((sink) => ({
    sink,
    end: positions.knownEnd(source, id, sink),
    marks: positions.marks(source, id, sink),
  }));
}

/** Compares marks with what an open file holds now; each mark once, however many sinks have it. */
export class MarkCheck {
  readonly #ops: FileOps;
  readonly #fd: number;
  readonly #results = new Map<string, boolean>();
  #buffer: Buffer | null = null;

  constructor(ops: FileOps, fd: number) {
    this.#ops = ops;
    this.#fd = fd;
  }

  /**
   * Whether the file holds what was read of it: for each sink that has to go back, where it goes on; null when nothing fits. Where the newest
   * mark fits, all bytes in front of it count as the same, so that this is one read for most files. Without marks (positions of an older
   * shipper) only the length tells. Rejects with the system's error.
   */
  async check(sizeBytes: number, known: readonly SinkKnowledge[]): Promise<Map<string, number> | null> {
    const rewinds = new Map<string, number>();
    for (const { sink, end, marks } of known) {
      const same = await this.newestSame(marks);
      if (marks.length === 0 ? end > sizeBytes : same === null) return null;
      if (same !== null && (end > sizeBytes || same !== marks.at(-1))) rewinds.set(sink, same.endOffset);
    }
    return rewinds;
  }

  /**
   * The same for a file whose head is another one, which a short file has lost as well when it lost its end: only marks that reach from the
   * first byte on without a gap say that something is left.
   */
  async checkFromStart(known: readonly SinkKnowledge[]): Promise<Map<string, number> | null> {
    const rewinds = new Map<string, number>();
    let isAnyLeft = false;
    for (const { sink, end, marks } of known) {
      if (end === 0) continue;
      let sameEnd = 0;
      for (const mark of marks) {
        if (mark.startOffset !== sameEnd || !await this.#isSame(mark)) break;
        sameEnd = mark.endOffset;
      }
      if (sameEnd === 0) return null;
      isAnyLeft = true;
      if (sameEnd < end) rewinds.set(sink, sameEnd);
    }
    return isAnyLeft ? rewinds : null;
  }

  /** The last mark whose bytes are still there. */
  async newestSame(marks: readonly Mark[]): Promise<Mark | null> {
    for (let i = marks.length - 1; i >= 0; i--) if (await this.#isSame(marks[i]!)) return marks[i]!;
    return null;
  }

  async #isSame({ startOffset, endOffset, crc32 }: Mark): Promise<boolean> {
    const key = `${startOffset}:${endOffset}:${crc32}`;
    let isSame = this.#results.get(key);
    if (isSame === undefined) {
      isSame = await this.#checksum(startOffset, endOffset) === crc32;
      this.#results.set(key, isSame);
    }
    return isSame;
  }

  /** CRC-32 of what is there; null when the file ends before. */
  async #checksum(startOffset: number, endOffset: number): Promise<number | null> {
    const buffer = this.#buffer ??= Buffer.allocUnsafe(PIECE_BYTES);
    let crc32 = 0;
    for (let offset = startOffset; offset < endOffset;) {
      const wanted = Math.min(buffer.length, endOffset - offset);
      const count = await this.#ops.read(this.#fd, buffer, wanted, offset);
      if (count === 0) return null;
      crc32 = zlib.crc32(buffer.subarray(0, count), crc32);
      offset += count;
    }
    return crc32;
  }
}
