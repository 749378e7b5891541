// When a run ended while events waited for the journal to store their stream, whoever closed the disk buffer waited for that without letting the journal
// answer: the time for closing went by, and the events were not stored.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";
import { SteppedWriter } from "../storage/simulated_files.ts";
import { DirectWriter } from "../../src/storage/group_writer.ts";

test("events that wait for the journal are stored before the end", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  file.append([20, 20]);
  const journal = new SteppedWriter(disks.journal);
  const timer = setInterval(() => journal.step(), 1);
  const writers = { journal, buffer: new DirectWriter(disks.buffer) };
  let bench = await BufferBench.open(disks, { writers });
  bench.announce(file);
  bench.read(file);
  const startMs = performance.now();
  expect(await bench.buffer.close(20_000)).toBe(true);
  expect(performance.now() - startMs).toBeLessThan(15_000);
  await bench.journal.close(2_000);
  clearInterval(timer);
  bench = await BufferBench.open(disks);
  expect(bench.read(file)).toBe(0);
  expect(await bench.deliver()).toEqual(file.lines);
  await bench.close();
});
