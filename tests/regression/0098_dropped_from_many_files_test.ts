// Of lines that a full disk buffer dropped, pieces beyond the first 1,000 within half a second were neither in the buffer nor in the journal when a later line of
// their file was written: after a crash they were read again, and delivered behind it.
import { expect, test } from "bun:test";
import { BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { until } from "../kafka/support.ts";
import { ModelFile } from "../journal/model_world.ts";

test("lines that are dropped from more than a thousand files are not read again behind later ones", async () => {
  const disks = new BufferDisks();
  const files = Array.from({ length: 1_002 }, (_, i) => new ModelFile(`f${i}`));
  let freeBytes = 1e9;
  let bench = await BufferBench.open(disks, {
    whenFull: "drop_newest",
    timing: { skipDelayMs: 60_000 },
    freeBytes: () => freeBytes,
  });
  for (const file of files) bench.announce(file);
  // Written once what it needs is stored: then the buffer has nothing to wait for.
  files[0]!.append([10]);
  bench.read(files[0]!);
  await turns(50);
  freeBytes = 0;
  await until(() => bench.buffer.roomEvents() === 0, "the disk is full");
  for (const file of files) {
    file.append([10]);
    bench.read(file);
  }
  expect(bench.metrics.sink("s").dropped.total()).toBe(files.length);
  freeBytes = 1e9;
  await until(() => bench.buffer.roomEvents() > 0, "there is room again");
  const last = files.at(-1)!;
  last.append([20]);
  bench.read(last);
  await turns(50);
  bench.die();
  disks.kill();
  bench = await BufferBench.open(disks, { whenFull: "block" });
  expect(bench.read(last)).toBe(0);
  const values = await bench.deliver();
  expect(values.filter((value) => last.lines.includes(value))).toEqual(last.lines.slice(-1));
  await bench.close();
});
