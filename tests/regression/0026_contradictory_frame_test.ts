// A frame of a disk buffer that is whole and contradicts itself stopped the reading for good, without a word.
import { expect, test } from "bun:test";
import { crc32 } from "node:zlib";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";
import { decodeSegmentHeader, nonceSeed, type SegmentHeader } from "../../src/storage/segment_format.ts";
import { numbered } from "../storage/open_log.ts";

test("a frame that contradicts itself is told, its events are lost and counted, and what follows is delivered", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  let bench = await BufferBench.open(disks);
  bench.announce(file);
  for (let i = 0; i < 3; i++) {
    file.append([20, 20]);
    bench.read(file);
    await turns(10);
  }
  await bench.close();
  const bytes = disks.buffer.content(numbered(disks.buffer).at(-1)!);
  const { nonce } = decodeSegmentHeader(bytes) as SegmentHeader;
  // The group with the second frame: the end of its first value is behind the end of all values.
  const at = 3 * 4_096;
  const group = bytes.subarray(at, at + 40 + bytes.readUInt32LE(at + 16));
  const frameAt = at + 40 + 5;
  bytes.writeUInt32LE(60_000, frameAt + 72 + bytes.readUInt32LE(frameAt + 56));
  group.writeUInt32LE(crc32(group.subarray(12), nonceSeed(nonce)), 8);
  bench = await BufferBench.open(disks);
  expect(await bench.deliver()).toEqual([...file.lines.slice(0, 2), ...file.lines.slice(4)]);
  expect(bench.metrics.sink("s").lost.total()).toBe(2);
  expect(bench.log.texts("error").some((text) => text.includes("contradicts itself"))).toBe(true);
  expect(bench.differences()).toEqual([]);
  await bench.close();
});
