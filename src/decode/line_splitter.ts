import type { Chunk } from "../event/chunk.ts";
import type { LineBatch } from "../event/line_batch.ts";

const NEWLINE = 10;
const CARRIAGE_RETURN = 13;
const BOM_BYTES = 3;
const INITIAL_LINES = 1024;

export interface LineSplitterOptions {
  /** Longest line in bytes, without its delimiter. What is longer is cut here. */
  readonly maxLineBytes: number;
  /**
   * True when the stream is read from an offset inside a line whose head was delivered before, cut: everything up to its newline is
   * skipped. The bytes cannot tell, so whoever stores positions has to.
   */
  readonly isInsideCutLine?: boolean;
  /** Where the lines are written to; by default one set of arrays serves all splitters. */
  readonly columns?: LineColumns;
}

/** The arrays that hold the lines of one call. They grow to the largest chunk's number of lines and stay. */
export class LineColumns {
  starts = new Uint32Array(INITIAL_LINES);
  ends = new Uint32Array(INITIAL_LINES);
  nexts = new Uint32Array(INITIAL_LINES);

  /** Doubles the capacity, keeping what is there. */
  grow(): this {
    this.starts = doubled(this.starts);
    this.ends = doubled(this.ends);
    this.nexts = doubled(this.nexts);
    return this;
  }
}

/** A thousand tailed files share these, because a batch of lines is shaped before the next chunk is split. */
const sharedColumns = new LineColumns();

/**
 * Finds lines in the chunks of one stream. The delimiter is "\n"; one "\r" in front of it is not part of the line. A UTF-8 byte order
 * mark at offset 0 of the stream is skipped.
 *
 * Nothing is copied: what is not taken is offered again by the source, in front of what follows it. The splitter remembers only how far
 * it has looked, so that a line that grows byte by byte is looked at once.
 *
 * Raw ranges: line `i` covers the bytes from the end of line `i - 1` (the start of the chunk for the first one) up to `nexts[i]`, so
 * that the ranges of a chunk have no gaps. For a line longer than `maxLineBytes`:
 * - It is given as soon as its head is seen, cut at `maxLineBytes` (up to 3 bytes less, so that no UTF-8 sequence is cut in two).
 * - Its newline is in the chunk: its range ends behind the newline, as for any line.
 * - It is not: its range ends with the chunk, and what follows is skipped up to the newline. Chunks with nothing else in them give
 *   `count` 0 and `takenBytes` > 0. Skipped bytes in front of a line belong to the range of that line.
 *
 * A source must be able to offer `maxLineBytes + 2` bytes at once, else a line of exactly that length is never seen whole.
 */
export class LineSplitter {
  readonly #maxLineBytes: number;
  readonly #columns: LineColumns;
  #isSkipping: boolean;
  /** Offset in the stream at which the next chunk must start for the two fields around this one to mean anything; -1 at first. */
  #nextOffset = -1;
  /** Up to here the stream holds no newline behind `#nextOffset`. */
  #scannedOffset = 0;

  constructor(options: LineSplitterOptions) {
    this.#maxLineBytes = options.maxLineBytes;
    this.#columns = options.columns ?? sharedColumns;
    this.#isSkipping = options.isInsideCutLine ?? false;
  }

  /** What comes next, up to a newline, is the rest of a line that was cut. */
  get isInsideCutLine(): boolean {
    return this.#isSkipping;
  }

  /**
   * The lines at the front of the chunk, at most `maxLines`. The caller must take exactly `takenBytes` and offer the rest again; a
   * chunk that starts elsewhere (the stream was read again from an earlier offset) starts afresh.
   *
   * The arrays of the result are overwritten by the next call, of this or another splitter that has the same columns.
   */
  split(chunk: Chunk, maxLines: number): LineBatch {
    const data = chunk.data;
    if (chunk.offset !== this.#nextOffset) {
      if (this.#nextOffset !== -1) this.#isSkipping = false;
      this.#scannedOffset = chunk.offset;
    }
    let start = 0;
    if (this.#isSkipping) start = this.#skip(data);
    else if (chunk.offset === 0 && startsWithBom(data)) start = BOM_BYTES;
    const scanned = Math.max(start, Math.min(this.#scannedOffset - chunk.offset, data.length));

    const columns = this.#columns;
    let { starts, ends, nexts } = columns;
    let count = 0;
    let truncatedCount = 0;
    let firstTruncated = 0;
    let lineStart = start;
    let newline = -1;
    while (count < maxLines && (newline = data.indexOf(NEWLINE, count === 0 ? scanned : lineStart)) !== -1) {
      if (count === starts.length) ({ starts, ends, nexts } = columns.grow());
      let end = newline;
      if (end > lineStart && data[end - 1] === CARRIAGE_RETURN) end--;
      if (end - lineStart > this.#maxLineBytes) {
        end = cutEnd(data, lineStart, this.#maxLineBytes);
        if (truncatedCount++ === 0) firstTruncated = count;
      }
      starts[count] = lineStart;
      ends[count] = end;
      nexts[count] = newline + 1;
      lineStart = newline + 1;
      count++;
    }
    const lines: LineBatch = {
      chunk,
      count,
      starts,
      ends,
      nexts,
      lineNumbers: null,
      takenBytes: lineStart,
      truncatedCount,
      firstTruncated,
      endsInsideCutLine: false,
    };
    if (count < maxLines && lineStart < data.length) this.#takePartial(lines);
    lines.endsInsideCutLine = this.#isSkipping;
    this.#nextOffset = chunk.offset + lines.takenBytes;
    return lines;
  }

  /** Position in `data` behind the newline that ends the line being skipped, or its end when there is none. */
  #skip(data: Buffer): number {
    const newline = data.indexOf(NEWLINE);
    if (newline === -1) return data.length;
    this.#isSkipping = false;
    return newline + 1;
  }

  /** Looks at the bytes behind the last newline: a line if the stream has ended, a cut one if they are too many, else left for later. */
  #takePartial(lines: LineBatch): void {
    const { data, isFinal, offset } = lines.chunk;
    const start = lines.takenBytes;
    let end = data.length;
    if (data[end - 1] === CARRIAGE_RETURN) end--;
    const isTooLong = end - start > this.#maxLineBytes;
    if (!isFinal && !isTooLong) {
      this.#scannedOffset = offset + data.length;
      return;
    }
    if (isTooLong) {
      end = cutEnd(data, start, this.#maxLineBytes);
      this.#isSkipping = true;
      if (lines.truncatedCount++ === 0) lines.firstTruncated = lines.count;
    }
    if (lines.count === lines.starts.length) Object.assign(lines, this.#columns.grow());
    lines.starts[lines.count] = start;
    lines.ends[lines.count] = end;
    lines.nexts[lines.count] = data.length;
    lines.count++;
    lines.takenBytes = data.length;
  }
}

function startsWithBom(data: Buffer): boolean {
  return data.length >= BOM_BYTES && data[0] === 0xef && data[1] === 0xbb && data[2] === 0xbf;
}

/** Where to cut a line that is longer than `maxBytes`: there, or in front of the UTF-8 sequence that would be cut in two. */
function cutEnd(data: Buffer, start: number, maxBytes: number): number {
  const limit = start + maxBytes;
  for (let at = limit; at >= start && at > limit - 4; at--) {
    const byte = data[at]!;
    if ((byte & 0xc0) === 0x80) continue;
    const sequenceBytes = byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return at + sequenceBytes > limit ? at : limit;
  }
  return limit;
}

function doubled(column: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(column.length * 2);
  larger.set(column);
  return larger;
}
