import { expect, test } from "bun:test";
import fc from "fast-check";
import { Gaps, GAPS_PENDING_MAX, type GapStream } from "../../src/event/gaps.ts";
import { BUFFER_SOURCE } from "../../src/event/stream.ts";
import { eventBatch } from "../support/events.ts";

const stream = (id: string): GapStream => ({ id, source: "app", path: `/var/log/${id}.log` });
const part = (events: number, fromOffset = 0, toOffset = 10) => ({ events, bytes: 0, fromOffset, toOffset });

test("what has one stream and cause becomes one gap, with the range and the times of all", () => {
  let nowMs = 100;
  const gaps = new Gaps("own", () => nowMs);
  gaps.note(stream("a"), "buffer_full", part(3, 50, 80));
  nowMs = 200;
  gaps.note(stream("a"), "buffer_full", part(4, 20, 60));
  gaps.note(stream("a"), "record_too_large", part(1, 90, 99));
  gaps.note(stream("b"), "buffer_full", part(1));
  expect(gaps.take(2)).toEqual([
    {
      source: "app",
      path: "/var/log/a.log",
      pipe: null,
      cause: "buffer_full",
      events: 7,
      bytes: 0,
      fromOffset: 20,
      toOffset: 80,
      firstMs: 100,
      lastMs: 200,
    },
    expect.objectContaining({ cause: "record_too_large", events: 1, fromOffset: 90, firstMs: 200 }),
  ]);
  expect(gaps.take(9)).toEqual([expect.objectContaining({ path: "/var/log/b.log" })]);
  // What was taken is told: the next one begins anew.
  gaps.note(stream("a"), "buffer_full", part(1));
  expect(gaps.take(9)).toEqual([expect.objectContaining({ events: 1, firstMs: 200 })]);
  expect(gaps.size).toBe(0);
});

test("events of a batch have their own offsets", () => {
  const gaps = new Gaps("own", () => 0);
  const batch = eventBatch(["one", "three", "five"], { offset: 1_000 });
  gaps.noteEvents(batch, 1, 1, "record_too_large");
  const [gap] = gaps.take(1);
  expect(gap).toMatchObject({ source: "app", path: "/var/log/app.log", events: 1 });
  expect(gap!.fromOffset).toBe(1_000 + batch.rawEnds[0]!);
  expect(gap!.toOffset).toBe(1_000 + batch.rawEnds[1]!);
});

test("a range that is not known in part is not known at all", () => {
  const gaps = new Gaps("own", () => 0);
  gaps.note(stream("a"), "deleted", { events: 0, bytes: 5, fromOffset: 1, toOffset: 6 });
  gaps.note(stream("a"), "deleted", { events: 0, bytes: 7, fromOffset: 9, toOffset: null });
  expect(gaps.take(1)).toEqual([expect.objectContaining({ bytes: 12, fromOffset: 1, toOffset: null })]);
});

test("what is said of the tellings themselves is not told", () => {
  const gaps = new Gaps("own", () => 0);
  gaps.note({ id: "x", source: "own", path: "" }, "invalid_record", part(1));
  expect(gaps.size).toBe(0);
});

test("lines of an earlier run: those that are known by their regions, the rest by number", () => {
  const gaps = new Gaps("own", () => 0);
  const region = { startOffset: 10, endOffset: 90, stream: stream("a") };
  gaps.noteHeld([{ region: region as never, streamNumber: 1, count: 3 }], 5, "source_gone");
  expect(gaps.take(9)).toEqual([
    expect.objectContaining({ path: "/var/log/a.log", events: 3, fromOffset: 10, toOffset: 90 }),
    expect.objectContaining({ source: "", path: "", events: 2, fromOffset: null, toOffset: null }),
  ]);
});

test("numbers of events in a disk buffer are no place: only how many", () => {
  const gaps = new Gaps("own", () => 0);
  const region = { startOffset: 10, endOffset: 90, stream: { id: "b", source: BUFFER_SOURCE, path: "" } };
  gaps.noteHeld([{ region: region as never, streamNumber: 1, count: 5 }], 5, "undecidable");
  gaps.noteCount(stream("a"), "buffer_full", 3);
  gaps.noteCount(null, "damaged", 0);
  expect(gaps.take(9)).toEqual([
    expect.objectContaining({ source: "", path: "", events: 5, fromOffset: null, toOffset: null }),
    expect.objectContaining({ path: "/var/log/a.log", events: 3, fromOffset: null }),
  ]);
});

test("whatever is noted and taken, in bounded memory, no event is left out", () => {
  const action = fc.oneof(
    fc.record({ file: fc.nat(GAPS_PENDING_MAX * 2), events: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ take: fc.nat(500) }),
  );
  fc.assert(
    fc.property(fc.array(action, { minLength: 2_000, maxLength: 6_000 }), (actions) => {
      const gaps = new Gaps("own", () => 0);
      let noted = 0;
      let told = 0;
      for (const each of actions) {
        if ("take" in each) { for (const { events } of gaps.take(each.take)) told += events; }
        else {
          gaps.note(stream(`f${each.file}`), "buffer_full", part(each.events));
          noted += each.events;
        }
        expect(gaps.size).toBeLessThanOrEqual(GAPS_PENDING_MAX + 1);
      }
      const rest = gaps.take(Infinity);
      for (const { events } of rest) told += events;
      expect(told).toBe(noted);
    }),
    { numRuns: 10 },
  );
});

test("beyond the limit there is one gap a source and cause, without a file", () => {
  const gaps = new Gaps("own", () => 0);
  for (let i = 0; i < GAPS_PENDING_MAX + 50; i++) gaps.note(stream(`f${i}`), "buffer_full", part(2));
  expect(gaps.size).toBe(GAPS_PENDING_MAX + 1);
  const last = gaps.take(Infinity).at(-1);
  expect(last).toMatchObject({ source: "app", path: "", events: 100, fromOffset: null, toOffset: null });
});

test("who waits is woken by a gap, or by the end", async () => {
  const gaps = new Gaps("own", () => 0);
  const end = new AbortController();
  const woken: string[] = [];
  const first = gaps.waitForGap(end.signal).then(() => woken.push("gap"));
  await Bun.sleep(1);
  expect(woken).toEqual([]);
  gaps.note(stream("a"), "x", part(1));
  await first;
  gaps.take(1);
  const second = gaps.waitForGap(end.signal);
  end.abort();
  await second;
});
