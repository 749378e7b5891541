// When a sink changed to at-least-once delivery, events of its disk buffer that were in batches whose fate was open were passed over before the
// journal said that they have to be read again: they stayed in the buffer until the next start.
import { expect, test } from "bun:test";
import { Membership } from "../../src/batch/membership.ts";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

test("events in batches whose fate is open are read again when the sink writes no intents any more", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  file.append([20, 20, 20]);
  let bench = await BufferBench.open(disks, { isExact: true });
  bench.announce(file);
  bench.read(file);
  await turns(20);
  void bench.buffer.waitForData();
  await turns(5);
  const delivery = bench.take()!;
  const intents = bench.journal.intentsOf("s", () => Promise.reject(new Error("not asked for")), true);
  const producer = { producerIdHigh: 0, producerIdLow: 1, epoch: 0, baseSequence: 0 };
  intents.startRun(null, producer);
  const members = new Membership();
  members.addRange(delivery, 0, 2);
  const place = { topic: "t", topicId: null, partition: 0, place: 0, hintOffset: -1, baseTimestampMs: 1 };
  intents.append({ ...place, producer, count: 2, members });
  await intents.durable();
  bench.die();
  disks.kill();
  bench = await BufferBench.open(disks);
  await turns(20);
  bench.journal.readAgain("s");
  expect(await bench.deliver()).toEqual(file.lines);
  expect(bench.differences()).toEqual([]);
  await bench.close();
});
