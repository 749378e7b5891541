import type { Stream } from "../event/stream.ts";
import { ByteDecoder, ByteEncoder, CodecError } from "../storage/byte_codec.ts";
import { BUFFER_ID_BYTES } from "./events_frame.ts";

/*
 * A frame SKIP of the disk buffer: pieces of a stream whose lines were dropped because the buffer was full (byte_codec.ts):
 *
 *     8 bytes of buffer id | varint number of the next event | text source | text "file" or "stdin" | text stream id | text path
 *     varint count { varint start | varint bytes }
 */

export interface SkippedRange {
  readonly startOffset: number;
  endOffset: number;
}

export interface StoredSkip {
  readonly nextEvent: number;
  readonly stream: Stream;
  readonly ranges: readonly SkippedRange[];
}

const out = new ByteEncoder();

/** Valid until the next call. */
export function writeSkip(bufferId: Buffer, { nextEvent, stream, ranges }: StoredSkip): Buffer {
  out.reset().raw(bufferId).varint(nextEvent).text(stream.source).text(stream.sourceType).text(stream.id)
    .text(stream.path).varint(ranges.length);
  for (const { startOffset, endOffset } of ranges) out.varint(startOffset).varint(endOffset - startOffset);
  return out.bytes();
}

/** Throws `CodecError`. */
export function readSkip(payload: Buffer, bufferId: Buffer): StoredSkip {
  const input = new ByteDecoder(payload);
  if (!input.raw(BUFFER_ID_BYTES).equals(bufferId)) throw new CodecError("A frame belongs to another buffer");
  const nextEvent = input.varint();
  const source = input.text();
  const sourceType = input.text() === "stdin" ? "stdin" : "file";
  const stream: Stream = { source, sourceType, id: input.text(), path: input.text() };
  const ranges: SkippedRange[] = [];
  for (let left = input.varint(); left > 0; left--) {
    const startOffset = input.varint();
    ranges.push({ startOffset, endOffset: startOffset + input.varint() });
  }
  return { nextEvent, stream, ranges };
}

/** Drops that are not written yet are joined where they follow each other. Pieces beyond are left to the journal. */
const RANGES_MAX = 1_000;
/** Two varints; of a code unit; of a frame without its ranges and names. */
const RANGE_BYTES_MAX = 16;
const UTF8_BYTES_MAX = 3;
const FRAME_BYTES_MAX = 64;

/** What was dropped and is not in the log yet. */
export class PendingSkips {
  readonly #byStream = new Map<string, { stream: Stream; ranges: SkippedRange[] }>();
  #rangeCount = 0;
  #sizeBytesMax = 0;

  /** Their frames take up so much at most. */
  get sizeBytesMax(): number {
    return this.#sizeBytesMax;
  }

  get isEmpty(): boolean {
    return this.#rangeCount === 0;
  }

  /** False when there are too many: then the journal has to tell it, before anything behind it is written. */
  add(stream: Stream, startOffset: number, endOffset: number): boolean {
    const key = `${stream.source}\u0000${stream.id}`;
    let found = this.#byStream.get(key);
    const last = found?.ranges.at(-1);
    if (last !== undefined && last.endOffset === startOffset) {
      last.endOffset = endOffset;
      return true;
    }
    if (this.#rangeCount >= RANGES_MAX) return false;
    if (found === undefined) {
      this.#byStream.set(key, found = { stream, ranges: [] });
      this.#sizeBytesMax += FRAME_BYTES_MAX + UTF8_BYTES_MAX * (key.length + stream.path.length);
    }
    found.ranges.push({ startOffset, endOffset });
    this.#sizeBytesMax += RANGE_BYTES_MAX;
    this.#rangeCount++;
    return true;
  }

  /** Forgets all of it. */
  clear(): void {
    for (const _ of this.take());
  }

  /** Gives all of it, and forgets it. */
  *take(): Iterable<{ readonly stream: Stream; readonly ranges: readonly SkippedRange[] }> {
    const all = [...this.#byStream.values()];
    this.#byStream.clear();
    this.#rangeCount = 0;
    this.#sizeBytesMax = 0;
    yield* all;
  }
}
