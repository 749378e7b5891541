import { expect, test } from "bun:test";
import { BufferPool } from "../../src/event/pooled_buffer.ts";

test("memory comes back from its pool after the last owner", () => {
  const pool = new BufferPool();
  const first = pool.take(5_000);
  expect(first.data.length).toBe(16_384);
  first.retain();
  first.release();
  expect(pool.take(5_000).data).not.toBe(first.data);
  first.release();
  expect(pool.take(5_000).data).toBe(first.data);
});

test("a pool that is trimmed gives nothing twice, and takes back what is still out", () => {
  const pool = new BufferPool();
  const [free, out] = [pool.take(5_000), pool.take(5_000)];
  free.release();
  pool.trim();
  const fresh = pool.take(5_000);
  expect(fresh.data).not.toBe(free.data);
  out.release();
  expect(pool.take(5_000).data).toBe(out.data);
});

test("memory of a size of its own is gone with its last owner", () => {
  const owned = new BufferPool().takeExact(5_000);
  expect(owned.data.length).toBe(5_000);
  owned.retain();
  owned.release();
  expect(owned.data.length).toBe(5_000);
  owned.release();
  expect(owned.data.buffer.byteLength).toBe(0);
  expect(() => owned.release()).toThrow("given back");
});
