import { expect, test } from "bun:test";
import { GroupBuffer } from "../../src/storage/group_buffer.ts";
import { DirectWriter } from "../../src/storage/group_writer.ts";
import { systemOps } from "../../src/storage/storage_ops.ts";
import { waitUntil } from "../support/wait_until.ts";

const KIB = 1_024;

test("a buffer that grew keeps its room while groups come, and gives it back after them", async () => {
  const group = new GroupBuffer(new DirectWriter(systemOps), 10);
  const frame = Buffer.alloc(300 * KIB, 7);
  group.add(1, frame, frame.length);
  const grown = group.bytes.length;
  expect(grown).toBeGreaterThan(300 * KIB);
  group.settle(null);
  expect(group.bytes.length).toBe(grown);
  group.add(1, frame, 1_000);
  await Bun.sleep(50);
  // What is in it stays where it is.
  expect(group.bytes.length).toBe(grown);
  expect(group.payloadBytes).toBeGreaterThan(1_000);
  expect(group.bytes[group.length - 1]).toBe(7);
  group.settle(null);
  await waitUntil("its room is given back", () => group.bytes.length === 64 * KIB);
  group.add(1, frame, 1_000);
  expect(group.bytes[group.length - 1]).toBe(7);
});
