import type { Membership } from "../batch/membership.ts";
import type { RegionInfo } from "../checkpoint/region.ts";
import type { HeldLines, TrackedRegion } from "../event/tracked_region.ts";
import type { BatchPlace, NewIntent } from "../kafka/intent_log.ts";
import { ByteDecoder, type ByteEncoder } from "../storage/byte_codec.ts";
import { CodecError } from "../storage/byte_codec.ts";

/**
 * An intent:
 *
 *     id varint | sink varint | run varint | epoch varint | base sequence varint | count varint | id - place varint
 *     | topic text | topic id: uint8 0, or uint8 1 and 16 bytes | partition varint | hint + 1 varint | base timestamp varint
 *     | segments | uint8 0x80
 *
 *     segment: flags uint8 (1 starts, 2 ends inside a cut line, 4 of the same stream as the segment before, 8 starts where that one ends)
 *              | stream varint, not with flag 4 | start varint, not with flag 8 | length varint | crc32 uint32 | lines varint
 *              | base timestamp - time of reading, ms, zigzag varint
 *              | runs { varint 2 x lines skipped: one line is taken
 *                     | varint 2 x lines skipped + 1, varint count > 0: so many are } varint 1, varint 0
 *
 * A segment names lines of one region in the order of the batch. Without keys it is one run, about 20 bytes a region; with keys a byte or
 * a little more for each line. Events of streams that cannot be read again (stdin) are not in here: fewer lines than `count`.
 */
const STARTS_INSIDE = 1;
const ENDS_INSIDE = 2;
const SAME_STREAM = 4;
const FOLLOWS = 8;
const END = 0x80;

export interface IntentSegment {
  readonly streamNumber: number;
  readonly info: RegionInfo;
  readonly receivedMs: number;
  /** Pairs: lines skipped, lines taken. */
  readonly runs: readonly number[];
  readonly lineCount: number;
}

export interface StoredIntent extends Omit<BatchPlace, "producer"> {
  readonly id: number;
  readonly sinkNumber: number;
  readonly runNumber: number;
  readonly epoch: number;
  readonly baseSequence: number;
  readonly segments: readonly IntentSegment[];
}

export interface IntentIds {
  readonly id: number;
  readonly sinkNumber: number;
  readonly runNumber: number;
}

/** Appends the intent and returns which lines it holds, a few entries for each region. Nothing is made for an event. */
export function writeIntent(out: ByteEncoder, ids: IntentIds, intent: NewIntent): HeldLines[] {
  const { producer } = intent;
  out.varint(ids.id).varint(ids.sinkNumber).varint(ids.runNumber).varint(producer.epoch)
    .varint(producer.baseSequence).varint(intent.count)
    .varint(intent.place === 0 ? 0 : ids.id - intent.place).text(intent.topic);
  if (intent.topicId === null) out.uint8(0);
  else out.uint8(1).raw(uuidBytes(intent.topicId));
  out.varint(intent.partition).varint(intent.hintOffset + 1).varint(intent.baseTimestampMs);
  return writeSegments(out, intent.members, intent.baseTimestampMs);
}

function writeSegments(out: ByteEncoder, members: Membership, baseTimestampMs: number): HeldLines[] {
  const writer = new SegmentWriter(out, baseTimestampMs);
  members.forEachRun((delivery, first, count) => {
    const { region, batch } = delivery;
    if (region === null || region.streamNumber === 0) return;
    const numbers = batch.lineNumbers;
    if (numbers === null) return writer.run(region, batch.receivedMs, first, count);
    for (let event = first; event < first + count; event++) {
      let run = 1;
      while (event + run < first + count && numbers[event + run] === numbers[event]! + run) run++;
      writer.run(region, batch.receivedMs, numbers[event]!, run);
      event += run - 1;
    }
  });
  return writer.finish();
}

/** Writes the lines of a batch, run by run, and says of each that a restart does not read it again. */
class SegmentWriter {
  readonly #out: ByteEncoder;
  readonly #baseTimestampMs: number;
  readonly #held: { region: TrackedRegion; streamNumber: number; count: number }[] = [];
  #region: TrackedRegion | null = null;
  #count = 0;
  #nextLine = 0;
  #streamNumber = 0;
  #endOffset = -1;

  constructor(out: ByteEncoder, baseTimestampMs: number) {
    this.#out = out;
    this.#baseTimestampMs = baseTimestampMs;
  }

