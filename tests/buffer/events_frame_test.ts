import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { measureEvents, writeEvents } from "../../src/buffer/events_frame.ts";
import { decodeEvents, lineRunsOf, originOf, readStoredEvents } from "../../src/buffer/stored_events.ts";
import type { ByteColumn, EventBatch } from "../../src/event/event_batch.ts";
import { BufferPool, unpooled } from "../../src/event/pooled_buffer.ts";
import { decodeHeaders, encodeHeaders } from "../../src/event/record_headers.ts";
import type { TrackedRegion } from "../../src/event/tracked_region.ts";
import { column } from "../support/events.ts";

const RECEIVED_MS = 1_700_000_000_000;
const BUFFER_ID = Buffer.from("0123456789abcdef", "hex");

interface Shape {
  readonly events: readonly {
    readonly value: Uint8Array;
    /** Null: absent. */
    readonly key: Uint8Array | null;
    readonly partition: number;
    readonly timeMs: number;
    readonly gapBytes: number;
    readonly skippedLines: number;
    readonly topic: number;
    readonly rawBytes: number;
    readonly headers: readonly (readonly [string, Uint8Array])[];
  }[];
  readonly hasKeys: boolean;
  readonly hasPartitions: boolean;
  /** "same": that of reading. */
  readonly hasTimes: "none" | "same" | "own";
  /** "one": the first event's are those of all. */
  readonly hasHeaders: "none" | "one" | "each";
  readonly hasTopics: boolean;
  readonly hasLines: boolean;
  /** As text encoding gives them: raw ends follow from the values. */
  readonly isRaw: boolean;
  readonly isBackwards: boolean;
  readonly gapBytes: number | null;
  readonly before: number;
  readonly streamNumber: number;
  readonly isCut: readonly [boolean, boolean];
  readonly kept: readonly boolean[];
}

const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const shape: fc.Arbitrary<Shape> = fc.record({
  events: fc.array(
    fc.record({
      value: bytes(30),
      key: fc.option(bytes(6)),
      partition: fc.constantFrom(0, 7, 0xffffffff),
      timeMs: fc.constantFrom(0, 1, RECEIVED_MS, 253_402_300_799_999),
      gapBytes: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.nat(40)),
      skippedLines: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(3)),
      topic: fc.nat(2),
      rawBytes: fc.nat(50),
      headers: fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 5 }), bytes(90)), { maxLength: 3 }),
    }),
    { minLength: 1, maxLength: 30 },
  ),
  hasKeys: fc.boolean(),
  hasPartitions: fc.boolean(),
  hasTimes: fc.constantFrom("none", "same", "own"),
  hasHeaders: fc.constantFrom("none", "one", "each"),
  hasTopics: fc.boolean(),
  hasLines: fc.boolean(),
  isRaw: fc.boolean(),
  isBackwards: fc.boolean(),
  gapBytes: fc.oneof(fc.constant(null), fc.constantFrom(0, 1, 2)),
  before: fc.nat(20),
  streamNumber: fc.nat(1),
  isCut: fc.tuple(fc.boolean(), fc.boolean()),
  kept: fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }),
});

