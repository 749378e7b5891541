import { describe, expect, test } from "bun:test";
import { Delivery } from "../../src/event/delivery.ts";
import { eventOffset } from "../../src/event/event_batch.ts";
import { BufferPool, POOLED_SIZES_BYTES } from "../../src/event/pooled_buffer.ts";
import { delivery, eventBatch } from "../support/events.ts";

describe("Delivery", () => {
  test("acknowledges once, after its last event, with the worst status", () => {
    const { delivery: d, statuses } = delivery(["a", "b", "c", "d"]);
    d.settle(1, "delivered");
    d.settle(2, "rejected");
    expect(statuses).toEqual([]);
    d.settle(1, "delivered");
    expect(statuses).toEqual(["rejected"]);
    expect(() => d.settle(1, "delivered")).toThrow("only 0 are open");
  });

  test("lets errored win over rejected, whichever came first", () => {
    const { delivery: d, statuses } = delivery(["a", "b"]);
    d.settle(1, "errored");
    d.settle(1, "rejected");
    expect(statuses).toEqual(["errored"]);
  });

  test("acknowledges an empty batch at once", () => {
    expect(delivery([]).statuses).toEqual(["delivered"]);
  });

  test("gives the memory back when the last event was taken, not before", () => {
    const pool = new BufferPool();
    const owner = pool.take(10);
    const d = new Delivery({ ...eventBatch(["a", "b"]), owners: [owner] }, () => {});
    d.take(1);
    expect(pool.take(10)).not.toBe(owner);
    d.take(1);
    expect(pool.take(10)).toBe(owner);
    expect(() => d.take(1)).toThrow("only 0 are left");
  });

  test("knows where an event starts in its file", () => {
    const batch = eventBatch(["ab", "c"], { offset: 100 });
    expect([eventOffset(batch, 0), eventOffset(batch, 1)]).toEqual([100, 103]);
  });
});

describe("BufferPool", () => {
  test("hands out the smallest size that fits and does not keep what is larger than its sizes", () => {
    const pool = new BufferPool();
    for (const size of POOLED_SIZES_BYTES) expect(pool.take(size).data.length).toBe(size);
    const large = pool.take(3_000_000);
    expect(large.data.length).toBe(3_000_000);
    large.release();
    expect(pool.take(3_000_000)).not.toBe(large);
  });

  test("notices a release too many", () => {
    const pooled = new BufferPool().take(1);
    pooled.retain();
    pooled.release();
    pooled.release();
    expect(() => pooled.release()).toThrow("given back");
    expect(() => pooled.retain()).toThrow("given back");
  });
});
