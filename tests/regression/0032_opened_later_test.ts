// A segment of a disk buffer that could not be opened or read for a moment (too many open files, a cable) was given up as damaged, with all in it.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

test("a segment that cannot be opened for a while delays, and loses nothing", async () => {
  const disks = new BufferDisks();
  const file = new ModelFile("f0");
  file.append([20, 30, 40]);
  let bench = await BufferBench.open(disks);
  bench.announce(file);
  bench.read(file);
  await turns(10);
  await bench.close();
  bench = await BufferBench.open(disks);
  const openRead = disks.buffer.openRead.bind(disks.buffer);
  let failureCount = 2;
  disks.buffer.openRead = (path) => {
    if (failureCount-- > 0) throw Object.assign(new Error("EMFILE: simulated"), { code: "EMFILE" });
    return openRead(path);
  };
  void bench.buffer.waitForData();
  await Bun.sleep(700);
  expect(await bench.deliver()).toEqual(file.lines);
  expect(bench.log.texts("warn").some((text) => text.includes("EMFILE"))).toBe(true);
  await bench.close();
});