function batchOf(it: Shape): { batch: EventBatch; region: TrackedRegion } {
  const { events, before } = it;
  const count = events.length;
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  const rawEnds = new Uint32Array(count);
  const lineNumbers = new Uint32Array(count);
  const parts: Buffer[] = [Buffer.alloc(before, 7)];
  let at = before;
  let raw = 0;
  let line = 0;
  const order = it.isBackwards ? events.map((_, i) => count - 1 - i) : events.map((_, i) => i);
  for (const i of order) {
    const { value, gapBytes } = events[i]!;
    starts[i] = at;
    ends[i] = at += value.length;
    const gap = it.gapBytes ?? gapBytes;
    parts.push(Buffer.from(value), Buffer.alloc(gap, 9));
    at += gap;
  }
  for (let i = 0; i < count; i++) {
    raw += events[i]!.rawBytes;
    rawEnds[i] = it.isRaw ? ends[i]! - starts[0]! + (it.gapBytes ?? 1) : raw;
    line += events[i]!.skippedLines;
    lineNumbers[i] = line++;
  }
  const stream = { id: "1:2:é", source: "app", sourceType: "file" as const, path: "/log/ü" };
  const data = Buffer.concat(parts);
  const place = { startOffset: 2 ** 40 + 5, endOffset: 2 ** 40 + 5 + data.length };
  const batch: EventBatch = {
    count,
    values: { data, starts, ends },
    headers: headersOf(it),
    timestamps: it.hasTimes === "none"
      ? null
      : Float64Array.from(events, ({ timeMs }) => it.hasTimes === "own" ? timeMs : RECEIVED_MS),
    partitions: it.hasPartitions ? Uint32Array.from(events, ({ partition }) => partition) : null,
    keys: it.hasKeys ? keysOf(events) : null,
    topics: ["a", "b", "c"],
    topicIndexes: it.hasTopics ? Uint16Array.from(events, ({ topic }) => topic) : null,
    receivedMs: RECEIVED_MS,
    origin: { stream, ...place },
    rawEnds,
    rawEndsOwner: null,
    lineNumbers: it.hasLines ? lineNumbers : null,
    byteSize: 0,
    pinnedBytes: data.length,
    owners: [],
  };
  const region = {
    stream,
    ...place,
    streamNumber: it.streamNumber,
    crc32: 0xdeadbeef,
    lineCount: line + 2,
    startsInsideCutLine: it.isCut[0],
    endsInsideCutLine: it.isCut[1],
  } as TrackedRegion;
  return { batch, region };
}

/** Keys with a gap of one byte between them. */
function keysOf(events: Shape["events"]): ByteColumn {
  const count = events.length;
  const keyStarts = new Uint32Array(count);
  const keyEnds = new Uint32Array(count);
  const keys: Buffer[] = [Buffer.alloc(3)];
  let keyAt = 3;
  for (let i = 0; i < count; i++) {
    const { key } = events[i]!;
    keyStarts[i] = key === null ? keyAt + 1 : keyAt;
    keyEnds[i] = keyAt += key?.length ?? 0;
    keys.push(Buffer.from(key ?? []), Buffer.alloc(1));
    keyAt++;
  }
  return { data: Buffer.concat(keys), starts: keyStarts, ends: keyEnds };
}

function headersOf({ events, hasHeaders }: Shape): ByteColumn | null {
  if (hasHeaders === "none") return null;
  if (hasHeaders === "each") return column(events.map(({ headers }) => encodeHeaders(headers)));
  const data = encodeHeaders(events[0]!.headers);
  return {
    data,
    starts: new Uint32Array(events.length),
    ends: new Uint32Array(events.length).fill(data.length),
  };
}

function frameOf({ batch, region }: { batch: EventBatch; region: TrackedRegion }, firstEvent = 7): Buffer {
  const frame = measureEvents(batch, region);
  const target = Buffer.alloc(frame.sizeBytes + 20, 0xee);
  writeEvents(frame, BUFFER_ID, firstEvent, target, 10);
  // Nothing beside its place is touched.
  expect(target.subarray(0, 10).equals(Buffer.alloc(10, 0xee))).toBe(true);
  expect(target.subarray(-10).equals(Buffer.alloc(10, 0xee))).toBe(true);
  return target;
}

/** What a sink sees of the events. */
function contentOf(
  { values, keys, headers, partitions, timestamps, topics, topicIndexes, rawEnds, count }: EventBatch,
) {
  return Array.from({ length: count }, (_, i) => ({
    value: values.data.toString("hex", values.starts[i], values.ends[i]),
    key: keys === null || keys.starts[i]! > keys.ends[i]!
      ? null
      : keys.data.toString("hex", keys.starts[i], keys.ends[i]),
    partition: partitions?.[i],
    timeMs: timestamps?.[i],
    headers: headers === null ? "" : headers.data.toString("hex", headers.starts[i], headers.ends[i]),
    topic: topics[topicIndexes?.[i] ?? 0],
    rawEnd: rawEnds[i],
  }));
}

