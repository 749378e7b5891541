// Under at-least-once delivery a segment of a disk buffer was freed when its last event was acknowledged, and the journal was told of that event a
// moment later: after a crash in between the events of the last acknowledgement counted as lost.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";
import { numbered } from "../storage/open_log.ts";

test("a segment is freed when the journal has all that was acknowledged in it", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  let bench = await BufferBench.open(disks);
  bench.announce(file);
  for (let i = 0; i < 12; i++) {
    file.append(Array.from({ length: 50 }, () => 58));
    bench.read(file);
    await turns(10);
  }
  const segmentCount = numbered(disks.buffer).length;
  void bench.buffer.waitForData();
  await turns(5);
  for (let taken = bench.take(); taken !== null; taken = bench.take()) {
    taken.take(taken.batch.count);
    await bench.journal.store();
    bench.settle(taken, taken.batch.count);
    await turns(10);
    if (numbered(disks.buffer).length < segmentCount) break;
  }
  expect(numbered(disks.buffer).length).toBe(segmentCount - 1);
  bench.die();
  disks.kill();
  bench = await BufferBench.open(disks);
  await bench.deliver();
  expect(bench.log.texts("error")).toEqual([]);
  expect(bench.metrics.sink("s").lost.total()).toBe(0);
  await bench.close();
});
