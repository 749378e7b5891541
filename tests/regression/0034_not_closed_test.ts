// A disk buffer that could not be closed said of all its events that they were secured, although no position had moved over them: the next start did not
// look at them, and their lines were read and delivered twice.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

test("events that were delivered are not left when the disk refuses at the end", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  file.append([20, 30]);
  const options = { durability: "process", timing: { syncIntervalMs: 10_000 } } as const;
  let bench = await BufferBench.open(disks, options);
  bench.announce(file);
  bench.read(file);
  await turns(5);
  expect(await bench.deliver()).toEqual(file.lines);
  disks.buffer.dataSync = () => {
    throw Object.assign(new Error("EIO: simulated"), { code: "EIO" });
  };
  expect(await bench.buffer.close(50)).toBe(false);
  expect(bench.differences()).toEqual([]);
  expect(bench.metrics.sink("s").bufferedEvents).toBe(0);
  await bench.journal.close(1_000);
  bench.die();
  disks.kill();
  Reflect.deleteProperty(disks.buffer, "dataSync");
  bench = await BufferBench.open(disks, options);
  expect(bench.read(file)).toBe(0);
  expect(await bench.deliver()).toEqual([]);
  await bench.close();
});