  run(region: TrackedRegion, receivedMs: number, line: number, count: number): void {
    if (this.#region !== region || line < this.#nextLine) this.#start(region, receivedMs);
    const gap = 2 * (line - this.#nextLine);
    if (count === 1) this.#out.varint(gap);
    else this.#out.varint(gap + 1).varint(count);
    region.cover(line, count);
    this.#count += count;
    this.#nextLine = line + count;
  }

  finish(): HeldLines[] {
    this.#end();
    this.#out.uint8(END);
    return this.#held;
  }

  #start(region: TrackedRegion, receivedMs: number): void {
    this.#end();
    const { streamNumber, startOffset, endOffset } = region;
    const isSameStream = streamNumber === this.#streamNumber;
    const isNext = isSameStream && startOffset === this.#endOffset;
    const flags = (region.startsInsideCutLine ? STARTS_INSIDE : 0) |
      (region.endsInsideCutLine ? ENDS_INSIDE : 0) |
      (isSameStream ? SAME_STREAM : 0) | (isNext ? FOLLOWS : 0);
    this.#out.uint8(flags);
    if (!isSameStream) this.#out.varint(streamNumber);
    if (!isNext) this.#out.varint(startOffset);
    this.#out.varint(endOffset - startOffset).uint32(region.crc32).varint(region.lineCount)
      .varint(zigzag(this.#baseTimestampMs - Math.trunc(receivedMs)));
    this.#region = region;
    this.#nextLine = 0;
    this.#streamNumber = streamNumber;
    this.#endOffset = endOffset;
  }

  #end(): void {
    if (this.#region === null) return;
    this.#out.varint(1).varint(0);
    this.#held.push({ region: this.#region, streamNumber: this.#streamNumber, count: this.#count });
    this.#region = null;
    this.#count = 0;
  }
}

/** Throws `CodecError`. */
export function readIntent(bytes: Buffer): StoredIntent {
  const input = new ByteDecoder(bytes);
  const id = input.varint();
  const sinkNumber = input.varint();
  const runNumber = input.varint();
  const epoch = input.varint();
  const baseSequence = input.varint();
  const count = input.varint();
  const place = id - input.varint();
  const topic = input.text();
  const topicId = input.uint8() === 0 ? null : uuidText(input.raw(16));
  const partition = input.varint();
  const hintOffset = input.varint() - 1;
  const baseTimestampMs = input.varint();
  const segments: IntentSegment[] = [];
  for (let flags = input.uint8(); flags !== END; flags = input.uint8()) {
    segments.push(readSegment(input, flags, segments.at(-1) ?? null, baseTimestampMs));
  }
  if (!input.isAtEnd) throw new CodecError("An intent has bytes behind its end");
  return {
    id,
    sinkNumber,
    runNumber,
    epoch,
    baseSequence,
    count,
    place,
    topic,
    topicId,
    partition,
    hintOffset,
    baseTimestampMs,
    segments,
  };
}

function readSegment(
  input: ByteDecoder,
  flags: number,
  before: IntentSegment | null,
  baseTimestampMs: number,
): IntentSegment {
  if (flags > (STARTS_INSIDE | ENDS_INSIDE | SAME_STREAM | FOLLOWS)) {
    throw new CodecError(`A segment has no flags ${flags}`);
  }
  if ((flags & (SAME_STREAM | FOLLOWS)) !== 0 && before === null) {
    throw new CodecError("The first segment follows another one");
  }
  const streamNumber = (flags & SAME_STREAM) !== 0 ? before!.streamNumber : input.varint();
  const startOffset = (flags & FOLLOWS) !== 0 ? before!.info.endOffset : input.varint();
  const endOffset = startOffset + input.varint();
  const info: RegionInfo = {
    startOffset,
    endOffset,
    crc32: input.uint32(),
    lineCount: input.varint(),
    startsInsideCutLine: (flags & STARTS_INSIDE) !== 0,
    endsInsideCutLine: (flags & ENDS_INSIDE) !== 0,
  };
  const receivedMs = baseTimestampMs - unzigzag(input.varint());
  const runs: number[] = [];
  let lineCount = 0;
  let end = 0;
  for (;;) {
    const token = input.varint();
    const gap = Math.floor(token / 2);
    const run = token % 2 === 0 ? 1 : input.varint();
    if (run === 0) break;
    runs.push(gap, run);
    lineCount += run;
    end += gap + run;
  }
  if (end > info.lineCount) throw new CodecError("A segment names lines that its region does not have");
  return { streamNumber, info, receivedMs, runs, lineCount };
}

/** Small numbers of either sign as small numbers: 0, -1, 1, -2 ... become 0, 1, 2, 3 ... */
function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

/** Kafka writes topic ids as 22 characters of URL-safe base64. */
function uuidBytes(text: string): Buffer {
  const bytes = Buffer.from(text, "base64url");
  if (bytes.length !== 16) throw new RangeError(`Cannot store "${text}": it is no topic id`);
  return bytes;
}

function uuidText(bytes: Buffer): string {
  return bytes.toString("base64url");
}
