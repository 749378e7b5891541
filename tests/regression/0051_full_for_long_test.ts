import { expect, test } from "bun:test";
import { BENCH_MAX_BYTES, BufferBench, BufferDisks, turns } from "../buffer/buffer_bench.ts";
import { ModelFile } from "../journal/model_world.ts";

// What was dropped while a disk buffer was full was written to it, so that a restart does not read it again: a group twice a second, and with it a file
// after the other beyond `buffer.max_size`, as long as the buffer was full.

for (const whenFull of ["drop_newest", "drop_oldest"] as const) {
  for (const durability of ["machine", "process"] as const) {
    test(`a buffer that stays full keeps to its size (${whenFull}, ${durability})`, async () => {
      const disks = new BufferDisks();
      const file = new ModelFile("f0");
      let bench = await BufferBench.open(disks, { whenFull, durability });
      bench.announce(file);
      const append = async () => {
        file.append(Array.from({ length: 20 }, () => 58));
        bench.read(file);
        await turns(6);
      };
      for (let i = 0; i < 250; i++) await append();
      expect(disks.buffer.usedBytes()).toBeLessThanOrEqual(BENCH_MAX_BYTES);
      // Twenty lines need less than a group, so that each time a group of its own told of them.
      const droppedCount = bench.metrics.sink("s").dropped.total();
      expect(droppedCount).toBeGreaterThan(1_000);
      const values = await bench.deliver();
      // Behind what was dropped there is room again, and what is put in now is told from it after a crash.
      await append();
      await bench.journal.store();
      values.push(...await bench.deliver());
      expect(values).toContain(file.lines.at(-1)!);
      expect(bench.metrics.sink("s").dropped.total()).toBe(droppedCount);
      expect(values.length + droppedCount).toBe(file.lines.length);
      expect(bench.differences()).toEqual([]);
      bench.die();
      disks.kill();
      bench = await BufferBench.open(disks, { whenFull, durability });
      bench.read(file);
      await turns(6);
      const again = await bench.deliver();
      // Nothing of what was dropped or delivered and stored is read again.
      expect(again.filter((value) => !values.includes(value))).toEqual([]);
      expect(bench.metrics.sink("s").lost.total()).toBe(0);
      await bench.close();
    }, 30_000);
  }
}
