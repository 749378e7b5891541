import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MemoryBuffer } from "../../src/buffer/memory_buffer.ts";
import { SinkMetrics } from "../../src/telemetry/metrics.ts";
import { delivery } from "../support/events.ts";

const never = new AbortController().signal;

function buffer(maxEvents = 10, maxSizeBytes = 1_000) {
  const metrics = new SinkMetrics();
  return { buffer: new MemoryBuffer({ maxEvents, maxSizeBytes, metrics }), metrics };
}

describe("MemoryBuffer", () => {
  test("says how many events fit, and nothing fits when the pinned bytes are at their limit", () => {
    const { buffer: b } = buffer(10, 20);
    expect(b.roomEvents()).toBe(10);
    b.write(delivery(["12345"]).delivery);
    expect(b.roomEvents()).toBe(9);
    b.write(delivery(["x".repeat(30)]).delivery);
    expect(b.hasRoom()).toBe(false);
  });

  test("wakes writers when room is made, and also when they are told to stop", async () => {
    const { buffer: b } = buffer(1);
    b.write(delivery(["a"]).delivery);
    let isWoken = false;
    const waiting = b.waitForRoom(never).then(() => isWoken = true);
    const abort = new AbortController();
    const stopped = b.waitForRoom(abort.signal);
    await Promise.resolve();
    expect(isWoken).toBe(false);
    abort.abort();
    await stopped;
    b.read();
    await waiting;
    expect(isWoken).toBe(true);
  });

  test("one that was full lets who can wait go on when an eighth of it is free, and tells who cannot what fits", async () => {
    const { buffer: b } = buffer(16);
    for (let i = 0; i < 15; i++) b.write(delivery(["a"]).delivery);
    expect(b.hasRoom()).toBe(true);
    b.write(delivery(["a"]).delivery);
    let isWoken = false;
    const waiting = b.waitForRoom(never).then(() => isWoken = true);
    b.read();
    await Promise.resolve();
    expect([b.hasRoom(), b.roomEvents(), isWoken]).toEqual([false, 1, false]);
    b.read();
    await waiting;
    expect([b.hasRoom(), b.roomEvents()]).toEqual([true, 2]);
  });

  test("one that was full has room when nothing is left in it", () => {
    const { buffer: b } = buffer(16, 10);
    b.write(delivery(["x".repeat(30)]).delivery);
    expect(b.hasRoom()).toBe(false);
    b.read();
    expect(b.hasRoom()).toBe(true);
  });

  test("ends its reader after the last delivery", async () => {
    const { buffer: b } = buffer();
    b.write(delivery(["a"]).delivery);
    b.end();
    expect(await b.waitForData()).toBe(true);
    b.read();
    expect(await b.waitForData()).toBe(false);
    const { buffer: waiting } = buffer();
    const waited = waiting.waitForData();
    waiting.end();
    expect(await waited).toBe(false);
  });

  test("settles what is left as errored when it is abandoned, and what comes late", () => {
    const { buffer: b } = buffer();
    const one = delivery(["a"]);
    const late = delivery(["b"]);
    b.write(one.delivery);
    b.abandon();
    b.write(late.delivery);
    expect([one.statuses, late.statuses]).toEqual([["errored"], ["errored"]]);
  });

  test("is a queue whose counts add up, whatever is written and read", () => {
    const action = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constant(0));
    fc.assert(
      fc.property(fc.array(action, { maxLength: 400 }), (actions) => {
        const { buffer: b, metrics } = buffer(1_000_000, 1_000_000_000);
        const model: unknown[] = [];
        for (const count of actions) {
          if (count === 0) {
            expect(b.read()).toBe((model.shift() as ReturnType<typeof b.read> | undefined) ?? null);
          } else {
            const { delivery: d } = delivery(Array.from({ length: count }, () => "x"));
            model.push(d);
            b.write(d);
          }
          const deliveries = model as { batch: { count: number; pinnedBytes: number } }[];
          expect(b.eventCount).toBe(deliveries.reduce((sum, d) => sum + d.batch.count, 0));
          expect(b.pinnedBytes).toBe(deliveries.reduce((sum, d) => sum + d.batch.pinnedBytes, 0));
          expect(metrics.bufferedEvents).toBe(b.eventCount);
        }
      }),
      { numRuns: 100 },
    );
  });
});