describe("A frame of events", () => {
  test("gives back what was put in, whatever columns it needs, and any part of it", () => {
    fc.assert(
      fc.property(shape, (it) => {
        const made = batchOf(it);
        const data = frameOf(made);
        const stored = readStoredEvents(data, 10, data.length - 10, BUFFER_ID);
        expect([stored.firstEvent, stored.count]).toEqual([7, it.events.length]);
        const origin = originOf(stored);
        const { region, batch } = made;
        expect(origin).toEqual({
          stream: region.stream,
          topics: batch.topics,
          startOffset: region.startOffset,
          endOffset: region.endOffset,
          crc32: region.crc32,
          lineCount: region.lineCount,
          startsInsideCutLine: it.isCut[0],
          endsInsideCutLine: it.isCut[1],
          isTracked: it.streamNumber !== 0,
        });
        const lines: number[] = [];
        const runs = lineRunsOf(stored);
        for (let i = 0, line = 0; i < runs.length; i += 2) {
          line += runs[i]!;
          for (let left = runs[i + 1]!; left > 0; left--) lines.push(line++);
        }
        expect(lines).toEqual(
          Array.from({ length: batch.count }, (_, i) => batch.lineNumbers?.[i] ?? i),
        );
        const whole = decodeEvents(stored, origin, origin.stream, unpooled(data), new BufferPool());
        expect(contentOf(whole)).toEqual(contentOf(batch));
        expect([whole.receivedMs, whole.lineNumbers]).toEqual([batch.receivedMs, null]);
        const kept = Uint32Array.from(it.events.flatMap((_, i) => it.kept[i] ? [i] : []));
        const part = decodeEvents(stored, origin, origin.stream, unpooled(data), new BufferPool(), kept);
        expect(contentOf(part)).toEqual(contentOf(batch).filter((_, i) => it.kept[i]));
        expect(part.lineNumbers).toEqual(kept);
      }),
      { numRuns: 500 },
    );
  });

  test("of many events keeps its numbers in pooled memory, and gives that back", () => {
    const events = Array.from({ length: 2_000 }, (_, i) => ({
      value: new Uint8Array(i % 7),
      key: i % 5 === 0 ? null : new Uint8Array(i % 3),
      partition: i,
      timeMs: i,
      gapBytes: i % 5,
      skippedLines: 0,
      topic: 0,
      rawBytes: 3,
      headers: i % 2 === 0 ? [] : [["n", Buffer.from(String(i))]] as [string, Buffer][],
    }));
    const more = { hasTopics: false, hasLines: true, isRaw: false, isBackwards: false, gapBytes: null };
    const made = batchOf({
      events,
      hasKeys: true,
      hasPartitions: true,
      hasTimes: "own",
      hasHeaders: "each",
      ...more,
      before: 0,
      streamNumber: 1,
      isCut: [false, true],
      kept: [],
    });
    const data = frameOf(made);
    const stored = readStoredEvents(data, 10, data.length - 10, BUFFER_ID);
    const origin = originOf(stored);
    const window = unpooled(data);
    const pool = new BufferPool();
    const batch = decodeEvents(stored, origin, origin.stream, window, pool);
    expect(contentOf(batch)).toEqual(contentOf(made.batch));
    for (const owner of batch.owners) owner.release();
    batch.rawEndsOwner!.release();
    window.release();
    expect(() => window.release()).toThrow("given back");
  });

  test("that is not whole, of another buffer, or contradicts itself is refused", () => {
    fc.assert(
      fc.property(shape, fc.nat(), fc.nat(255), (it, place, byte) => {
        const made = batchOf(it);
        const data = frameOf(made);
        const end = data.length - 10;
        expect(() => readStoredEvents(data, 10, 10 + place % (end - 10), BUFFER_ID)).toThrow();
        expect(() => readStoredEvents(data, 10, end, Buffer.alloc(8, 1))).toThrow("another buffer");
        // Whatever its bytes say: either it is refused, or no event reaches beyond it.
        data[10 + place % (end - 10)] = byte;
        try {
          const stored = readStoredEvents(data, 10, end, BUFFER_ID);
          const origin = originOf(stored);
          const batch = decodeEvents(stored, origin, origin.stream, unpooled(data), new BufferPool());
          for (let i = 0; i < batch.count; i++) {
            expect(batch.values.starts[i]!).toBeGreaterThanOrEqual(10);
            expect(batch.values.ends[i]!).toBeLessThanOrEqual(end);
            const { headers } = batch;
            if (headers === null) continue;
            expect(headers.starts[i]!).toBeGreaterThanOrEqual(10);
            expect(headers.ends[i]!).toBeLessThanOrEqual(end);
            decodeHeaders(data.subarray(headers.starts[i], headers.ends[i]));
          }
        } catch (error) {
          expect((error as Error).name).toBe("CodecError");
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
