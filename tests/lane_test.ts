import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { auditOf } from "../src/telemetry/status.ts";
import { appStream, LaneHarness } from "./lane_harness.ts";

describe("when_full = block", () => {
  test("takes what fits, leaves the rest, and takes it when there is room", () => {
    const harness = new LaneHarness({ maxEvents: 3 });
    const rest = harness.offer("a\nb\nc\nd\ne\n");
    expect(rest).toBe("d\ne\n");
    expect([harness.lane.hasRoom(), harness.buffer.eventCount]).toEqual([false, 3]);
    expect(harness.offer(rest)).toBe(rest);
    expect(harness.read()).toEqual(["a", "b", "c"]);
    expect(harness.offer(rest)).toBe("");
    expect(harness.read()).toEqual(["d", "e"]);
    expect(harness.sink.dropped.total()).toBe(0);
  });

  test("takes nothing while the memory that waits is at its limit", () => {
    const harness = new LaneHarness({ maxSizeBytes: 10 });
    harness.offer("0123456789\n");
    expect(harness.offer("x\n")).toBe("x\n");
    harness.read();
    expect(harness.offer("x\n")).toBe("");
  });

  test("waits for room until there is some, or until it is told to stop", async () => {
    const harness = new LaneHarness({ maxEvents: 1 });
    harness.offer("a\n");
    const stop = new AbortController();
    let woken = 0;
    const waits = [
      harness.lane.waitForRoom(new AbortController().signal),
      harness.lane.waitForRoom(stop.signal),
    ];
    for (const wait of waits) void wait.then(() => woken++);
    await Bun.sleep(1);
    expect(woken).toBe(0);
    stop.abort();
    await waits[1];
    expect(woken).toBe(1);
    harness.read();
    await waits[0];
  });
});

describe("when_full = drop_newest", () => {
  test("counts what has no room by source, and lets positions pass", () => {
    const harness = new LaneHarness({ maxEvents: 2, whenFull: "drop_newest" });
    expect(harness.lane.hasRoom()).toBe(true);
    const rest = harness.offer("a\nb\nc\nd\n");
    expect(rest).toBe("c\nd\n");
    expect(harness.offer(`${rest}part`)).toBe("part");
    expect([...harness.sink.dropped.values]).toEqual([["app\u0000buffer_full", 2]]);
    expect(harness.log.texts("warn")).toEqual([
      'The buffer of sink "events" is full: new events of source "app" are dropped and counted',
    ]);
    expect(harness.position).toBe(0);
    expect(harness.read()).toEqual(["a", "b"]);
    harness.settle("delivered");
    expect(harness.position).toBe(8);
    expect(harness.offer("part\n")).toBe("");
    expect(harness.read()).toEqual(["part"]);
  });
});

describe("events that go nowhere", () => {
  test("lines without a topic are counted, and their position passes", () => {
    const harness = new LaneHarness({ topic: "t-{{kind}}", decoding: { codec: "json" } });
    harness.offer(
      '{"kind":"a","message":"1"}\n{"message":"2"}\n{"kind":"b/","message":"3"}\n{"kind":"b","message":"4"}\n',
    );
    expect([...harness.sink.dropped.values]).toEqual([
      ["app\u0000template_error", 1],
      ["app\u0000topic_invalid", 1],
    ]);
    expect(harness.log.texts("error")[0]).toStartWith(
      'Cannot name a topic of sink "events" for 1 event of source "app": a field of the template is missing',
    );
    expect(harness.read()).toEqual(["1", "4"]);
    harness.settle("delivered");
    expect(harness.position).toBe(harness.offset);
    harness.offer('{"message":"5"}\n');
    expect(harness.sink.dropped.total()).toBe(3);
    expect(harness.position).toBe(harness.offset);
    expect(auditOf(harness.sink)).toMatchObject({
      read: 5,
      delivered: 2,
      dropped: 3,
      buffered: 0,
      inFlight: 0,
      left: 0,
    });
  });

  test("what is not delivered at the end is counted, and stops the position", () => {
    const harness = new LaneHarness();
    harness.offer("a\n");
    harness.offer("b\nc\n");
    harness.read();
    harness.settle("errored", 1);
    harness.settle("delivered");
    expect(harness.position).toBe(2);
    expect([...harness.sink.undelivered.values]).toEqual([["app", 2]]);
  });

  test("bytes without a line move the position on their own", () => {
    const harness = new LaneHarness({ maxLineBytes: 3 });
    expect(harness.offer("\ufeff")).toBe("");
    expect(harness.position).toBe(3);
    harness.offer("abcdef");
    harness.offer("ghi");
    expect(harness.read()).toEqual(["abc"]);
    harness.settle("delivered");
    expect(harness.position).toBe(12);
  });
});

test("a stream that is taken up again in the same run goes on behind a cut line's head", () => {
  const harness = new LaneHarness({ maxLineBytes: 4 });
  harness.offer("abcdefgh");
  harness.lane.endStream(appStream);
  expect(harness.offer("tail\nnext\n")).toBe("");
  expect(harness.read()).toEqual(["abcd", "next"]);
  expect(harness.source.truncatedLinesCount).toBe(1);
});

test("the time of waiting starts with the first event that waits", () => {
  const harness = new LaneHarness();
  expect(harness.sink.waitingSinceMs).toBe(0);
  harness.offer("a\n");
  expect(harness.sink.waitingSinceMs).toBe(5_000);
});

test("any lines, room and order of settling: nothing is over the limit, and every line is somewhere", () => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("offer" as const),
        lengths: fc.array(fc.nat(12), { maxLength: 9 }),
      }),
    },
    { weight: 2, arbitrary: fc.constant({ do: "read" as const }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("settle" as const), place: fc.nat() }) },
  );
  fc.assert(
    fc.property(
      fc.constantFrom("block" as const, "drop_newest" as const),
      fc.integer({ min: 1, max: 8 }),
      fc.array(step, { maxLength: 60 }),
      (whenFull, maxEvents, steps) => {
        const harness = new LaneHarness({ whenFull, maxEvents, maxLineBytes: 10 });
        const delivered: string[] = [];
        let pending = "";
        let offered = "";
        for (const each of steps) {
          if (each.do === "read") delivered.push(...harness.read());
          else if (each.do === "offer") {
            const text = each.lengths.map((length) => "x".repeat(length) + "\n").join("");
            offered += text;
            pending = harness.offer(pending + text);
          } else if (harness.waitingCount > 0) harness.settle("delivered", each.place % harness.waitingCount);
          expect(harness.buffer.eventCount).toBeLessThanOrEqual(maxEvents);
          expect(auditOf(harness.sink).left).toBe(0);
          if (whenFull === "block") expect(harness.sink.dropped.total()).toBe(0);
        }
        while (pending !== "" || harness.buffer.eventCount > 0) {
          delivered.push(...harness.read());
          pending = harness.offer(pending);
        }
        while (harness.waitingCount > 0) harness.settle("delivered");
        const audit = auditOf(harness.sink);
        expect(audit).toMatchObject({
          buffered: 0,
          inFlight: 0,
          left: 0,
          read: offered.split("\n").length - 1,
        });
        expect(audit.delivered).toBe(delivered.length);
        if (offered !== "") expect(harness.position).toBe(offered.length);
      },
    ),
    { numRuns: 300 },
  );
});
